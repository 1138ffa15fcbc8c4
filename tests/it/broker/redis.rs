//! Faults of Redis and of publishers, and the Redis broker's reaction.

use std::time::Instant;

use ::redis::{Connection, ToRedisArgs, cmd};

use super::*;
use protocol::publication::PayloadError;

/// The longest time from a restarted Redis to delivered messages.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(2);

fn raw(connection: &mut Connection, channel: &str, payload: impl ToRedisArgs) -> i64 {
    cmd("PUBLISH").arg(channel).arg(payload).query(connection).unwrap()
}

/// Publishes until the first message arrives.
#[track_caller]
fn assert_delivers_within(deadline: Duration, test: &BrokerUnderTest, hub: &Hub, channel: &str) {
    let mut client = test.server.as_ref().unwrap().client();
    eventually(deadline, || {
        raw(&mut client, &format!("gateway:{channel}"), "\"flows\"");
        (hub.queued() > 0).then_some(())
    });
    hub.inbox.publications.lock().unwrap().clear();
}

fn subscribed_channels(client: &mut Connection) -> Vec<String> {
    let mut channels: Vec<String> = cmd("PUBSUB").arg("CHANNELS").query(client).unwrap();
    channels.sort_unstable();
    channels
}

/// How often Redis has run a command since it started.
fn calls(client: &mut Connection, command: &str) -> u64 {
    let stats: String = cmd("INFO").arg("commandstats").query(client).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[test]
fn any_backend_publishes_with_a_plain_publish() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["user:42"]);
    let mut client = test.server().client();
    assert_eq!(raw(&mut client, "gateway:user:42", r#"{"content":"hi"}"#), 1);
    assert_eq!(raw(&mut client, "gateway:user:43", "1"), 0, "without a subscriber, Redis does not send it");
    assert_eq!(raw(&mut client, "gateway:user:42", "@1732390000000-7 {\"a\": 1}"), 1);
    assert_eq!(hub.next(), r#"user:42 {"content":"hi"}"#);
    let durable = eventually(SOON, || hub.inbox.publications.lock().unwrap().pop_front());
    assert_eq!(durable.position().unwrap().to_string(), "1732390000000-7");
    assert_eq!(durable.message().get(), "{\"a\": 1}");
}

#[test]
fn one_write_reaches_many_users() {
    let mut test = BrokerUnderTest::redis();
    let (one, two) = (test.hub(), test.hub());
    one.subscribe(&["user:1", "user:2"]);
    two.subscribe(&["user:2"]);
    let mut client = test.server().client();
    let payload = r#"{"users":["1","2","3","2"],"message":{"a": 1}}"#;
    assert_eq!(raw(&mut client, "gateway:users", payload), 1);
    assert_eq!([one.next(), one.next()], ["user:1 {\"a\": 1}", "user:2 {\"a\": 1}"]);
    assert_eq!(two.next(), "user:2 {\"a\": 1}");
    assert_eq!([one.queued(), two.queued()], [0, 0]);
}

#[test]
fn garbage_is_counted_and_affects_nothing_else() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    let mut client = test.server().client();
    let huge = vec![b'x'; 8 * 1024 * 1024];
    let garbage: [(&str, &[u8], PayloadError); 8] = [
        ("gateway:room:1", b"{not json", PayloadError::NotJson),
        ("gateway:room:1", b"", PayloadError::NotJson),
        ("gateway:room:1", b"\"\xFF\xFE\"", PayloadError::NotJson),
        ("gateway:room:1", b"@5 {}", PayloadError::BadPosition),
        ("gateway:room:1", &huge, PayloadError::TooBig),
        ("gateway:users", b"[]", PayloadError::BadUsers),
        ("gateway:users", br#"{"users":["4 2"],"message":1}"#, PayloadError::BadUsers),
        ("gateway:users", b"\xFF", PayloadError::NotJson),
    ];
    for (number, (channel, payload, error)) in garbage.into_iter().enumerate() {
        let before = test.dropped(DropReason::Payload(error));
        raw(&mut client, channel, payload);
        raw(&mut client, "gateway:room:1", number);
        assert_eq!(hub.next(), format!("room:1 {number}"));
        assert_eq!(test.dropped(DropReason::Payload(error)), before + 1, "{error}");
    }
    let probes = subscribed_channels(&mut client).into_iter().find(|channel| channel.contains("probe/"));
    raw(&mut client, &probes.unwrap(), "no nonce");
    raw(&mut client, "gateway:room:1", "8");
    assert_eq!(hub.next(), "room:1 8");
    assert!(test.broker.health().is_ready);
    assert_eq!(test.losses(LinkLoss::Closed) + test.losses(LinkLoss::ProbeTimeout), 0);
}

#[test]
fn a_message_that_panics_is_dropped_and_the_link_stays() {
    struct PanickingInbox;
    impl Inbox for PanickingInbox {
        fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
            match event {
                HubEvent::Publication(publication) if publication.message().get() == "\"poison\"" => {
                    panic!("this test panics on purpose");
                }
                _ => Ok(()),
            }
        }
    }
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    let poisoned = test.broker.attach(Arc::new(PanickingInbox));
    test.broker.subscribe(poisoned, 0, vec![name("room:1")], false);
    hub.subscribe(&["room:1"]);
    let mut client = test.server().client();
    raw(&mut client, "gateway:room:1", "\"poison\"");
    raw(&mut client, "gateway:room:1", "1");
    assert_eq!(hub.next(), "room:1 1");
    assert_eq!((test.dropped(DropReason::Panicked), test.losses(LinkLoss::Panicked)), (1, 0));
}

#[test]
fn redis_has_exactly_the_subscribed_channels() {
    let mut test = BrokerUnderTest::redis();
    let (one, two) = (test.hub(), test.hub());
    one.subscribe(&["user:1", "room:1", "all"]);
    two.subscribe(&["user:2", "room:1", "all"]);
    one.unsubscribe(&["user:1", "room:1", "all"]);
    two.unsubscribe(&["user:2"]);
    let mut client = test.server().client();
    eventually_eq(
        SOON,
        &vec![
            "gateway:all".to_owned(),
            "gateway:room:1".into(),
            "gateway:users".into(),
            "gateway:{control}:commands".into(),
        ],
        || {
            let mut channels = subscribed_channels(&mut client);
            channels.retain(|channel| !channel.starts_with("gateway:probe/"));
            channels
        },
    );
    assert_eq!(subscribed_channels(&mut client).len(), 5, "four channels and one for the probes");
    let patterns: i64 = cmd("PUBSUB").arg("NUMPAT").query(&mut client).unwrap();
    assert_eq!(patterns, 0);
}

#[test]
fn thousands_of_channels_need_few_commands_and_survive_a_crash() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    let users: Vec<String> = (0..5000).map(|number| format!("user:{number}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    hub.subscribe(&users);
    let mut client = test.server().client();
    assert_eq!(subscribed_channels(&mut client).len(), 5003);
    assert!(calls(&mut client, "subscribe") <= 12, "5000 channels, 512 a command");
    test.server().restart();
    test.wait_not_ready("");
    test.wait_ready();
    let mut client = test.server().client();
    assert_eq!(subscribed_channels(&mut client).len(), 5003);
    assert!(calls(&mut client, "subscribe") <= 12);
    hub.unsubscribe(&users);
    eventually_eq(SOON, &3, || subscribed_channels(&mut client).len());
    assert!(calls(&mut client, "unsubscribe") <= 12);
}

#[test]
fn a_redis_crash_is_detected_and_repaired() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    for _ in 0..2 {
        test.server().kill();
        test.wait_not_ready("redis: cannot connect: connection refused");
        assert_eq!(test.publish("room:1", "1"), Err(PublishError::Unavailable));
        assert!(hub.has_lost_link(), "sessions do not wait without a link");
        hub.send_subscribe(&["room:1", "room:2"]);
        test.server().restart();
        let restored = Instant::now();
        assert_delivers_within(RECONNECT_TIMEOUT, &test, &hub, "room:1");
        assert_delivers_within(RECONNECT_TIMEOUT, &test, &hub, "room:2");
        test.wait_ready();
        assert!(restored.elapsed() < RECONNECT_TIMEOUT, "delivery took {:?}", restored.elapsed());
        hub.unsubscribe(&["room:2"]);
    }
    assert_eq!(test.losses(LinkLoss::Closed), 2);
}

#[test]
fn the_gateway_waits_for_a_redis_that_starts_later() {
    let server = RedisServer::reserve(&[]);
    let url = server.url();
    let mut test = BrokerUnderTest::over(server, &url);
    let hub = test.hub();
    test.wait_not_ready("connection refused");
    assert_eq!(test.publish("room:1", "1"), Err(PublishError::Unavailable));
    let request = hub.send_subscribe(&["room:1"]);
    test.server().restart();
    test.wait_ready();
    assert_eq!(hub.acknowledged(request), [name("room:1")]);
    test.publish("room:1", "2").unwrap();
    assert_eq!(hub.next(), "room:1 2");
    assert_eq!(test.losses(LinkLoss::Connect), 0, "a link that never existed is not a loss");
}

#[test]
fn a_killed_subscriber_is_replaced_at_once() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    let mut client = test.server().client();
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut client).unwrap();
    assert_delivers_within(Duration::from_secs(1), &test, &hub, "room:1");
    test.wait_ready();
    // A server that counts the connections that it closed at a limit shows that it was not the limit.
    let stats: String = cmd("INFO").arg("stats").query(&mut client).unwrap();
    let reason = if stats.contains("client_output_buffer_limit_disconnections:") {
        LinkLoss::Closed
    } else {
        LinkLoss::SubscriberClosed
    };
    eventually_eq(SOON, &1, || test.losses(reason));
}

