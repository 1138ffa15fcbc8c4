//! One client: its connection, handshake and state.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::clients::{ClientIdentity, ClientPlan};
use crate::wire;

/// Sockets per source address: well below the number of ports and the gateway's limit per address.
const SOCKETS_PER_ADDRESS: usize = 500;
/// EINPROGRESS on Linux and macOS.
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ClientState {
    #[default]
    Disconnected,
    /// The TCP connection is being established.
    Connecting,
    /// Handshake and Identify are sent.
    Upgrading,
    /// The handshake is accepted; Ready has not arrived.
    Identifying,
    /// Receives messages.
    Ready,
    /// Was Ready and no longer reads.
    Stalled,
}

/// One client. There are many, so a client has a buffer only while a frame is incomplete.
#[derive(Default)]
pub(crate) struct Client {
    /// The index among all clients.
    pub(crate) index: usize,
    /// Lost connections and refused attempts, which decide the replica of the next attempt.
    pub(crate) losses: u32,
    pub(crate) stream: Option<TcpStream>,
    pub(crate) state: ClientState,
    /// The due time of the connect, in microseconds since the start of the generator.
    pub(crate) due_us: u64,
    /// Whether the client stops reading after Ready.
    pub(crate) stalls: bool,
    /// The bytes of an incomplete frame.
    pub(crate) partial: Vec<u8>,
    /// The position of the last message on `all`.
    pub(crate) since: Option<Box<str>>,
    /// Whether the client has asked to resume and not yet got the answer.
    is_resuming: bool,
}

impl Client {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, ..Self::default() }
    }

    pub(crate) fn connect(&mut self, plan: &ClientPlan) -> io::Result<&mut TcpStream> {
        // Set before the first error, because the caller counts the client as connecting.
        self.state = ClientState::Connecting;
        self.is_resuming = self.since.is_some();
        let address = plan.address_of(self.index, self.losses);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if plan.small_buffers.contains(&self.index) {
            // With small buffers in the kernel, unread bytes are queued in the gateway.
            socket.set_recv_buffer_size(1)?;
            socket.set_tcp_mss(536)?;
        }
        if let SocketAddr::V4(address) = address
            && address.ip().is_loopback()
        {
            socket.bind(&SockAddr::from(SocketAddr::from((source(self.index), 0))))?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(self.stream.insert(TcpStream::from_std(socket.into())))
    }

    /// Sends handshake and Identify in one write, where the server allows that, when the TCP connection is established.
    pub(crate) fn send_handshake(&mut self, plan: &ClientPlan) -> io::Result<&mut TcpStream> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        let mut bytes = plan.protocol.handshake(plan.is_v2, plan.is_deflated).into_bytes();
        if plan.protocol.may_send_early() {
            bytes.extend(plan.protocol.opening(plan.identity(self.index), self.since.as_deref()));
        }
        stream.write_all(&bytes)?;
        self.state = ClientState::Upgrading;
        Ok(stream)
    }

    /// The handshake was accepted: sends what could not be sent with it.
    pub(crate) fn on_upgraded(&mut self, plan: &ClientPlan) -> io::Result<()> {
        self.state = ClientState::Identifying;
        match &mut self.stream {
            Some(stream) if !plan.protocol.may_send_early() => {
                stream.write_all(&plan.protocol.opening(plan.identity(self.index), None))
            }
            _ => Ok(()),
        }
    }

    /// Whether a Ready or Subscription confirms that no message is missing; `None` while the channel recovers, and for
    /// later confirmations, which a new link to Redis causes.
    pub(crate) fn recovered(&mut self, payload: &[u8]) -> Option<bool> {
        self.since.as_ref()?;
        let says = |text: &[u8]| wire::find(payload, text).is_some();
        let is_decided = says(br#""channel":"all""#) && !says(br#""channel":"all","state":"recovering""#);
        let is_recovered = says(br#""recovered":true"#);
        let is_first = self.is_resuming;
        self.is_resuming = is_first && !is_decided;
        (is_decided && (is_first || !is_recovered)).then_some(is_recovered)
    }

    /// Whether the client is connected. With a closed window the kernel may ignore a reset, so the client sends a
    /// Pong, which needs no answer; the write reports the reset.
    pub(crate) fn is_alive(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let alive = stream.write(&[0x8A, 0x80, 0, 0, 0, 0]);
        alive.is_ok_and(|written| written > 0) && stream.take_error().is_ok_and(|error| error.is_none())
    }

    /// Resets the connection, as a broken network does.
    pub(crate) fn disconnect(&mut self) {
        if let Some(stream) = self.stream.take() {
            // If this fails, the connection is closed instead of reset, which is acceptable.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.state = ClientState::Disconnected;
        self.partial = Vec::new();
    }
}

/// The source address of a client.
fn source(index: usize) -> Ipv4Addr {
    let number = index / SOCKETS_PER_ADDRESS + 1;
    // By default, macOS has only one loopback address.
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8)
    } else {
        Ipv4Addr::LOCALHOST
    }
}

/// Op 1 of the gateway's protocol.
pub(crate) fn identify(ClientIdentity { token, channels }: &ClientIdentity, since: Option<&str>) -> String {
    let channels = channels.iter().map(|channel| format!(r#"{{"channel":"{channel}"}}"#));
    let resumed = since.map(|since| format!(r#"{{"channel":"all","since":"{since}"}}"#));
    let channels: Vec<_> = channels.chain(resumed).collect();
    match channels.is_empty() {
        true => format!(r#"{{"op":1,"token":"{token}"}}"#),
        false => format!(r#"{{"op":1,"token":"{token}","channels":[{}]}}"#, channels.join(",")),
    }
}
