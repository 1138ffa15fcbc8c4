//! How an event stream ends, what keeps it open, and what a hostile client gets.

use std::net::{SocketAddr, TcpStream};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{ROOM, plan};
use crate::support::deadline::eventually;
use crate::support::event_stream::EventStream;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;

const OPENED: &str = "connections_opened_total";

/// A connection whose kernel buffers fill quickly.
fn narrow_connection(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    #[cfg(target_os = "linux")]
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

#[test]
fn a_slow_reader_is_closed_and_continues_after_its_last_event() {
    // The ids are most of what is dropped: only half as many bytes of messages may be recovered.
    let path = format!("{ROOM},room:{}", "x".repeat(200));
    let gateway = plan().with("session.max_outbound_bytes", "100000").spawn();
    let stream = narrow_connection(gateway.public);
    let mut stream = EventStream::on(stream, &path, "authorization: Bearer 42\r\n").ok().unwrap();
    stream.expect("ready");
    let mut published = 0;
    while gateway.closes(4008) == 0 {
        published += 1;
        assert!(published < 2_000, "the stream is not closed");
        gateway.publish_durably("room:7", &published.to_string());
    }
    let mut received = 0;
    let mut number = |event: serde_json::Value| {
        received += 1;
        assert_eq!(event["message"], received);
        received
    };
    loop {
        let event = stream.next().unwrap();
        if event.name == "close" {
            assert_eq!(event.json(), json!({"code": 4008, "reason": "too slow"}));
            break;
        }
        number(event.json());
    }
    assert!((1_000..=5_000).contains(&stream.retry.unwrap()));
    assert_eq!(stream.next(), None);
    let mut resumed = EventStream::resume(gateway.public, &path, "42", &stream.last_id);
    assert_eq!(resumed.expect("ready")["channels"][2]["recovered"], true);
    while number(resumed.expect("message")) < published {}
}

#[test]
fn a_drain_ends_a_stream_with_the_time_to_come_back() {
    let mut gateway = plan().with("drain.window", "200ms").spawn();
    let mut stream = EventStream::open(gateway.public, ROOM, "42");
    stream.expect("ready");
    gateway.terminate();
    assert_eq!(stream.expect("close"), json!({"code": 1012, "reason": "service restart"}));
    assert!((200..=3_000).contains(&stream.retry.unwrap()));
    assert_eq!(stream.next(), None);
    assert_eq!(gateway.wait_exit().code, Some(0));
}

#[test]
fn the_backend_ends_a_stream_with_its_reason() {
    let gateway = plan().spawn();
    let mut stream = EventStream::open(gateway.public, ROOM, "42");
    stream.expect("ready");
    let id = stream.last_id.clone();
    let unsubscribe = json!({"unsubscribe": {"user": "42", "channel": "room:7"}});
    assert_eq!(gateway.post("/v1/control", &unsubscribe.to_string()).status, 200);
    let left = json!({"op": 6, "channel": "room:7", "state": "unsubscribed", "reason": "by_server"});
    assert_eq!(stream.expect("subscription"), left);
    assert!(id.contains("@room:7") && !stream.last_id.contains("@room:7"), "{id}, {}", stream.last_id);
    let disconnect = json!({"disconnect": {"user": "42", "reason": "banned"}});
    assert_eq!(gateway.post("/v1/control", &disconnect.to_string()).status, 200);
    assert_eq!(stream.expect("close"), json!({"code": 4010, "reason": "banned"}));
}

#[test]
fn heartbeats_are_comments_and_need_no_answer() {
    let gateway =
        plan().with("session.heartbeat_interval", "100ms").with("session.heartbeat_grace", "10ms").spawn();
    let mut stream = EventStream::open(gateway.public, ROOM, "42");
    stream.expect("ready");
    while stream.comments < 5 {
        gateway.publish("room:7", "1");
        assert_eq!(stream.expect("message")["message"], 1);
    }
    assert_eq!(gateway.closes(4002), 0);
}

#[test]
fn a_client_that_leaves_or_sends_more_ends_its_stream() {
    let gateway = plan().spawn();
    let mut stream = EventStream::open(gateway.public, ROOM, "42");
    stream.expect("ready");
    stream.write(b"GET /events HTTP/1.1\r\nhost: gateway\r\n\r\n");
    stream.expect_close(1002);
    let mut half_closed = EventStream::open(gateway.public, ROOM, "42");
    half_closed.expect("ready");
    half_closed.shutdown_write();
    assert_eq!(half_closed.next(), None);
    let left = EventStream::open(gateway.public, ROOM, "42");
    drop(left);
    // A second request with the first opens nothing.
    let second = format!("authorization: Bearer 42\r\n\r\nGET {ROOM} HTTP/1.1\r\nhost: gateway\r\n");
    match EventStream::try_open(gateway.public, ROOM, &second) {
        Ok(mut stream) => {
            stream.expect("ready");
            stream.expect_close(1002);
        }
        Err(answer) => assert_eq!(answer.status, 400, "{answer:?}"),
    }
    eventually(SOON, || (gateway.metric("connections") == 0).then_some(()));
    assert_eq!(gateway.metric(OPENED), 4);
}

#[test]
fn a_token_that_expires_ends_its_stream() {
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("auth.leeway", "0s")
        .spawn();
    let token = gateway.token(&["--user", "42", "--ttl", "2s"]);
    let mut stream = EventStream::open(gateway.public, ROOM, &token);
    stream.expect("ready");
    assert_eq!(stream.expect("subscription")["state"], "refused");
    stream.expect_close(4009);
}
