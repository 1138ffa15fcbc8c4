//! Publishing over HTTP, with both brokers.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

#[test]
fn a_published_message_keeps_every_byte() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    for message in [
        r#"{"b": 1,  "a":[1.0, 1e3, "\u00e9é\/"], "a":null}"#,
        "18446744073709551616",
        r#""text""#,
        "null",
        "[ ]",
        r#""\ud83d\ude00 😀""#,
    ] {
        gateway.publish("user:42", message);
        client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    }
    assert_eq!(gateway.metric("publications_accepted_total"), 6);
    assert_eq!(gateway.metric("publications_received_total"), 6);
    gateway.wait_metric("publications_delivered_total", 6);
}

#[test]
fn each_message_of_a_batch_has_its_own_result() {
    let redis = RedisServer::start();
    for plan in [TestGateway::with("broker.url", "memory:"), TestGateway::redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        let mut client = gateway.ready_client("42");
        let messages: Vec<Value> = (0..100)
            .map(|number| match number % 10 {
                3 => json!({"channel": "nonsense", "message": number}),
                7 => json!({"channel": "user:42", "message": number, "durable": true}),
                _ => json!({"channel": (["user:42", "all"][number % 2]), "message": number}),
            })
            .collect();
        let answer = gateway.post("/v1/publish/batch", &json!({ "messages": messages }).to_string());
        assert_eq!(answer.status, 200);
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), 100);
        for (number, result) in results.iter().enumerate() {
            match number % 10 {
                3 => assert_eq!(result["error"]["code"], "bad_channel"),
                7 => {
                    assert!(result["position"].as_str().unwrap().ends_with(&format!("-{}", number / 10 + 1)));
                    client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
                }
                _ => {
                    assert_eq!(*result, json!({"replicas": 1}));
                    client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
                }
            }
        }
    }
}

