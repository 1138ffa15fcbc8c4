//! The commands that talk to a running gateway: publish, tail, health.

use serde_json::json;

use crate::support::gateway::TestGateway;
use crate::support::process::{Process, run};
use crate::support::redis_server::RedisServer;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn publish_sends_each_byte_unchanged_and_reports_errors() {
    let gateway = TestGateway::with("admin.api_key", "the-key-of-the-admin-api").spawn();
    let mut client = gateway.ready_client("42");
    let ended = gateway.command(&["publish", "user:42", r#"{"id": 5306328986810385677}"#]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "{\"replicas\":1}\n"), "{}", ended.err);
    assert!(ended.err.ends_with("received by 1 replica\n"), "{}", ended.err);
    let unheard = gateway.command(&["publish", "room:7", "1"]);
    assert_eq!(unheard.code, Some(0), "{}", unheard.err);
    assert!(unheard.err.contains("warning: no replica received it"), "{}", unheard.err);
    client.expect_text(r#"{"op":3,"message":{"id": 5306328986810385677}}"#);
    for (arguments, error) in [
        (&["publish", "user:42", "{"][..], "the message is not valid JSON"),
        (&["publish", "nonsense", "1"], "the channel is invalid: a channel is `all` or `<namespace>:<name>`"),
        (&["publish", "user:42", "1", "--durable", "--idempotency-key", ""], "1 to 255 bytes"),
        (&["publish", "user:42", "1", "--set", "admin.api_key=wrong"], "admin.api_key"),
        (&["publish", "user:42", "1", "--url", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
    ] {
        let ended = gateway.command(arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        assert!(ended.err.contains(error) && ended.err.lines().count() == 1, "{}", ended.err);
    }
}

#[test]
fn tail_prints_messages_and_ends_after_the_requested_number() {
    let gateway = TestGateway::with("auth.kind", "jwt").with("auth.secret", SECRET).spawn();
    let tail = |arguments: &[&str]| {
        let mut tail =
            gateway.start_command(&[&["tail", "--user", "42", "--count", "2"], arguments].concat());
        tail.wait_for_stderr("ready as user 42");
        tail
    };
    let mut tails = [tail(&[]), tail(&["--channel", "room:7"]), tail(&["--v1"])];
    gateway.publish("room:7", "0");
    gateway.publish("user:42", r#"{"a": 1}"#);
    gateway.publish("all", "2");
    let expected = ["{\"a\": 1}\n2\n", "0\n{\"a\": 1}\n", "{\"a\": 1}\n2\n"];
    for (tail, expected) in tails.iter_mut().zip(expected) {
        let ended = tail.wait();
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected), "{}", ended.err);
    }
    let mut frames: Process =
        gateway.start_command(&["tail", "--user", "42", "--v1", "--frames", "--count", "1"]);
    frames.wait_for_stderr("ready as user 42");
    gateway.publish("all", "3");
    let ended = frames.wait();
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines.first(), Some(&r#"{"op":0,"heartbeat_interval":45000}"#));
    assert_eq!(lines.last(), Some(&r#"{"op":3,"message":3}"#));
    let refused = gateway.command(&["tail", "--token", "nonsense"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("closed with 4003 identify failed; token --check"), "{}", refused.err);
    let other = "auth.secret=another-secret-of-more-than-32-bytes";
    let refused = gateway.command(&["tail", "--user", "42", "--set", other]);
    assert!(refused.err.contains("identify failed; give tail the settings"), "{}", refused.err);
}

#[test]
fn tail_prints_the_presence_of_users_and_rooms() {
    let settings = [
        ("presence.enabled", "true"),
        ("presence.grace", "0s"),
        ("namespaces.room.presence", "members"),
        ("channels.public_namespaces", "online,room"),
    ];
    let plan = settings.iter().fold(TestGateway::plan(), |plan, (key, value)| plan.with(key, value));
    let gateway = plan.spawn();
    let start = |user: &str| {
        gateway.start_command(&["tail", "--user", user, "--channel", "online:42", "--channel", "room:7"])
    };
    let mut first = start("42");
    first.wait_for_stderr("presence on online:42: online");
    first.wait_for_stderr("presence on room:7: 1");
    let second = start("43");
    first.wait_for_stderr("presence on room:7: 2; joined: 43");
    drop(second);
    first.wait_for_stderr("presence on room:7: 1; left: 43");
}

#[test]
fn tail_prints_the_last_messages_and_signals() {
    let settings = [
        ("namespaces.room.max_last", "5"),
        ("namespaces.room.signals", "true"),
        ("channels.public_namespaces", "room,public"),
    ];
    let plan = settings.iter().fold(TestGateway::plan(), |plan, (key, value)| plan.with(key, value));
    let gateway = plan.spawn();
    for message in ["1", "2", "3"] {
        gateway.publish_durably("room:7", message);
    }
    let channels = ["--channel", "room:7", "--channel", "public:7"];
    let arguments = [&["tail", "--user", "42", "--last", "2", "--count", "3"], &channels[..]].concat();
    let mut tail = gateway.start_command(&arguments);
    tail.wait_for_stderr("history of room:7: 2 messages");
    tail.wait_for_stderr("public:7: --last has no effect: max_last of its namespace is 0");
    let mut client = gateway.connect_v2();
    client.identify("43");
    client.expect_ready();
    client.send_text(r#"{"op":4,"channel":"room:7"}"#);
    assert_eq!(client.next_json()["state"], "subscribed");
    client.send_text(r#"{"op":18,"channel":"room:7","signal":{"typing": true}}"#);
    tail.wait_for_stderr(r#"signal on room:7 from 43: {"typing": true}"#);
    gateway.publish("room:7", "4");
    let ended = tail.wait();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "2\n3\n4\n"), "{}", ended.err);
}

#[test]
fn tail_takes_the_largest_message_that_the_settings_allow() {
    let gateway = TestGateway::spawn();
    let mut tail = gateway.start_command(&["tail", "--user", "42", "--count", "1"]);
    tail.wait_for_stderr("ready as user 42");
    let message = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    gateway.publish("user:42", &message);
    let ended = tail.wait();
    assert_eq!((ended.code, ended.out.len()), (Some(0), message.len() + 1), "{}", ended.err);
}

#[test]
fn publish_prints_how_many_replicas_received_it() {
    let redis = RedisServer::start();
    let gateways = [TestGateway::redis(&redis).spawn(), TestGateway::redis(&redis).spawn()];
    let _clients = gateways.each_ref().map(|gateway| {
        gateway.wait_ready();
        gateway.ready_client("42")
    });
    let ended = gateways[0].command(&["publish", "user:42", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.ends_with("received by 2 replicas\n"), "{}", ended.err);
}

#[test]
fn tail_reconnects_continues_and_shows_gaps() {
    let redis = RedisServer::start();
    let addresses = |gateway: &TestGateway| [gateway.public.to_string(), gateway.admin.to_string()];
    let mut gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let [public, admin] = addresses(&gateway);
    let mut tail = gateway.start_command(&["tail", "--user", "42", "--count", "3"]);
    tail.wait_for_stderr("ready as user 42");
    gateway.publish_durably("user:42", "1");
    gateway.terminate();
    assert_eq!(gateway.wait_exit().code, Some(0));
    tail.wait_for_stderr("reconnecting in ");
    let mut publisher = redis.client();
    redis::cmd("FCALL").arg(&["gateway_publish", "1", "gateway:user:42", "2"]).exec(&mut publisher).unwrap();
    let again = || {
        let plan = TestGateway::redis(&redis).with("server.public_addr", &public);
        let gateway = plan.with("server.admin_addr", &admin).spawn();
        gateway.wait_ready();
        gateway
    };
    let mut gateway = again();
    tail.wait_for_stderr("gap: plain messages published meanwhile may be missing");
    gateway.terminate();
    assert_eq!(gateway.wait_exit().code, Some(0));
    // After data loss, the missing messages are unknown.
    redis::cmd("FLUSHALL").exec(&mut publisher).unwrap();
    let gateway = again();
    tail.wait_for_stderr("gap on user:42: messages published meanwhile cannot be recovered");
    gateway.publish("user:42", "3");
    let ended = tail.wait();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "1\n2\n3\n"), "{}", ended.err);
}

#[test]
fn tail_detects_a_silent_gateway() {
    let gateway = TestGateway::with("session.heartbeat_interval", "500ms").spawn();
    let mut tail = gateway.start_command(&["tail", "--user", "42", "--count", "1"]);
    tail.wait_for_stderr("ready as user 42");
    gateway.signal("STOP");
    tail.wait_for_stderr("no frame for 5s; reconnecting in ");
    gateway.signal("CONT");
    gateway.publish_durably("user:42", "1");
    assert_eq!(tail.wait().out, "1\n", "tail reconnected");
}

#[test]
fn health_reports_by_its_exit_code() {
    let redis = RedisServer::reserve(&[]);
    let gateway = TestGateway::redis(&redis).spawn();
    let ended = gateway.command(&["health"]);
    assert_eq!((ended.code, ended.out), (Some(0), format!("{}\n", json!({"live": true}))));
    let ended = gateway.command(&["health", "--ready"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains(r#""ready":false"#), "{}", ended.out);
    let unreachable = run(&["health", "--url", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.code, Some(1));
    assert!(unreachable.err.contains("127.0.0.1:9"), "{}", unreachable.err);
    let ready = TestGateway::spawn();
    assert_eq!(ready.command(&["health", "--ready"]).code, Some(0));
}

#[test]
fn a_wrong_url_is_reported_with_the_right_form() {
    let gateway = TestGateway::spawn();
    let (public, admin) = (gateway.public, gateway.admin);
    let no_scheme = admin.to_string();
    let tls = [format!("https://{admin}"), format!("wss://{public}")];
    let swapped = [format!("http://{public}"), format!("ws://{admin}")];
    for (arguments, expected) in [
        (["health", "--url", &no_scheme], "must begin with http://, such as http://127.0.0.1:8081"),
        (["health", "--url", "http://"], "must begin with http://"),
        (["health", "--url", "http://127.0.0.9:99999"], "the port must be 1 to 65535"),
        (["health", "--url", &tls[0]], "does not speak TLS"),
        (["health", "--url", &swapped[0]], "that is not a gateway's admin port"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
    }
    for (url, expected) in [
        (&no_scheme, "must begin with ws://, such as ws://127.0.0.1:8080/gateway"),
        (&tls[1], "does not speak TLS"),
        (&swapped[1], "and opened no WebSocket; this may be the admin port"),
    ] {
        let ended = run(&["tail", "--user", "42", "--url", url]);
        assert_eq!(ended.code, Some(1), "{url}");
        assert!(ended.err.contains(expected), "{url}: {}", ended.err);
    }
}

#[test]
fn tail_accepts_urls_with_and_without_a_version() {
    let gateway = TestGateway::spawn();
    for rest in ["", "/", "/?v=2", "/gateway?v=2"] {
        let url = format!("ws://{}{rest}", gateway.public);
        let mut tail = gateway.start_command(&["tail", "--user", "42", "--count", "1", "--url", &url]);
        tail.wait_for_stderr("ready as user 42");
        gateway.publish("user:42", "1");
        assert_eq!(tail.wait().code, Some(0), "{url}");
    }
}