/// A message of 40 MB disconnects every replica. The log must give the reason.
#[test]
fn a_disconnect_by_the_output_buffer_limit_has_its_reason() {
    let server = RedisServer::start_with(&["--client-output-buffer-limit", "pubsub", "64kb", "64kb", "0"]);
    let url = server.url();
    let mut test = BrokerUnderTest::over(server, &url);
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    test.wait_ready();
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    cmd("PUBLISH").arg("gateway:room:1").arg(large).exec(&mut test.server().client()).unwrap();
    eventually_eq(SOON, &1, || test.losses(LinkLoss::SubscriberClosed));
    test.wait_ready();
    assert_delivers_within(Duration::from_secs(2), &test, &hub, "room:1");
}

#[test]
fn a_killed_command_connection_is_replaced_and_the_link_stays() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    let mut client = test.server().client();
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut client).unwrap();
    eventually(SOON, || test.publish("room:1", "1").ok());
    assert_eq!(hub.next(), "room:1 1");
    test.wait_ready();
    assert_eq!(test.losses(LinkLoss::Closed), 0);
}

#[test]
fn the_probe_detects_a_frozen_redis() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    hub.subscribe(&["room:1"]);
    test.server().stop();
    // This request is sent while the link still looks healthy. It waits until the link is given up.
    hub.send_subscribe(&["room:3"]);
    test.wait_not_ready("probe timed out after 700ms");
    assert!(hub.has_lost_link());
    assert_eq!(test.losses(LinkLoss::ProbeTimeout), 1);
    test.wait_not_ready("cannot connect: no answer for 1s");
    hub.send_subscribe(&["room:2"]);
    test.server().cont();
    assert_delivers_within(RECONNECT_TIMEOUT, &test, &hub, "room:2");
    test.wait_ready();
}