/// Sends these bytes over one connection, and reads until a response has this end.
fn send_and_read(gateway: &TestGateway, requests: &str, end: &str) -> String {
    let mut stream = TcpStream::connect_timeout(&gateway.admin, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let (mut answers, mut bytes) = (String::new(), [0; 4096]);
    while !answers.ends_with(end) {
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "{answers}");
        answers.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    answers
}

#[test]
fn pipelined_publications_are_answered_in_order() {
    let redis = RedisServer::start();
    for plan in [TestGateway::with("broker.url", "memory:"), TestGateway::redis(&redis)] {
        let gateway = plan.spawn();
        gateway.wait_ready();
        let mut client = gateway.ready_client("42");
        let post = |body: String| {
            let length = body.len();
            format!("POST /v1/publish HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let mut requests: String = (0..100)
            .map(|number| match number % 10 {
                3 => post(json!({"channel": "nonsense", "message": number}).to_string()),
                5 => post("{".to_owned()),
                7 => post(json!({"channel": "user:42", "message": number, "durable": true}).to_string()),
                _ => post(json!({"channel": "user:42", "message": number}).to_string()),
            })
            .collect();
        // The HTTP server serves a connection from the first other request on.
        requests += "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
        requests += &post(r#"{"channel":"user:42","message":"last"}"#.to_owned());
        requests += "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answers = send_and_read(&gateway, &requests, r#""reasons":[]}"#);
        let answers: Vec<_> = answers.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(answers.len(), 103, "{answers:?}");
        for (number, answer) in answers.iter().enumerate().take(100) {
            let (status, body) = match number % 10 {
                3 => ("400 Bad Request\r\n", r#"{"code":"bad_channel","#),
                5 => ("400 Bad Request\r\n", r#"{"code":"bad_body","#),
                7 => ("200 OK\r\n", r#"{"position":""#),
                _ => ("200 OK\r\n", r#"{"replicas":1}"#),
            };
            assert!(answer.starts_with(status) && answer.contains(body), "{number}: {answer}");
            assert!(answer.contains("\r\ncache-control: no-store\r\n"), "{answer}");
            if status.starts_with("200") {
                client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
            }
        }
        client.expect_text(r#"{"op":3,"message":"last"}"#);
        assert_eq!(gateway.metric(r#"admin_requests_total{route="/v1/publish",status="200"}"#), 81);
        assert_eq!(gateway.metric(r#"admin_requests_total{route="/v1/publish",status="400"}"#), 20);
        assert_eq!(gateway.metric("publications_accepted_total"), 81);
    }
}

#[test]
fn a_late_publication_is_answered_408_and_closed() {
    let gateway = TestGateway::with("admin.request_timeout", "500ms").spawn();
    let post = "POST /v1/publish HTTP/1.1\r\nhost: localhost\r\ncontent-length: 34\r\n\r\n";
    let whole = post.to_owned() + r#"{"channel":"user:42","message":12}"#;
    let late_body = send_and_read(&gateway, &(whole.clone() + post + "{"), "}}");
    assert!(late_body.contains("HTTP/1.1 408 Request Timeout\r\n"), "{late_body}");
    assert!(late_body.contains(r#"{"code":"request_body_timeout","#), "{late_body}");
    let late_head = send_and_read(&gateway, &(whole + "POST /v1/pub"), "connection: close\r\n\r\n");
    assert!(late_head.contains("HTTP/1.1 408 Request Timeout\r\n"), "{late_head}");
    gateway.wait_metric("admin_connections", 1);
}

#[test]
fn large_batches_keep_the_order_of_each_channel() {
    const BATCHES: u64 = 200;
    const CHANNELS: [&str; 3] = ["user:1", "room:1", "all"];
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    let mut listener = redis.client();
    listener.set_read_timeout(Some(SOON)).unwrap();
    let mut listener = listener.as_pubsub();
    CHANNELS.iter().for_each(|channel| listener.subscribe(format!("gateway:{channel}")).unwrap());
    let mut next = HashMap::new();
    for batch in 0..BATCHES {
        let messages = (batch * 300..(batch + 1) * 300).map(|number| {
            let channel = CHANNELS[(number % 3) as usize];
            json!({"channel": channel, "message": number / 3, "durable": number % 7 == 0})
        });
        let body = json!({"messages": messages.collect::<Vec<_>>()}).to_string();
        assert_eq!(gateway.post("/v1/publish/batch", &body).status, 200);
        for _ in 0..300 {
            let message = listener.get_message().unwrap();
            let payload: String = message.get_payload().unwrap();
            let number: u64 = payload.rsplit(' ').next().unwrap().parse().unwrap();
            let expected = next.entry(message.get_channel_name().to_owned()).or_insert(0);
            assert_eq!(number, *expected, "batch {batch} on {}", message.get_channel_name());
            *expected += 1;
        }
    }
}

#[test]
fn the_longest_message_is_delivered_and_a_longer_one_refused() {
    let gateway = TestGateway::with("broker.max_payload_bytes", "2048").spawn();
    let mut client = gateway.ready_client("42");
    let longest = format!(r#""{}""#, "x".repeat(2046));
    gateway.publish("user:42", &longest);
    client.expect_text(&format!(r#"{{"op":3,"message":{longest}}}"#));
    let body = format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(2047));
    let answer = gateway.post("/v1/publish", &body);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("too_big")));
}

#[test]
fn publishing_without_subscribers_succeeds() {
    let gateway = TestGateway::spawn();
    gateway.publish("user:nobody", "1");
    gateway.publish("room:empty", "1");
    assert_eq!(gateway.metric("publications_delivered_total"), 0);
}

#[test]
fn without_redis_publishing_fails_with_the_reason() {
    let mut redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.probe_timeout", "1s")
        .spawn();
    gateway.wait_ready();
    redis.kill();
    gateway.wait_not_ready("");
    let body = r#"{"channel":"user:42","message":1,"durable":true,"idempotency_key":"k"}"#;
    assert_eq!(gateway.post("/v1/publish", body).status, 503);
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","message":1}"#);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("broker_unavailable")));
}

/// Plans a gateway that waits longer than Redis is away.
fn long_response_timeout(redis: &RedisServer) -> Plan {
    TestGateway::redis(redis)
        .with("broker.probe_interval", "100ms")
        .with("broker.max_reconnect_delay", "100ms")
        .with("broker.response_timeout", "20s")
}

#[test]
fn a_publication_waits_for_a_link_that_is_being_replaced() {
    let mut redis = RedisServer::start();
    let gateway = long_response_timeout(&redis).spawn();
    gateway.wait_ready();
    redis.kill();
    gateway.wait_not_ready("");
    let publish = |body: &str| gateway.post("/v1/publish", body);
    std::thread::scope(|scope| {
        let plain = scope.spawn(|| publish(r#"{"channel":"user:42","message":1}"#));
        let durable = scope.spawn(|| publish(r#"{"channel":"user:42","message":2,"durable":true}"#));
        // Both publications are pending, besides the request that reads the metric.
        gateway.wait_metric_above("admin_connections", 2);
        redis.restart();
        for answer in [plain.join().unwrap(), durable.join().unwrap()] {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    });
}

#[test]
fn a_publication_with_a_key_survives_cut_connections() {
    let redis = RedisServer::start();
    let gateway = long_response_timeout(&redis).spawn();
    gateway.wait_ready();
    let mut operator = redis.client();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for number in 0..200 {
                let body = json!({
                    "channel": "room:1", "message": number, "durable": true, "idempotency_key": number.to_string(),
                });
                let answer = gateway.post("/v1/publish", &body.to_string());
                assert_eq!(answer.status, 200, "{number}: {}", answer.body);
            }
        });
        let kept = |operator: &mut redis::Connection| {
            redis::cmd("XLEN").arg("gateway:room:1").query::<usize>(operator).unwrap()
        };
        while !publisher.is_finished() {
            let before = kept(&mut operator);
            let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
            redis::cmd("CLIENT").arg(&kill).exec(&mut operator).unwrap();
            eventually(SOON, || (publisher.is_finished() || kept(&mut operator) > before).then_some(()));
        }
        publisher.join().unwrap();
    });
    let kept: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("gateway:room:1").arg("-").arg("+").query(&mut redis.client()).unwrap();
    let kept: Vec<_> = kept.into_iter().map(|(_, fields)| fields[1].clone()).collect();
    assert_eq!(
        kept,
        (0..200).map(|number| number.to_string()).collect::<Vec<_>>(),
        "each message must be stored once and in order"
    );
}
