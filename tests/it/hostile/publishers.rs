//! Publishers that send invalid or too long messages over Redis or the admin port.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use redis::cmd;
use serde_json::json;

use super::HealthyPeer;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

fn over(redis: &RedisServer) -> HealthyPeer {
    let peer = HealthyPeer::of(&TestGateway::redis(redis));
    peer.gateway.wait_ready();
    peer
}

#[test]
fn unreadable_messages_are_refused_on_every_path() {
    let redis = RedisServer::start();
    let mut peer = over(&redis);
    let mut backend = redis.client();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for (message, reason) in [(&*deep, "too_deep"), (r#""\ud800""#, "lone_surrogate")] {
        cmd("PUBLISH").arg("gateway:user:43").arg(message).exec(&mut backend).unwrap();
        let called: redis::RedisResult<String> =
            cmd("FCALL").arg("gateway_publish").arg(&["1", "user:43", message]).query(&mut backend);
        assert!(called.is_err(), "{reason}");
        for options in ["", r#","durable":true"#] {
            let body = format!(r#"{{"channel":"user:43","message":{message}{options}}}"#);
            assert_eq!(peer.gateway.post("/v1/publish", &body).status, 400, "{reason}");
        }
        peer.assert_served(reason);
        assert_eq!(peer.gateway.dropped(reason), 1);
    }
    peer.assert_no_link_loss();
}

#[test]
fn a_message_too_long_for_redis_breaks_no_link() {
    let shipped = include_str!("../../../deploy/redis/redis.conf");
    let settings = ["proto-max-bulk-len", "client-output-buffer-limit"].map(|name| {
        let line = shipped.lines().find(|line| line.starts_with(name)).unwrap();
        format!("--{line}")
    });
    let arguments: Vec<_> = settings.iter().flat_map(|line| line.split(' ')).collect();
    let redis = RedisServer::start_with(&arguments);
    let mut peer = over(&redis);
    for megabytes in [2, 31] {
        let long = format!("\"{}\"", "x".repeat(megabytes << 20));
        // Redis answers with an error, or closes before the whole message was sent.
        let sent: redis::RedisResult<()> =
            cmd("PUBLISH").arg("gateway:user:43").arg(long).query(&mut redis.client());
        assert!(sent.is_err(), "{megabytes} MiB");
        peer.assert_served("a message that is too long");
    }
    peer.assert_no_link_loss();
}

#[test]
fn unauthenticated_admin_request_bodies_are_not_read() {
    let mut peer = HealthyPeer::of(&TestGateway::plan());
    let before = peer.gateway.peak_memory();
    let connections: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = TcpStream::connect(peer.gateway.admin).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            // A foreign page in a developer's browser.
            let head = "POST /v1/publish HTTP/1.1\r\nhost: evil.test\r\ncontent-length: 2000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            for _ in 0..2 {
                if stream.write_all(&[b' '; 1_000_000]).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    peer.assert_served("unauthenticated bodies");
    let grown = peer.gateway.peak_memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    drop(connections);
}

#[test]
fn an_identify_with_too_many_channels_is_closed() {
    let mut peer = HealthyPeer::of(&TestGateway::with("limits.subscriptions_per_session", "10"));
    let channels = vec![json!({"channel": "public:x"}); 2_000];
    let identify = json!({"op": 1, "token": "42", "channels": channels}).to_string();
    for _ in 0..20 {
        let mut client = peer.gateway.connect_v2();
        client.send_text(&identify);
        client.expect_close(4001);
    }
    peer.assert_served("thousands of channels");
    peer.gateway.wait_metric("sessions", 1);
}

#[test]
fn resumes_of_the_longest_message_delay_no_client() {
    let redis = RedisServer::start();
    let mut peer = over(&redis);
    let since = peer.gateway.publish_durably("user:42", "0");
    let long = format!("\"{}\"", "x".repeat(1_048_000));
    peer.gateway.publish_durably("user:42", &long);
    let identify =
        json!({"op": 1, "token": "42", "channels": [{"channel": "user:42", "since": since}]}).to_string();
    let mut clients: Vec<_> = (0..10)
        .map(|_| {
            let mut client = peer.gateway.connect_v2();
            client.send_text(&identify);
            client
        })
        .collect();
    peer.assert_served("ten resumes of the longest message");
    for client in &mut clients {
        client.expect_ready();
        assert_eq!(client.next_json()["message"].as_str().map(str::len), Some(1_048_000));
    }
    peer.assert_served("ten messages of the longest");
}
