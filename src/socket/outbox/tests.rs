//! Unit tests of the outbox, and an outbox for the tests of other files.

use std::io::Read as _;
use std::time::Duration;

use super::*;
use crate::metrics::Metrics;
use crate::socket::frame_reader::{Bounds, FrameReader};
use crate::socket::http_response::PageOrigin;

impl Outbox {
    /// An outbox, and the socket of its peer. Call in a runtime.
    pub(crate) fn for_test() -> (Self, std::net::TcpStream) {
        Self::for_test_with(Encoding::Plain)
    }

    fn for_test_with(encoding: Encoding) -> (Self, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let options = options();
        let reading = ReadState::new(FrameReader::new(options.inbound, false), Box::default());
        (Self::new(stream, reading, encoding, None, Rc::new(options)), peer)
    }
}

fn options() -> SocketOptions {
    SocketOptions {
        inbound: Bounds { max_message_bytes: 1_024, max_fragments: 8 },
        message_timeout: Duration::MAX,
        control_frames_per_minute: 100,
        max_outbound_bytes: 1_024,
        max_total_outbound_bytes: 1_024,
        write_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        handshake_timeout: Duration::MAX,
        compression: false,
        max_handshakes: 100,
        trusted_proxies: Default::default(),
        metrics: Metrics::default(),
        traffic: Default::default(),
    }
}

/// Every socket has one. With the two counts of `Rc` it fits the allocator's size class of 192.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_state_of_an_outbox_fits_into_176_bytes() {
    assert!(size_of::<OutboxState>() <= 176, "{}", size_of::<OutboxState>());
}

#[tokio::test]
async fn a_close_follows_the_handshakes_answer_even_if_too_slow() {
    let (outbox, mut peer) = Outbox::for_test();
    outbox.queue_answer(Bytes::from_static(b"HTTP/1.1 101"));
    // Other sockets have used up what all may queue.
    outbox.options().metrics.outbound_queued_bytes.inc_by(1_024);
    assert_eq!(outbox.push(frame::encode(FrameKind::Text, b"hello")), Pushed::Closed);
    std::future::poll_fn(|cx| outbox.poll_flush(cx)).await.unwrap();
    outbox.options().metrics.outbound_queued_bytes.dec_by(1_024);
    drop(outbox);
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received[..13], *b"HTTP/1.1 101\x88");
}

const READY: &[u8] = b"id: 1-0@all\nevent: ready\ndata: 1\n\n";

/// An outbox of an event stream, and the socket of its client.
fn event_stream() -> (Outbox, std::net::TcpStream) {
    let (outbox, client) = Outbox::for_test_with(Encoding::EventStream);
    outbox.begin_event_stream(PageOrigin::default());
    (outbox, client)
}

/// Everything that a client receives, split into the head and the rest.
async fn received(outbox: Outbox, mut client: std::net::TcpStream) -> (String, String) {
    std::future::poll_fn(|cx| outbox.poll_flush(cx)).await.unwrap();
    drop(outbox);
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    let (head, rest) = received.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), rest.to_owned())
}

#[tokio::test]
async fn an_event_stream_begins_with_its_first_id() {
    let (outbox, client) = event_stream();
    for block in [&b": heartbeat\n\n"[..], b"retry: 5\n\n", b"", READY, b": heartbeat\n\n", b""] {
        assert_eq!(outbox.push(Bytes::from_static(block)), Pushed::Accepted);
        std::future::poll_fn(|cx| outbox.poll_flush(cx)).await.unwrap();
    }
    outbox.push(Bytes::from_static(b"id: 5-2@a:b\nevent: message\ndata: 2\n\n"));
    let (head, rest) = received(outbox, client).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let expected = "id: 1-0@all\nevent: ready\ndata: 1\n\n: heartbeat\n\n\
                    id: 5-2@a:b 1-0@all\nevent: message\ndata: 2\n\n";
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn a_session_that_ends_before_ready_is_an_http_error() {
    for (code, status) in [
        (CloseCode::IdentifyFailed, 401),
        (CloseCode::SessionExpired, 401),
        (CloseCode::Disconnected, 403),
        (CloseCode::RateLimited, 429),
        (CloseCode::Malformed, 400),
        (CloseCode::ServiceRestart, 503),
        (CloseCode::TryAgainLater, 503),
        (CloseCode::InternalError, 500),
    ] {
        let (outbox, client) = event_stream();
        outbox.close_with(code, "the reason");
        assert_eq!(
            (outbox.push(Bytes::from_static(READY)), outbox.state()),
            (Pushed::Closed, SocketState::Flushing)
        );
        let (head, body) = received(outbox, client).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let detail = if status == 400 { "the request is not valid" } else { "the reason" };
        assert!(body.starts_with("{\"error\":{\"code\":") && body.contains(detail), "{body}");
    }
}

/// Without its head, the event would not be HTTP.
#[tokio::test]
async fn a_close_follows_the_head_even_if_the_first_event_is_dropped() {
    let (outbox, client) = event_stream();
    // Other sockets have used up what all may queue.
    outbox.options().metrics.outbound_queued_bytes.inc_by(1_024);
    assert_eq!(outbox.push(Bytes::from_static(READY)), Pushed::Closed);
    outbox.options().metrics.outbound_queued_bytes.dec_by(1_024);
    let (head, rest) = received(outbox, client).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let close = "event: close\ndata: {\"code\":4008,\"reason\":\"too slow\"}\n\n";
    assert!(rest.starts_with("retry: ") && rest.ends_with(close), "{rest}");
}