#[test]
fn publications_that_wait_for_a_slow_redis_are_bounded() {
    let mut test = BrokerUnderTest::redis();
    test.server().stop();
    let message = RawValue::from_string("1".into()).unwrap();
    let channel = name("room:1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let publications = (0..1030).map(|_| test.broker.publish(&channel, &message));
    let outcomes = runtime.block_on(futures_util::future::join_all(publications));
    assert!(outcomes.iter().all(Result::is_err));
    let busy = outcomes.iter().filter(|outcome| **outcome == Err(PublishError::Busy)).count();
    assert_eq!(busy, 1030 - 1024);
    test.server().cont();
    test.wait_ready();
    test.publish("room:1", "2").unwrap();
}

#[test]
fn the_probe_detects_a_redis_that_withholds_publications() {
    let mut test = BrokerUnderTest::redis();
    let mut client = test.server().client();
    // Pauses only writes. Connecting and subscribing still work, so only the probe can detect the fault.
    cmd("CLIENT").arg("PAUSE").arg(3000).arg("WRITE").exec(&mut client).unwrap();
    assert_eq!(test.publish("room:1", "1"), Err(PublishError::Timeout));
    test.wait_not_ready("probe timed out after ");
    assert!(test.losses(LinkLoss::ProbeTimeout) >= 1);
    test.wait_ready();
}

#[test]
fn a_wrong_password_is_reported_without_the_password() {
    let server = RedisServer::start_with(&["--requirepass", "correct-horse"]);
    let (without, wrong) = (server.url(), server.url_with("hunter2"));
    let good = server.url_with("correct-horse");
    let test = BrokerUnderTest::over(server, &wrong);
    test.wait_not_ready("access refused");
    let reasons = test.broker.health().reasons.join(" ");
    assert!(reasons.contains("WRONGPASS"), "{reasons}");
    assert!(!reasons.contains("hunter2"), "{reasons}");
    let BrokerUnderTest { server, .. } = test;
    let test = BrokerUnderTest::over(server.unwrap(), &without);
    test.wait_not_ready("NOAUTH");
    let BrokerUnderTest { server, .. } = test;
    BrokerUnderTest::over(server.unwrap(), &good).wait_ready();
}

#[test]
fn a_rediss_url_uses_tls_and_rejects_unknown_certificates() {
    let (server, tls_port) = RedisServer::start_with_tls();
    let test = BrokerUnderTest::over(server, &format!("rediss://127.0.0.1:{tls_port}"));
    test.wait_not_ready("invalid peer certificate: UnknownIssuer");
}

#[test]
fn missing_rights_are_reported_and_retried_with_a_delay() {
    let mut test = BrokerUnderTest::redis();
    let hub = test.hub();
    let mut client = test.server().client();
    let acl = |rule: &str, client: &mut Connection| {
        cmd("ACL").arg("SETUSER").arg("default").arg(rule).exec(client).unwrap();
    };
    acl("resetchannels", &mut client);
    test.wait_not_ready("NOPERM");
    let before = calls(&mut client, "client|setinfo") + calls(&mut client, "subscribe");
    let hold = Instant::now();
    eventually(SOON, || (hold.elapsed() > Duration::from_secs(1)).then_some(()));
    let attempts = calls(&mut client, "client|setinfo") + calls(&mut client, "subscribe") - before;
    assert!(attempts < 60, "{attempts} commands in a second");
    acl("allchannels", &mut client);
    test.wait_ready();
    hub.subscribe(&["room:1"]);
    assert_delivers_within(RECONNECT_TIMEOUT, &test, &hub, "room:1");
}

#[test]
fn dropping_the_last_handle_closes_its_connections() {
    let mut test = BrokerUnderTest::redis();
    let mut client = test.server().client();
    let clients = |client: &mut Connection| -> usize {
        cmd("CLIENT").arg("LIST").query::<String>(client).unwrap().lines().count()
    };
    assert_eq!(clients(&mut client), 4, "subscriptions, commands, histories, and this one");
    let BrokerUnderTest { broker, server: _server, .. } = test;
    drop(broker);
    eventually_eq(SOON, &1, || clients(&mut client));
}

#[test]
fn a_bad_url_is_refused_without_repeating_it() {
    for url in ["http://user:hunter2@localhost", "redis://:hunter2@:x", "nonsense-hunter2", ""] {
        let error = Broker::redis(options(url), &Metrics::default()).err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
