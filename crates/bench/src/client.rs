//! One client: what it does with the bytes that come.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use mio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::swarm::{Identity, Plan};
use crate::wire::{self, Heard, Stamp, Upgrade};
use protocol::deflate::Inflater;

/// So many sockets have the same source address: far fewer than an address has ports, and than a cap for each address.
const SOCKETS_PER_ADDRESS: usize = 500;
/// The channel whose places are kept.
const ALL: &[u8] = br#""channel":"all","position":""#;
const POSITION: &[u8] = br#""position":""#;
/// The longest compressed message that is taken.
const MAX_INFLATED_BYTES: usize = 128 << 20;

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not connected.
    Away,
    /// The kernel connects it.
    Connecting,
    /// Handshake and Identify are sent.
    Upgrading,
    /// Accepted, not identified.
    Identifying,
    /// Receives messages.
    Ready,
    /// Has been Ready, and reads no more.
    Stalled,
}

/// One client. There are many: it holds nothing while nothing is half received.
pub(crate) struct Client {
    pub(crate) stream: Option<TcpStream>,
    pub(crate) state: State,
    /// When it was to connect, in microseconds since the generator began.
    pub(crate) due_us: u64,
    /// Whether it reads no more once it is Ready.
    pub(crate) stalls: bool,
    held: Vec<u8>,
    since: Option<Box<str>>,
}

/// What came of reading.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// It has become Ready.
    pub(crate) is_ready: bool,
    /// What Ready said of its place: whether nothing is missing.
    pub(crate) recovered: Option<bool>,
    /// Heartbeats answered.
    pub(crate) heartbeats: u64,
    /// It is over: why.
    pub(crate) lost: Option<String>,
}

impl Client {
    /// One that is not connected.
    pub(crate) fn new() -> Self {
        Self { stream: None, state: State::Away, due_us: 0, stalls: false, held: Vec::new(), since: None }
    }

