//! The baseline: a server that accepts sockets, answers the first bytes of each with prepared bytes, and then only
//! writes prepared frames to the sockets that an order names. It acknowledges messages to the inbox without storing them.
//!
//! The baseline is a separate process of the same binary. It reads orders from standard input, one a line: the first
//! slot, the slot after the last one, and the payload. A new client gets the slot of a lost one.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use parking_lot::Mutex;
use slab::Slab;
use socket2::SockRef;

use crate::children::ChildProcess;
use crate::output::{print, print_error};
use crate::{BenchError, wire};

const LISTENER: Token = Token(usize::MAX);
/// The length of the accept queue, as in the gateway.
const BACKLOG: i32 = 4_096;
/// The maximum time until a socket's buffer accepts a frame.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The sockets by slot, and whether each was answered.
type Sockets = Mutex<Slab<(TcpStream, bool)>>;

/// Starts a baseline; returns its address and its standard input.
pub(crate) fn start() -> Result<(ChildProcess, SocketAddr, ChildStdin), BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "baseline-server"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (child, (stdin, stdout, _)) = ChildProcess::start(&mut command)?;
    let mut line = String::new();
    if let Some(stdout) = stdout {
        io::BufReader::new(stdout).read_line(&mut line)?;
    }
    match (line.trim().parse(), stdin) {
        (Ok(address), Some(orders)) => Ok((child, address, orders)),
        _ => Err(BenchError::Server("the baseline did not start".to_owned())),
    }
}

/// Runs the baseline until the end of standard input.
pub(crate) fn serve() -> Result<ExitCode, BenchError> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The accept queue of the standard library is too short; a second call changes its length.
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    print(&listener.local_addr()?.to_string())?;
    let sockets = Arc::<Sockets>::default();
    let (shared, poll) = (Arc::clone(&sockets), Poll::new()?);
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        if let Err(error) = accept(TcpListener::from_std(listener), poll, &shared) {
            print_error(&format!("the baseline stopped accepting: {error}"));
        }
    })?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let mut parts = order.splitn(3, ' ');
        let mut number = || parts.next().and_then(|text| text.parse::<usize>().ok());
        let (Some(from), Some(to)) = (number(), number()) else { continue };
        let frame = wire::server_frame(parts.next().unwrap_or_default());
        let sockets = sockets.lock();
        let slots = (from..to.min(sockets.capacity())).filter_map(|slot| sockets.get(slot));
        slots.filter(|(_, is_answered)| *is_answered).for_each(|(socket, _)| write(socket, &frame));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all bytes; waits while the socket's buffer is full.
fn write(mut socket: &TcpStream, mut bytes: &[u8]) {
    let started_at = Instant::now();
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && started_at.elapsed() < WRITE_TIMEOUT =>
            {
                std::thread::yield_now();
            }
            Err(_) => return,
        }
    }
}

/// The answer to every client: handshake, Hello and Ready.
fn answer() -> Vec<u8> {
    let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let hello = wire::server_frame(r#"{"op":0,"heartbeat_interval":45000}"#);
    [&upgrade[..], &hello, &wire::server_frame(r#"{"op":2,"user":"42"}"#)].concat()
}

fn accept(mut listener: TcpListener, mut poll: Poll, sockets: &Sockets) -> io::Result<()> {
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (answer, mut events, mut buffer) = (answer(), Events::with_capacity(1_024), [0; 16_384]);
    loop {
        match poll.poll(&mut events, None) {
            // A tracer that attaches interrupts the call.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        // The writer holds the lock for a whole order, and no socket is read meanwhile.
        let mut sockets = sockets.lock();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let token = Token(sockets.vacant_key());
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    sockets.insert((stream, false));
                }
                continue;
            }
            let slot = event.token().0;
            let Some((stream, is_answered)) = sockets.get_mut(slot) else { continue };
            if !read_all(stream, &mut buffer, *is_answered) {
                sockets.remove(slot);
            } else if !std::mem::replace(is_answered, true) {
                write(stream, &answer);
            }
        }
    }
}

/// Reads all received bytes, and acknowledges messages to the inbox if the handshake was answered. Returns whether the
/// connection is open.
fn read_all(mut stream: &TcpStream, buffer: &mut [u8], is_answered: bool) -> bool {
    loop {
        let length = match stream.read(buffer) {
            Ok(0) => return false,
            Ok(length) => length,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        if is_answered {
            write(stream, &wire::acknowledgements(&buffer[..length]));
        }
        if length < buffer.len() {
            return true;
        }
    }
}
