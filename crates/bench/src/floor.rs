//! The floor: the least that a server can do. It accepts sockets, answers each one's first bytes with prepared ones, and
//! does nothing then but `write` a prepared frame to as many sockets as it is told to.
//!
//! It runs as a process of its own, of the same binary and allocator. What it is to write comes by its standard input, a
//! line for each order: the first slot, the slot behind the last one, and the payload. A lost client's slot is given
//! to the next.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::children::OwnProcess;
use crate::output::{print, print_error};
use crate::{BenchError, wire};

const LISTENER: Token = Token(usize::MAX);
/// How many connections may wait to be accepted, as with the gateway.
const BACKLOG: i32 = 4_096;
/// How long a socket may stand still before its frame is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// By slot.
type Sockets = Arc<Mutex<Vec<Option<Arc<TcpStream>>>>>;

/// Starts one; returns where it listens and the way to tell it what to write.
pub(crate) fn start() -> Result<(OwnProcess, SocketAddr, ChildStdin), BenchError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "floor-server"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = OwnProcess::start(&mut command)?;
    let (stdin, stdout) = (child.take(|child| child.stdin.take()), child.take(|child| child.stdout.take()));
    let mut line = String::new();
    if let Some(stdout) = stdout {
        io::BufReader::new(stdout).read_line(&mut line)?;
    }
    match (line.trim().parse(), stdin) {
        (Ok(address), Some(orders)) => Ok((child, address, orders)),
        _ => Err(BenchError::Server("the floor did not start".to_owned())),
    }
}

/// The process itself. Ends with its standard input.
pub(crate) fn serve() -> Result<ExitCode, BenchError> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // A second call for the same socket only makes its queue longer.
    SockRef::from(&listener).listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    print(&listener.local_addr()?.to_string())?;
    let sockets = Sockets::default();
    let shared = Arc::clone(&sockets);
    let poll = Poll::new()?;
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        if let Err(error) = accept(TcpListener::from_std(listener), poll, &shared) {
            print_error(&format!("the floor accepts no more: {error}"));
        }
    })?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let mut parts = order.splitn(3, ' ');
        let mut number = || parts.next().and_then(|text| text.parse::<usize>().ok());
        let (Some(from), Some(to)) = (number(), number()) else { continue };
        let frame = wire::server_frame(parts.next().unwrap_or_default().as_bytes());
        let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        for socket in sockets.iter().take(to).skip(from).flatten() {
            write(socket, &frame);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All of it, as soon as there is room.
fn write(mut socket: &TcpStream, mut bytes: &[u8]) {
    let begun = Instant::now();
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {
                std::thread::yield_now();
            }
            Err(_) => return,
        }
    }
}

/// What every client is answered: accepted, Hello, Ready.
fn answer() -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .to_vec();
    bytes.extend(wire::server_frame(br#"{"op":0,"heartbeat_interval":45000}"#));
    bytes.extend(wire::server_frame(br#"{"op":2,"user":"42"}"#));
    bytes
}

fn accept(mut listener: TcpListener, mut poll: Poll, sockets: &Sockets) -> io::Result<()> {
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (answer, mut events, mut buffer) = (answer(), Events::with_capacity(1_024), [0; 16_384]);
    // By slot: whether its first bytes are still to come.
    let mut known: Vec<Option<(Arc<TcpStream>, bool)>> = Vec::new();
    let mut free = VecDeque::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let slot = free.pop_front().unwrap_or_else(|| {
                        known.push(None);
                        known.len() - 1
                    });
                    let _ = stream.set_nodelay(true);
                    poll.registry().register(&mut stream, Token(slot), Interest::READABLE)?;
                    known[slot] = Some((Arc::new(stream), true));
                }
                continue;
            }
            let slot = event.token().0;
            let Some((stream, is_new)) = &mut known[slot] else { continue };
            let is_open = loop {
                match (&**stream).read(&mut buffer) {
                    Ok(0) => break false,
                    Ok(length) if length == buffer.len() => {}
                    Ok(_) => break true,
                    Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
                }
            };
            if is_open && !*is_new {
                continue;
            }
            // Whoever writes holds this for a whole order; what is merely read does not wait for it.
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            if !is_open {
                known[slot] = None;
                free.push_back(slot);
                if let Some(socket) = sockets.get_mut(slot) {
                    *socket = None;
                }
            } else {
                *is_new = false;
                if sockets.len() <= slot {
                    sockets.resize(slot + 1, None);
                }
                sockets[slot] = Some(Arc::clone(stream));
                write(stream, &answer);
            }
        }
    }
}
