//! Several replicas with one Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const SAMPLE: &str = r#"{"id": 5306328986810385677, "content":"Testing post","timestamp":1579248521580}"#;
/// The longest time from Redis answering again to delivered messages.
const RECOVERY: Duration = Duration::from_secs(2);

/// Plans a replica that detects faults of its link soon.
fn plan(redis: &RedisServer) -> Plan {
    TestGateway::redis(redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.probe_timeout", "2s")
        .with("broker.min_reconnect_delay", "50ms")
        .with("broker.max_reconnect_delay", "500ms")
}

/// Starts two replicas and waits until they are ready.
fn start_two(redis: &RedisServer) -> [TestGateway; 2] {
    let replicas = [(); 2].map(|()| plan(redis).spawn());
    replicas.iter().for_each(TestGateway::wait_ready);
    replicas
}

/// Publishes over a plain connection, as a backend does. Returns the number of subscribed replicas.
fn publish(redis: &mut redis::Connection, channel: &str, payload: impl redis::ToRedisArgs) -> u64 {
    redis::cmd("PUBLISH").arg(channel).arg(payload).query(redis).unwrap()
}

#[test]
fn one_publish_reaches_the_clients_of_both_replicas() {
    let redis = RedisServer::start();
    let (replicas, mut backend) = (start_two(&redis), redis.client());
    let mut clients: Vec<Client> =
        [0, 0, 1, 1].iter().map(|&replica: &usize| replicas[replica].ready_client("42")).collect();
    let mut other = replicas[0].ready_client("43");
    assert_eq!(publish(&mut backend, "gateway:user:42", SAMPLE), 2);
    for client in &mut clients {
        client.expect_text(
            r#"{"op":3,"message":{"id": 5306328986810385677, "content":"Testing post","timestamp":1579248521580}}"#,
        );
    }
    assert_eq!(publish(&mut backend, "gateway:all", "2"), 2);
    clients.iter_mut().chain([&mut other]).for_each(|client| client.expect_text(r#"{"op":3,"message":2}"#));
    // Only the replica with a client of this user gets the message.
    assert_eq!(publish(&mut backend, "gateway:user:43", "3"), 1);
    other.expect_text(r#"{"op":3,"message":3}"#);
    replicas[1].publish("user:42", "4");
    clients.iter_mut().for_each(|client| client.expect_text(r#"{"op":3,"message":4}"#));
}

#[test]
fn a_channel_without_subscribers_is_unsubscribed_from_redis() {
    let redis = RedisServer::start();
    let (replicas, mut backend) = (start_two(&redis), redis.client());
    let first = replicas[0].ready_client("42");
    let mut second = replicas[1].ready_client("42");
    assert_eq!(publish(&mut backend, "gateway:user:42", "1"), 2);
    second.expect_text(r#"{"op":3,"message":1}"#);
    drop(first);
    eventually(SOON, || (publish(&mut backend, "gateway:user:42", "2") == 1).then_some(()));
    second.expect_text(r#"{"op":3,"message":2}"#);
}

#[test]
fn one_write_reaches_many_users_wherever_they_are() {
    let redis = RedisServer::start();
    let (replicas, mut backend) = (start_two(&redis), redis.client());
    let mut a = replicas[0].ready_client("1");
    let mut b = replicas[1].ready_client("2");
    let mut c = replicas[1].ready_client("3");
    publish(&mut backend, "gateway:users", r#"{"users":["1","2","2","99"],"message":{"a": 1.0}}"#);
    publish(&mut backend, "gateway:all", "2");
    for client in [&mut a, &mut b] {
        client.expect_text(r#"{"op":3,"message":{"a": 1.0}}"#);
    }
    for client in [&mut a, &mut b, &mut c] {
        client.expect_text(r#"{"op":3,"message":2}"#);
    }
}

#[test]
fn a_version_2_client_on_any_replica_gets_its_channels() {
    let redis = RedisServer::start();
    let (replicas, mut backend) = (start_two(&redis), redis.client());
    let mut clients = [replicas[0].connect_v2(), replicas[1].connect_v2()];
    for client in &mut clients {
        client.send_text(r#"{"op":1,"token":"42","channels":[{"channel":"public:news"}]}"#);
        client.expect_ready();
    }
    publish(&mut backend, "gateway:public:news", SAMPLE);
    for client in &mut clients {
        client.expect_text(&format!(r#"{{"op":3,"channel":"public:news","message":{SAMPLE}}}"#));
    }
}

#[test]
fn invalid_payloads_on_channels_are_counted_and_harmless() {
    let redis = RedisServer::start();
    let (replicas, mut backend) = (start_two(&redis), redis.client());
    let mut clients = [replicas[0].ready_client("42"), replicas[1].ready_client("42")];
    let huge = format!(r#""{}""#, "x".repeat(2_000_000));
    let rubbish: [(&str, &[u8], &str); 12] = [
        ("gateway:user:42", b"", "not_json"),
        ("gateway:user:42", b"not json", "not_json"),
        ("gateway:user:42", b"\"\xFF\xFE\"", "not_json"),
        ("gateway:user:42", b"{\"a\":1", "not_json"),
        ("gateway:user:42", b"\0", "not_json"),
        ("gateway:user:42", huge.as_bytes(), "too_big"),
        ("gateway:user:42", b"@1732390000000-1", "bad_position"),
        ("gateway:all", b"NaN", "not_json"),
        ("gateway:users", b"x", "not_json"),
        ("gateway:users", b"[]", "bad_users"),
        ("gateway:users", br#"{"users":["4 2"],"message":1}"#, "bad_users"),
        ("gateway:users", br#"{"users":42,"message":1}"#, "bad_users"),
    ];
    for (number, (channel, payload, _)) in rubbish.iter().enumerate() {
        assert_eq!(publish(&mut backend, channel, *payload), 2);
        publish(&mut backend, "gateway:user:42", number.to_string());
        for client in &mut clients {
            client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
        }
    }
    for replica in &replicas {
        for reason in ["not_json", "too_big", "bad_position", "bad_users"] {
            let expected = rubbish.iter().filter(|(.., found)| *found == reason).count();
            assert_eq!(replica.dropped(reason), expected as i64, "{reason}");
        }
        assert_eq!(replica.readyz().0, 200);
        assert!(!replica.log().contains("not json"), "payloads must not be logged");
    }
}

#[test]
fn redis_may_crash_under_live_sockets() {
    let mut redis = RedisServer::start();
    let replicas = start_two(&redis);
    let mut before: Vec<Client> = (0..6).map(|number| replicas[number % 2].ready_client("42")).collect();

    redis.kill();
    replicas.iter().for_each(|replica| replica.wait_not_ready(""));
    // A client may connect while Redis is down.
    let mut during = [replicas[0].ready_client("42"), replicas[1].ready_client("during")];
    during[0].send_text(r#"{"op":10}"#);
    during[0].expect_text(r#"{"op":11}"#);

    redis.restart();
    let restored = Instant::now();
    let mut backend = redis.client();
    let all_clients = before.iter_mut().map(|client| ("gateway:user:42", client));
    let all_clients =
        all_clients.chain(["gateway:user:42", "gateway:user:during"].into_iter().zip(&mut during));
    for (channel, client) in all_clients {
        eventually(RECOVERY, || {
            publish(&mut backend, channel, "1");
            client.next_within(Duration::from_millis(20))
        });
    }
    assert!(restored.elapsed() < RECOVERY, "delivery took {:?}", restored.elapsed());
    replicas.iter().for_each(TestGateway::wait_ready);
    for replica in &replicas {
        assert_eq!(replica.metric("connections_opened_total"), 4, "no socket may be closed");
        assert_eq!(replica.metric("connections"), 4);
    }
}

#[test]
fn clients_become_ready_while_redis_restarts() {
    let mut redis = RedisServer::start();
    let gateway = plan(&redis).spawn();
    gateway.wait_ready();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let arrivals: Vec<_> = (0..2)
            .map(|number| {
                let (gateway, is_over) = (&gateway, &is_over);
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    while !is_over.load(Ordering::Relaxed) {
                        // A few clients stay and most leave at once, so channels are subscribed and unsubscribed.
                        let mut client = gateway.ready_client(&(kept.len() % 7 + number).to_string());
                        client.send_text(r#"{"op":10}"#);
                        client.expect_text(r#"{"op":11}"#);
                        if kept.len() < 100 {
                            kept.push(client);
                        }
                    }
                    kept
                })
            })
            .collect();
        for _ in 0..5 {
            redis.kill();
            gateway.wait_not_ready("");
            redis.restart();
            gateway.wait_ready();
        }
        is_over.store(true, Ordering::Relaxed);
        let mut kept: Vec<_> = arrivals.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        gateway.wait_ready();
        gateway.publish("all", "1");
        kept.iter_mut().for_each(|client| client.expect_text(r#"{"op":3,"message":1}"#));
    });
}

#[test]
fn a_dead_replica_affects_no_other() {
    let redis = RedisServer::start();
    let ([mut dying, staying], mut backend) = (start_two(&redis), redis.client());
    let mut lost = dying.ready_client("42");
    let mut kept = staying.ready_client("42");
    dying.signal("KILL");
    assert_eq!(dying.wait_exit().code, None);
    assert_eq!(lost.next_or_close(), None);
    // The client reconnects to the other replica, as behind a load balancer.
    let mut back = staying.ready_client("42");
    publish(&mut backend, "gateway:user:42", "1");
    kept.expect_text(r#"{"op":3,"message":1}"#);
    back.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_gateway_starts_without_redis_and_delivers_later() {
    let mut redis = RedisServer::reserve(&[]);
    let gateway = plan(&redis).spawn();
    gateway.wait_not_ready("");
    assert_eq!(gateway.get("/livez").status, 200);
    let mut early = gateway.ready_client("42");
    redis.restart();
    gateway.wait_ready();
    gateway.publish("user:42", "1");
    early.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_frozen_redis_is_detected_and_no_socket_closed() {
    let redis = RedisServer::start();
    let gateway = plan(&redis).spawn();
    gateway.wait_ready();
    let mut client = gateway.ready_client("42");
    redis.stop();
    gateway.wait_not_ready("");
    client.send_text(r#"{"op":10}"#);
    client.expect_text(r#"{"op":11}"#);
    redis.cont();
    gateway.wait_ready();
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn deployments_with_different_prefixes_are_isolated() {
    let redis = RedisServer::start();
    let mut backend = redis.client();
    let (ours, theirs) = (plan(&redis).spawn(), plan(&redis).with("broker.prefix", "staging").spawn());
    [&ours, &theirs].into_iter().for_each(TestGateway::wait_ready);
    let (mut our_client, mut their_client) = (ours.ready_client("42"), theirs.ready_client("42"));
    assert_eq!(publish(&mut backend, "gateway:user:42", "1"), 1);
    assert_eq!(publish(&mut backend, "staging:user:42", "2"), 1);
    our_client.expect_text(r#"{"op":3,"message":1}"#);
    their_client.expect_text(r#"{"op":3,"message":2}"#);
}
