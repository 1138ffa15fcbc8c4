//! One client: how it connects and introduces itself, and what it keeps.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::clients::{ClientIdentity, ClientPlan};
use crate::wire;

/// So many sockets share a source address: far fewer than an address has ports, and than the cap for one address.
const SOCKETS_PER_ADDRESS: usize = 500;
/// EINPROGRESS, on every Linux and macOS.
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ClientState {
    #[default]
    Disconnected,
    /// The kernel connects it.
    Connecting,
    /// Handshake and Identify are sent.
    Upgrading,
    /// Accepted, not identified.
    Identifying,
    /// Receives messages.
    Ready,
    /// Has been Ready, and no longer reads.
    Stalled,
}

/// One client. There are many, so it holds no buffer while no frame is half received.
#[derive(Default)]
pub(crate) struct Client {
    /// Its index among all clients.
    pub(crate) index: usize,
    pub(crate) stream: Option<TcpStream>,
    pub(crate) state: ClientState,
    /// When it was to connect, in microseconds since the generator began.
    pub(crate) due_us: u64,
    /// Whether it stops reading once it is Ready.
    pub(crate) stalls: bool,
    /// The beginning of a frame.
    pub(crate) partial: Vec<u8>,
    /// The position of the last message on `all`.
    pub(crate) since: Option<Box<str>>,
}

impl Client {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, ..Self::default() }
    }

    pub(crate) fn connect(&mut self, plan: &ClientPlan) -> io::Result<&mut TcpStream> {
        // Set before anything can fail: from here on it counts as connecting.
        self.state = ClientState::Connecting;
        let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if plan.narrow.contains(&self.index) {
            // Unread bytes soon wait in the gateway instead of the kernel.
            socket.set_recv_buffer_size(1)?;
            socket.set_tcp_mss(536)?;
        }
        if let SocketAddr::V4(address) = plan.address
            && address.ip().is_loopback()
        {
            socket.bind(&SockAddr::from(SocketAddr::from((source(self.index), 0))))?;
        }
        match socket.connect(&plan.address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(self.stream.insert(TcpStream::from_std(socket.into())))
    }

    /// Sends handshake and Identify in one write, once the kernel has connected it.
    pub(crate) fn send_handshake(&mut self, plan: &ClientPlan) -> io::Result<&mut TcpStream> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        let handshake = wire::handshake(plan.is_v2, plan.is_deflated);
        let identify = wire::client_frame(&identify(&plan.identities[self.index], self.since.as_deref()));
        stream.write_all(&[handshake.as_bytes(), &identify].concat())?;
        self.state = ClientState::Upgrading;
        Ok(stream)
    }

    /// Whether a Ready or a Subscription says that nothing is missing, if it says that already.
    pub(crate) fn recovered(&self, payload: &[u8]) -> Option<bool> {
        self.since.as_ref()?;
        let says = |text: &[u8]| wire::find(payload, text).is_some();
        let is_decided = says(br#""channel":"all""#) && !says(br#""channel":"all","state":"recovering""#);
        is_decided.then(|| says(br#""recovered":true"#))
    }

    /// Whether it is still connected. A kernel whose window is closed may ignore a reset, so the client sends a Pong, which
    /// needs no answer, and learns of the reset from the write.
    pub(crate) fn is_alive(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let alive = stream.write(&[0x8A, 0x80, 0, 0, 0, 0]);
        alive.is_ok_and(|written| written > 0) && stream.take_error().is_ok_and(|error| error.is_none())
    }

    /// Ends the connection at once, as a broken network does.
    pub(crate) fn disconnect(&mut self) {
        if let Some(stream) = self.stream.take() {
            // If this fails the connection ends in order, which serves as well.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.state = ClientState::Disconnected;
        self.partial = Vec::new();
    }
}

/// The address of this machine that a client connects from.
fn source(index: usize) -> Ipv4Addr {
    let number = index / SOCKETS_PER_ADDRESS + 1;
    // macOS has one loopback address unless told otherwise.
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8)
    } else {
        Ipv4Addr::LOCALHOST
    }
}

fn identify(ClientIdentity { token, channels }: &ClientIdentity, since: Option<&str>) -> String {
    let channels = channels.iter().map(|channel| format!(r#"{{"channel":"{channel}"}}"#));
    let resumed = since.map(|since| format!(r#"{{"channel":"all","since":"{since}"}}"#));
    let channels: Vec<_> = channels.chain(resumed).collect();
    match channels.is_empty() {
        true => format!(r#"{{"op":1,"token":"{token}"}}"#),
        false => format!(r#"{{"op":1,"token":"{token}","channels":[{}]}}"#, channels.join(",")),
    }
}
