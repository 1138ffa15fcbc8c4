//! The public WebSocket port: from an accepted connection to a closed socket, for any [`Application`].
//!
//! This layer does not know JSON or users. An application is an actor on [`WebsocketContext`] that receives whole
//! messages only. A socket enforces its deadlines even if its actor stops or panics.
//!
//! # Files, lowest first
//!
//! - `utf8`: checks UTF-8 as it arrives.
//! - [`frame_reader`]: turns a client's bytes into whole messages; does no IO.
//! - `kernel`: reads and writes a socket without the runtime, for deadlines.
//! - `thread_millis`: the times of deadlines, and which of them share a wake-up.
//! - `postponement`: postpones a deadline while there is unread data.
//! - `queue`: the frames that are queued for one socket.
//! - [`client_prefix`]: which addresses count as one client.
//! - [`proxies`]: the client's address when a proxy connects for it.
//! - `read_state`: what a socket remembers of its reading.
//! - [`outbox`]: sends frames to one socket, bounded in bytes.
//! - [`outbox_registry`]: finds the outboxes of a thread by key.
//! - [`deadlines`]: the deadlines of a thread's actors, with one timer.
//! - `inbound`: reads a socket into its actor's context.
//! - `key_counts`: counts by key.
//! - [`limits`]: how many connections there may be.
//! - `task`: the task of one socket, with the deadlines of reading and writing.
//! - [`request`]: parses the head of a request; the admin port uses it, too.
//! - `extensions`: negotiates compression.
//! - [`fd_limit`]: how many file descriptors the system allows.
//! - [`origin`]: which pages may open a socket.
//! - `handshake`: checks a handshake against RFC 6455.
//! - `http_response`: the HTTP responses except 101.
//! - `raw_refusal`: ends a connection with an HTTP response.
//! - `handshake_stream`: reads the request of a connection, within the deadline of the handshake.
//! - `upgrade`: turns a request into a socket or an event stream, or refuses it.
//! - [`listener`]: accepts connections on the public port.

pub mod client_prefix;
pub mod deadlines;
mod extensions;
pub mod fd_limit;
pub mod frame_reader;
mod handshake;
mod handshake_stream;
mod http_response;
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
mod read_state;
pub mod request;
mod task;
mod thread_millis;
mod upgrade;
mod utf8;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, StreamHandler};
use actix_http::StatusCode;
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};

use self::client_prefix::ClientPrefix;
use self::frame_reader::Bounds;
use self::outbox::Outbox;
use self::proxies::TrustedProxies;
use self::request::{BAD_REQUEST, RequestHead};
use crate::metrics::{Metrics, Traffic};

/// The path of event streams.
pub const EVENTS_PATH: &str = "/events";

/// The application that sockets serve: it admits requests and makes an actor for each socket. Each worker thread has
/// one.
pub trait Application: 'static {
    /// The actor of one socket. It receives [`SocketEvent`]s. The stream ends when the peer sends Close, disconnects or
    /// breaks a rule; the socket then closes the connection without the actor.
    ///
    /// The context also wants a handler of its own stream of messages, which ends at once: that handler receives nothing,
    /// and its `finished` must not stop the actor.
    type Actor: Actor<Context = WebsocketContext<Self::Actor>>
        + StreamHandler<SocketEvent>
        + StreamHandler<Result<Message, ProtocolError>>;
    /// The result of [`Application::admit`], for [`Application::open`].
    type Admission;

    /// Admits or refuses a request before the handshake is answered. `client` is `None` if the peer's address is
    /// unknown.
    fn admit(
        &self,
        request: &RequestHead<'_>,
        client: Option<ClientPrefix>,
    ) -> Result<Self::Admission, UpgradeRefusal>;

    /// The first message that the actor of an event stream receives. An event stream is a socket that sends server-sent
    /// events; its client sends nothing after the request. Called for an admitted request for [`EVENTS_PATH`].
    fn first_message(&self, _request: &RequestHead<'_>) -> Result<String, UpgradeRefusal> {
        Err(BAD_REQUEST)
    }

    /// Makes the actor of a new socket. The actor sends through `outbox`.
    fn open(&self, admission: Self::Admission, outbox: Outbox) -> Self::Actor;
}

/// What the actor of a socket receives.
#[derive(Debug)]
pub enum SocketEvent {
    /// [`Message::Text`], [`Message::Binary`], and an empty [`Message::Ping`] or [`Message::Pong`] for each control frame;
    /// the socket answers Pings itself.
    Message(Message),
    /// The deadline of [`deadlines::arm`] has passed.
    DeadlinePassed,
    /// [`Outbox::notify`] was called.
    Notified,
}

/// The answer to a request that does not become a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeRefusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body of the answer, and the value of the label `reason` in metrics.
    pub reason: &'static str,
    /// Additional headers, with names in lower case.
    pub headers: &'static [(&'static str, &'static str)],
}

/// The bounds and deadlines of every socket, from the settings.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    /// Bounds on the messages of a client.
    pub inbound: Bounds,
    /// The most time from the first byte of a message to its last.
    pub message_timeout: Duration,
    /// The most Pings and Pongs of a client in a minute.
    pub control_frames_per_minute: u32,
    /// The most bytes that may be queued for one client.
    pub max_outbound_bytes: usize,
    /// The most bytes that may be queued for all clients of the process together.
    pub max_total_outbound_bytes: usize,
    /// The most time that a write may make no progress.
    pub write_timeout: Duration,
    /// The most time that a peer may take to answer a Close.
    pub close_timeout: Duration,
    /// The most time from the accept of a connection until its request has arrived or, if the request is refused, until
    /// the client has ended the connection.
    pub handshake_timeout: Duration,
    /// Whether to accept permessage-deflate from clients that offer it.
    pub compression: bool,
    /// The most connections of the process in their handshake. Further connections wait in the kernel's backlog.
    pub max_handshakes: usize,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The byte counters of this worker thread.
    pub traffic: Arc<Traffic>,
}

impl SocketOptions {
    /// These options for the sockets of one more thread, with byte counters of its own.
    fn for_thread(&self) -> Self {
        Self { traffic: self.metrics.traffic.add_thread(), ..self.clone() }
    }
}
