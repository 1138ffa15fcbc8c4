//! A panic inside a session. The real session actor has no way to panic, so these tests run the socket layer with
//! another actor.

use std::sync::mpsc;
use std::time::Duration;

use actix::{Actor, StreamHandler};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use emagine_gateway::metrics::Metrics;
use emagine_gateway::socket::client_prefix::ClientPrefix;
use emagine_gateway::socket::frame_reader::Bounds;
use emagine_gateway::socket::limits::ConnectionLimiter;
use emagine_gateway::socket::outbox::Outbox;
use emagine_gateway::socket::proxies::TrustedProxies;
use emagine_gateway::socket::request::RequestHead;
use emagine_gateway::socket::{Application, SocketEvent, SocketOptions, UpgradeRefusal, listener};
use protocol::frame::{FrameKind, encode};

use super::frame;
use crate::support::deadline::eventually_eq;
use crate::support::process::SOON;
use crate::support::raw_socket::RawSocket;

/// Echoes each text, and panics on the text `panic`.
struct Fragile(Outbox);

impl Actor for Fragile {
    type Context = WebsocketContext<Self>;
}

impl StreamHandler<SocketEvent> for Fragile {
    fn handle(&mut self, event: SocketEvent, _: &mut Self::Context) {
        let SocketEvent::Message(Message::Text(text)) = event else { return };
        assert_ne!(text, "panic");
        self.0.push(encode(FrameKind::Text, text.as_bytes()));
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Fragile {
    fn handle(&mut self, _: Result<Message, ProtocolError>, _: &mut Self::Context) {}

    fn finished(&mut self, _: &mut Self::Context) {}
}

struct FragileSockets;

impl Application for FragileSockets {
    type Actor = Fragile;
    type Admission = ();

    fn admit(&self, _: &RequestHead<'_>, _: Option<ClientPrefix>) -> Result<(), UpgradeRefusal> {
        Ok(())
    }

    fn open(&self, (): (), outbox: Outbox) -> Fragile {
        Fragile(outbox)
    }
}

fn options(metrics: &Metrics) -> SocketOptions {
    SocketOptions {
        inbound: Bounds { max_message_bytes: 1_024, max_fragments: 8 },
        message_timeout: SOON,
        control_frames_per_minute: 100,
        max_outbound_bytes: 1_024,
        max_total_outbound_bytes: usize::MAX,
        write_timeout: SOON,
        close_timeout: Duration::from_secs(1),
        handshake_timeout: SOON,
        compression: false,
        max_handshakes: 100,
        trusted_proxies: TrustedProxies::default(),
        metrics: metrics.clone(),
        traffic: Default::default(),
    }
}

#[test]
fn a_panic_ends_only_its_own_socket_with_1011() {
    let metrics = Metrics::default();
    let options = options(&metrics);
    let (sender, receiver) = mpsc::channel();
    let server = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async {
            let socket = listener::bind("127.0.0.1:0".parse().unwrap(), 16).unwrap();
            let address = socket.local_addr().unwrap();
            let connections = ConnectionLimiter::default();
            let server = listener::serve(socket, 1, options, connections, || FragileSockets).unwrap();
            sender.send((address, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    let (address, handle) = receiver.recv().unwrap();
    let mut healthy = RawSocket::connect(address);
    for round in 0..20 {
        let mut raw = RawSocket::connect(address);
        raw.send_text("well");
        raw.expect_text("well");
        raw.write(&[frame(0x81, b"panic"), frame(0x81, b"again")].concat());
        let (first, payload) = raw.frame();
        assert_eq!((first, &payload[..2]), (0x88, &1011_u16.to_be_bytes()[..]));
        assert!(raw.ends_within(SOON));
        let text = format!("still here {round}");
        healthy.send_text(&text);
        healthy.expect_text(&text);
    }
    eventually_eq(SOON, &1, || metrics.connections.get());
    drop(healthy);
    eventually_eq(SOON, &0, || metrics.connections.get());
    drop(handle.stop(false));
    server.join().unwrap();
}
