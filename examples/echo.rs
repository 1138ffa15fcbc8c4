//! An echo server on the gateway's socket layer. `echo ADDRESS` listens on that address.
//!
//! `make conformance` runs a conformance suite against it. The suite tests the gateway's sockets, because this server
//! uses the same code.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example may panic when it fails")]

use std::time::Duration;

use actix::{Actor, StreamHandler};
use actix_http::StatusCode;
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use emagine_gateway::metrics::Metrics;
use emagine_gateway::socket::client_prefix::ClientPrefix;
use emagine_gateway::socket::frame_reader::Bounds;
use emagine_gateway::socket::limits::ConnectionLimiter;
use emagine_gateway::socket::outbox::Outbox;
use emagine_gateway::socket::proxies::TrustedProxies;
use emagine_gateway::socket::request::RequestHead;
use emagine_gateway::socket::{Application, SocketEvent, SocketOptions, UpgradeRefusal, listener};
use protocol::Encoding;
use protocol::frame::{FrameKind, encode, encode_deflated};

/// More than the longest message of the suite, which is 16 MiB.
const MESSAGE_BYTES: usize = 64 << 20;

struct Echo;

impl Application for Echo {
    type Actor = EchoSocket;
    type Admission = ();

    fn admit(&self, request: &RequestHead<'_>, _: Option<ClientPrefix>) -> Result<(), UpgradeRefusal> {
        let refusal = UpgradeRefusal { status: StatusCode::NOT_FOUND, reason: "not_found", headers: &[] };
        if request.path() == "/" { Ok(()) } else { Err(refusal) }
    }

    fn open(&self, (): (), outbox: Outbox) -> EchoSocket {
        EchoSocket { outbox }
    }
}

/// Sends every message back to its client.
struct EchoSocket {
    outbox: Outbox,
}

impl Actor for EchoSocket {
    type Context = WebsocketContext<Self>;
}

impl StreamHandler<SocketEvent> for EchoSocket {
    fn handle(&mut self, event: SocketEvent, _: &mut Self::Context) {
        let encode = if self.outbox.encoding() == Encoding::Deflated { encode_deflated } else { encode };
        let frame = match event {
            SocketEvent::Message(Message::Text(text)) => encode(FrameKind::Text, text.as_bytes()),
            SocketEvent::Message(Message::Binary(bytes)) => encode(FrameKind::Binary, &bytes),
            _ => return,
        };
        self.outbox.push(frame);
    }
}

/// The context's own stream of messages, which ends at once.
impl StreamHandler<Result<Message, ProtocolError>> for EchoSocket {
    fn handle(&mut self, _: Result<Message, ProtocolError>, _: &mut Self::Context) {}

    fn finished(&mut self, _: &mut Self::Context) {}
}

fn main() {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let options = SocketOptions {
        // The suite cuts its 4 MiB messages into frames of 64 bytes.
        inbound: Bounds { max_message_bytes: MESSAGE_BYTES, max_fragments: 1 << 20 },
        message_timeout: Duration::from_secs(60),
        control_frames_per_minute: 1_000,
        max_outbound_bytes: 2 * MESSAGE_BYTES,
        max_total_outbound_bytes: usize::MAX,
        write_timeout: Duration::from_secs(30),
        close_timeout: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(5),
        compression: true,
        max_handshakes: 1_000,
        trusted_proxies: TrustedProxies::default(),
        metrics: Metrics::default(),
        traffic: Default::default(),
    };
    actix_rt::System::new().block_on(async {
        let listener = listener::bind(address.parse().unwrap(), listener::BACKLOG).unwrap();
        println!("listening on {}", listener.local_addr().unwrap());
        listener::serve(listener, 2, options, ConnectionLimiter::default(), || Echo).unwrap().await.unwrap();
    });
}
