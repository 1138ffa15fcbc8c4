//! One client, and its reaction to the bytes that arrive.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use mio::net::TcpStream;
use protocol::deflate::Inflater;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::clients::{Identity, Plan};
use crate::wire::{self, Event, Stamp, Upgrade};

/// So many sockets share a source address: far fewer than an address has ports, and than the cap for one address.
const SOCKETS_PER_ADDRESS: usize = 500;
/// The name before the position of the channel `all` in Ready, and before the position in a message.
const POSITION_OF_ALL: &[u8] = br#""channel":"all","position":""#;
const SUBSCRIBED_TO_ALL: &[u8] = br#""channel":"all","state":"subscribed","position":""#;
const POSITION: &[u8] = br#""position":""#;
/// The longest message that is decompressed.
const MAX_INFLATED_BYTES: usize = 128 << 20;
/// EINPROGRESS, on every Linux and macOS.
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientState {
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
pub(crate) struct Client {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) state: ClientState,
    /// When it was to connect, in microseconds since the generator began.
    pub(crate) due_us: u64,
    /// Whether it stops reading once it is Ready.
    pub(crate) stalls: bool,
    partial: Vec<u8>,
    since: Option<Box<str>>,
}

/// What one call of [`Client::receive`] found.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) is_ready: bool,
    /// Whether Ready, or the Subscription after it, said that nothing is missing; `None` without a position.
    pub(crate) recovered: Option<bool>,
    pub(crate) heartbeats: u64,
    pub(crate) lost: Option<String>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            stream: None,
            state: ClientState::Disconnected,
            due_us: 0,
            stalls: false,
            partial: Vec::new(),
            since: None,
        }
    }

    pub(crate) fn connect(&mut self, index: usize, plan: &Plan) -> io::Result<&mut TcpStream> {
        // Set before anything can fail: from here on it counts as connecting.
        self.state = ClientState::Connecting;
        self.partial = Vec::new();
        let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if index >= plan.narrow_from {
            // Unread bytes soon wait in the gateway instead of the kernel.
            socket.set_recv_buffer_size(1)?;
            socket.set_tcp_mss(536)?;
        }
        if let SocketAddr::V4(address) = plan.address
            && address.ip().is_loopback()
        {
            socket.bind(&SockAddr::from(SocketAddr::from((source(index), 0))))?;
        }
        match socket.connect(&plan.address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(self.stream.insert(TcpStream::from_std(socket.into())))
    }

    /// Sends handshake and Identify in one write, once the kernel has connected it.
    pub(crate) fn introduce(&mut self, identity: &Identity, plan: &Plan) -> io::Result<&mut TcpStream> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        let mut bytes = wire::handshake(plan.shape.is_v2);
        if plan.is_deflated {
            bytes.insert_str(bytes.len() - 2, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        let identify = wire::client_frame(&identify(identity, self.since.as_deref()));
        stream.write_all(&[bytes.as_bytes(), &identify].concat())?;
        self.state = ClientState::Upgrading;
        Ok(stream)
    }

    /// Reads everything that has arrived. `take` gets each message.
    pub(crate) fn receive(
        &mut self,
        plan: &Plan,
        buffer: &mut [u8],
        mut take: impl FnMut(Stamp),
    ) -> Received {
        let mut received = Received::default();
        loop {
            let Some(stream) = &mut self.stream else { return received };
            let length = match stream.read(buffer) {
                Ok(0) => {
                    received.lost.get_or_insert_with(|| "the connection was closed".to_owned());
                    return received;
                }
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    received.lost = Some(error.to_string());
                    return received;
                }
            };
            if self.partial.is_empty() {
                let taken = self.take_frames(&buffer[..length], plan, &mut received, &mut take);
                self.partial.extend_from_slice(&buffer[taken..length]);
            } else {
                let mut partial = std::mem::take(&mut self.partial);
                partial.extend_from_slice(&buffer[..length]);
                let taken = self.take_frames(&partial, plan, &mut received, &mut take);
                if taken < partial.len() {
                    partial.drain(..taken);
                    self.partial = partial;
                }
            }
            // A read that does not fill the buffer has emptied the socket (epoll(7)).
            if length < buffer.len() || received.lost.is_some() {
                return received;
            }
        }
    }

    /// Takes complete frames from the front; returns how many bytes they had.
    fn take_frames(
        &mut self,
        bytes: &[u8],
        plan: &Plan,
        received: &mut Received,
        take: &mut impl FnMut(Stamp),
    ) -> usize {
        let mut at = 0;
        if self.state == ClientState::Upgrading {
            match wire::upgrade(bytes) {
                Upgrade::Incomplete => return 0,
                Upgrade::Accepted(end) => {
                    self.state = ClientState::Identifying;
                    at = end;
                }
                Upgrade::Refused(status) => {
                    received.lost = Some(format!("refused with HTTP {status}"));
                    return bytes.len();
                }
            }
        }
        while let Some((first, range)) = wire::first_frame(&bytes[at..]) {
            let payload = &bytes[at..][range.clone()];
            at += range.end;
            match first {
                0x81 => self.on_text(payload, plan, received, take),
                0xC1 => {
                    let (mut inflater, mut inflated) = (Inflater::new(), BytesMut::new());
                    let mut push = |piece: &[u8]| inflater.push(piece, &mut inflated, MAX_INFLATED_BYTES);
                    if push(payload).and_then(|_| push(&[0x00, 0x00, 0xFF, 0xFF])).is_ok() {
                        self.on_text(&inflated, plan, received, take);
                    }
                }
                0x88 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    received.lost = Some(format!("closed with {code}"));
                }
                _ => {}
            }
        }
        at
    }

    fn on_text(
        &mut self,
        payload: &[u8],
        plan: &Plan,
        received: &mut Received,
        take: &mut impl FnMut(Stamp),
    ) {
        let position = match wire::parse(payload) {
            Event::Message(stamp) => {
                take(stamp);
                POSITION
            }
            Event::Ready => {
                received.is_ready = true;
                received.recovered = self.recovered(payload);
                POSITION_OF_ALL
            }
            Event::Subscription => {
                received.recovered = self.recovered(payload);
                SUBSCRIBED_TO_ALL
            }
            Event::Heartbeat(rest) => {
                received.heartbeats += 1;
                if let Some(stream) = &mut self.stream {
                    // It is small: if the kernel has no room for it, the connection is lost anyway.
                    let _ = stream.write(&wire::client_frame(&format!("{{\"op\":11,{rest}")));
                }
                return;
            }
            Event::Other => return,
        };
        if plan.shape.keeps_positions
            && let Some(position) = wire::text_after(payload, position)
        {
            self.since = Some(position.into());
        }
    }

    /// Whether a Ready or a Subscription says that nothing is missing, if it says that already.
    fn recovered(&self, payload: &[u8]) -> Option<bool> {
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
    pub(crate) fn cut(&mut self) {
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

fn identify(Identity { token, channels }: &Identity, since: Option<&str>) -> String {
    let channels = channels.iter().map(|channel| format!(r#"{{"channel":"{channel}"}}"#));
    let resumed = since.map(|since| format!(r#"{{"channel":"all","since":"{since}"}}"#));
    let channels: Vec<_> = channels.chain(resumed).collect();
    match channels.is_empty() {
        true => format!(r#"{{"op":1,"token":"{token}"}}"#),
        false => format!(r#"{{"op":1,"token":"{token}","channels":[{}]}}"#, channels.join(",")),
    }
}
