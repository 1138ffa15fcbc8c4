//! The WebSocket as a socket: taken over from the HTTP server after its handshake, read through a guard,
//! written through an outbox, driven by one small task on its worker thread.
//!
//! It is generic over the [`Application`] that it carries and knows neither JSON nor users. The application is
//! an actor on [`WebsocketContext`]; it hears whole messages only, and can be stopped, starved or broken
//! without its socket ceasing to keep its deadlines.
//!
//! # Layout, lowest first
//!
//! - `utf8`, [`frame_reader`]: what a client sends, judged byte by byte. Pure.
//! - [`outbox`]: the one way out, bounded in bytes; `queue`: what waits in it.
//! - [`outbox_registry`]: the outboxes of this thread, by key, for messages that cannot carry them.
//! - `inbound`: from the socket through the guard into the actor's context.
//! - `driver`: the task that joins them, with the deadlines.
//! - `extensions`: whether messages may be compressed.
//! - [`proxies`]: whose socket it is; [`client_prefix`]: which addresses count as one client; `counts`: how many there are of
//!   each; [`limits`]: how many there may be; [`fd_limit`]: what the system allows.
//! - [`origin`]: which pages may open a socket.
//! - `kernel`: what the kernel knows of a socket, for deadlines; `postponement`: when they count.
//! - [`handshake_stream`]: the stream below the HTTP parser, with the deadline of the handshake; `upgrade_header`: the
//!   Upgrade header on its way to it; `handshake`: what a request must say; `raw_refusal`: a refusal past the
//!   HTTP server.
//! - [`upgrade`]: from an HTTP request to a socket, or to a refusal.
//! - [`listener`]: the public port.

pub mod client_prefix;
mod driver;
mod extensions;
pub mod fd_limit;
pub mod frame_reader;
mod handshake;
pub mod handshake_stream;
mod inbound;
mod kernel;
pub(crate) mod key_counts;
pub mod limits;
pub mod listener;
pub mod origin;
pub mod outbox;
pub mod outbox_registry;
mod postponement;
pub mod proxies;
mod queue;
mod raw_refusal;
pub mod upgrade;
mod upgrade_header;
mod utf8;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, StreamHandler};
use actix_http::{RequestHead, StatusCode};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};

use self::client_prefix::ClientPrefix;
use self::frame_reader::Bounds;
use self::outbox::Outbox;
use self::proxies::TrustedProxies;
use crate::metrics::{Metrics, Traffic};

/// What sockets carry: admits requests, and makes an actor for each socket. One for each worker thread.
pub trait Application: 'static {
    /// The actor of one socket. It hears [`Message::Text`], [`Message::Binary`], [`Message::Ping`] and
    /// [`Message::Pong`] (both empty: the socket has answered). When the peer has sent Close, is gone or broke
    /// a rule, the stream finishes; the socket has then done what is to be done.
    type Actor: Actor<Context = WebsocketContext<Self::Actor>> + StreamHandler<Result<Message, ProtocolError>>;
    /// What [`Application::admit`] finds out and [`Application::open`] needs.
    type Admission;

    /// Decides on a request of this client before the handshake.
    fn admit(
        &self,
        request: &RequestHead,
        client: Option<ClientPrefix>,
    ) -> Result<Self::Admission, UpgradeRefusal>;

    /// Makes the actor of a socket that has been opened. Whatever it wants to send goes into `outbox`.
    fn open(&self, admission: Self::Admission, outbox: Outbox) -> Self::Actor;
}

/// A request that does not become a socket, and what it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRefusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// A short name for metrics, and the body of the answer.
    pub reason: &'static str,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
}

impl SocketOptions {
    /// The same for the sockets of one more thread.
    fn of_thread(&self) -> Self {
        Self { traffic: self.metrics.traffic.add_thread(), ..self.clone() }
    }
}

/// The bounds and deadlines of every socket, from the settings.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// What a client may send.
    pub inbound: Bounds,
    /// How long a message may take from its first byte to its last.
    pub message_timeout: Duration,
    /// How many Pings and Pongs a client may send in a minute.
    pub control_frames_per_minute: u32,
    /// How many bytes may wait for a client that reads slowly.
    pub max_outbound_bytes: usize,
    /// How many bytes may wait for all clients of the process together.
    pub max_total_outbound_bytes: usize,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How long a peer may take to answer a Close.
    pub close_timeout: Duration,
    /// How long a request may take to arrive, and its answer to leave.
    pub handshake_timeout: Duration,
    /// Whether permessage-deflate is negotiated with clients that offer it.
    pub compression: bool,
    /// How many connections of the process may be in their handshake; further ones wait to be accepted.
    pub max_handshakes: usize,
    /// Who is believed when it says for whom it connects.
    pub trusted_proxies: TrustedProxies,
    /// Where sockets are counted.
    pub metrics: Metrics,
    /// Where the bytes of this thread's sockets are counted.
    pub traffic: Arc<Traffic>,
}