    /// Begins to connect.
    pub(crate) fn connect(&mut self, index: usize, plan: &Plan) -> io::Result<&mut TcpStream> {
        // From here on it counts as one that is on its way, whatever fails.
        self.state = State::Connecting;
        self.held = Vec::new();
        let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if index >= plan.narrow_from {
            // What this one does not read soon waits in the gateway and not in the kernel.
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

    /// The kernel has connected it: says everything that it has to say, in one go.
    pub(crate) fn introduce(&mut self, identity: &Identity, plan: &Plan) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nodelay(true)?;
        let mut bytes = wire::handshake(plan.is_v2);
        if plan.is_deflated {
            bytes.insert_str(bytes.len() - 2, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        }
        let mut bytes = bytes.into_bytes();
        bytes.extend(wire::client_frame(&identify(identity, self.since.as_deref())));
        stream.write_all(&bytes)?;
        self.state = State::Upgrading;
        Ok(())
    }

    /// Reads all that is there. `take` gets each message.
    pub(crate) fn receive(&mut self, plan: &Plan, buffer: &mut [u8], mut take: impl FnMut(Stamp)) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let Some(stream) = &mut self.stream else { return outcome };
            let length = match stream.read(buffer) {
                Ok(0) => {
                    outcome.lost.get_or_insert_with(|| "the connection was closed".to_owned());
                    return outcome;
                }
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return outcome,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    outcome.lost = Some(error.to_string());
                    return outcome;
                }
            };
            if self.held.is_empty() {
                let taken = self.digest(&buffer[..length], plan, &mut outcome, &mut take);
                self.held.extend_from_slice(&buffer[taken..length]);
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(&buffer[..length]);
                let taken = self.digest(&held, plan, &mut outcome, &mut take);
                held.drain(..taken);
                if !held.is_empty() {
                    self.held = held;
                }
            }
            // Less than there was room for: there is no more (epoll(7)).
            if length < buffer.len() || outcome.lost.is_some() {
                return outcome;
            }
        }
    }

    /// Takes whole frames from the front; returns how many bytes they had.
    fn digest(
        &mut self,
        bytes: &[u8],
        plan: &Plan,
        outcome: &mut Outcome,
        take: &mut impl FnMut(Stamp),
    ) -> usize {
        let mut at = 0;
        if self.state == State::Upgrading {
            match wire::upgrade(bytes) {
                Upgrade::Waiting => return 0,
                Upgrade::Accepted(end) => {
                    self.state = State::Identifying;
                    at = end;
                }
                Upgrade::Refused(status) => {
                    outcome.lost = Some(format!("refused with HTTP {status}"));
                    return bytes.len();
                }
            }
        }
        while let Some((first, range)) = wire::first_frame(&bytes[at..]) {
            let payload = &bytes[at..][range.clone()];
            at += range.end;
            match first {
                0x81 => self.hear(payload, plan, outcome, take),
                0xC1 => {
                    let mut inflated = BytesMut::new();
                    let mut inflater = Inflater::new();
                    let tail = [0x00, 0x00, 0xFF, 0xFF];
                    let pieces = [payload, &tail];
                    if pieces
                        .iter()
                        .all(|piece| inflater.push(piece, &mut inflated, MAX_INFLATED_BYTES).is_ok())
                    {
                        self.hear(&inflated, plan, outcome, take);
                    }
                }
                0x88 => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    outcome.lost = Some(format!("closed with {code}"));
                }
                _ => {}
            }
        }
        at
    }

    fn hear(&mut self, payload: &[u8], plan: &Plan, outcome: &mut Outcome, take: &mut impl FnMut(Stamp)) {
        let place = match wire::hear(payload) {
            Heard::Message(stamp) => {
                take(stamp);
                POSITION
            }
            Heard::Ready => {
                outcome.is_ready = true;
                if self.since.is_some() {
                    outcome.recovered = Some(wire::find(payload, br#""recovered":true"#).is_some());
                }
                ALL
            }
            Heard::Heartbeat(rest) => {
                outcome.heartbeats += 1;
                self.say(&format!("{{\"op\":11,{rest}"));
                return;
            }
            Heard::Other => return,
        };
        if plan.keeps_places
            && let Some(position) = wire::text_after(payload, place)
        {
            self.since = Some(position.into());
        }
    }

    /// What does not fit into the kernel's buffer is not said: it is never more than a heartbeat.
    fn say(&mut self, text: &str) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write(&wire::client_frame(text));
        }
    }

    /// Whether it is still connected. A kernel whose window is closed may pass over a reset, so it says something that
    /// needs no answer, and is told then.
    pub(crate) fn is_alive(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let alive = stream.write(&[0x8A, 0x80, 0, 0, 0, 0]);
        alive.is_ok_and(|written| written > 0) && stream.take_error().is_ok_and(|error| error.is_none())
    }

    /// Ends the connection at once, as a broken network does.
    pub(crate) fn cut(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Without it the connection ends in order, which is as good for us.
            let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.state = State::Away;
        self.held = Vec::new();
    }
}

/// EINPROGRESS, on every Linux and macOS.
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

/// Which address of this machine a client connects from.
fn source(index: usize) -> Ipv4Addr {
    let number = index / SOCKETS_PER_ADDRESS + 1;
    // macOS has one loopback address unless told otherwise.
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(127, 1, (number >> 8) as u8, number as u8)
    } else {
        Ipv4Addr::LOCALHOST
    }
}

fn identify(identity: &Identity, since: Option<&str>) -> String {
    let mut channels: Vec<_> =
        identity.channels.iter().map(|channel| format!(r#"{{"channel":"{channel}"}}"#)).collect();
    if let Some(since) = since {
        channels.push(format!(r#"{{"channel":"all","since":"{since}"}}"#));
    }
    if channels.is_empty() {
        return format!(r#"{{"op":1,"token":"{}"}}"#, identity.token);
    }
    format!(r#"{{"op":1,"token":"{}","channels":[{}]}}"#, identity.token, channels.join(","))
}
