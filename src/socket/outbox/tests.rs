//! Unit tests of the outbox, and an outbox for the tests of other files.

use std::io::Read as _;
use std::time::Duration;

use super::*;
use crate::metrics::Metrics;
use crate::socket::frame_reader::{Bounds, FrameReader};

impl Outbox {
    /// An outbox, and the socket of its peer. Call in a runtime.
    pub(crate) fn for_test() -> (Self, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let options = options();
        let reading = ReadState::new(FrameReader::new(options.inbound, false), Box::default());
        (Self::new(stream, reading, false, None, Rc::new(options)), peer)
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
