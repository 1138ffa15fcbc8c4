//! The admin port: publishing, health, metrics, and refusals.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gateway::TestGateway;
use crate::support::http::{Answer, request};

const KEY: &str = "the-key-of-the-admin-api";

/// Sends a POST request with an Authorization header.
fn post_with(gateway: &TestGateway, path: &str, authorization: &str, body: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\nconnection: close\nauthorization: {authorization}");
    request(gateway.admin, &head, body)
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

#[test]
fn publishing_needs_the_admin_key_once_it_is_set() {
    let gateway = TestGateway::with("admin.api_key", KEY).spawn();
    let mut client = gateway.ready_client("42");
    let (one, many) =
        (r#"{"channel":"user:42","message":1}"#, r#"{"messages":[{"channel":"user:42","message":2}]}"#);
    for (path, body) in [("/v1/publish", one), ("/v1/publish/batch", many)] {
        let missing = gateway.post(path, body);
        assert_eq!((missing.status, code(&missing)), (401, json!("unauthorized")));
        for wrong in
            ["Bearer", "Bearer ", "Bearer x", &format!("Basic {KEY}"), &format!("Bearer {KEY}x"), KEY]
        {
            assert_eq!(post_with(&gateway, path, wrong, body).status, 401, "{wrong}");
        }
        assert_eq!(post_with(&gateway, path, &format!("bEARER {KEY}"), body).status, 200);
    }
    client.expect_text(r#"{"op":3,"message":1}"#);
    client.expect_text(r#"{"op":3,"message":2}"#);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.get(path).status, 200, "{path} needs no key");
    }
}

#[test]
fn without_a_key_publishing_is_refused_outside_development() {
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("server.allowed_origins", "https://app.example.com")
        .with("broker.url", "memory:")
        .variable("GATEWAY_PROFILE", "production")
        .spawn();
    let answer = gateway.post("/v1/publish", r#"{"channel":"user:42","message":1}"#);
    assert_eq!((answer.status, code(&answer)), (403, json!("admin_key_not_configured")));
    assert!(answer.json()["error"]["detail"].as_str().unwrap().contains("admin.api_key"));
}

#[test]
fn a_bad_request_is_answered_with_the_reason() {
    let gateway = TestGateway::spawn();
    for (body, status, expected) in [
        ("", 400, "bad_body"),
        ("{", 400, "bad_body"),
        ("[]", 400, "bad_body"),
        (r#"{"channel":"user:42"}"#, 400, "bad_body"),
        (r#"{"message":1}"#, 400, "bad_body"),
        (r#"{"channel":"user:42","message":1,"chanel":1}"#, 400, "bad_body"),
        (r#"{"channel":42,"message":1}"#, 400, "bad_body"),
        (r#"{"channel":"user","message":1}"#, 400, "bad_channel"),
        (r#"{"channel":"room:{7}","message":1}"#, 400, "bad_channel"),
        (r#"{"channel":"room:7","message":1,"idempotency_key":"k"}"#, 400, "key_without_durable"),
    ] {
        let answer = gateway.post("/v1/publish", body);
        assert_eq!((answer.status, code(&answer)), (status, json!(expected)), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(!answer.json()["error"]["detail"].as_str().unwrap().is_empty());
    }
    let too_long = format!(r#"{{"channel":"user:42","message":"{}"}}"#, "x".repeat(3_000_000));
    assert_eq!(gateway.post("/v1/publish", &too_long).status, 413);
}

#[test]
fn health_and_metrics_routes_report_state() {
    let gateway = TestGateway::spawn();
    assert_eq!((gateway.get("/livez").status, gateway.get("/livez").json()), (200, json!({"live": true})));
    let ready = gateway.get("/readyz");
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "reasons": []})));
    let clients = [
        gateway.ready_client("42"),
        gateway.ready_client("42"),
        gateway.ready_client("43"),
        gateway.connect(),
    ];
    let page = gateway.get("/metrics");
    assert_eq!(
        page.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(page.body.ends_with("# EOF\n"));
    for (name, value) in [
        ("connections", 4),
        ("connections_opened_total", 4),
        ("sessions", 3),
        ("users", 2),
        ("channels", 3),
        ("subscriptions", 6),
        ("identifies_total{result=\"accepted\"}", 3),
        ("client_messages_total", 3),
        ("redis_link_up", 1),
    ] {
        gateway.wait_metric(name, value);
    }
    drop(clients);
}

#[test]
fn unknown_routes_get_404_and_wrong_methods_405() {
    let gateway = TestGateway::spawn();
    for path in ["/nope", "/v1", "/v1/publish/", "/gateway"] {
        let answer = gateway.get(path);
        assert_eq!((answer.status, code(&answer)), (404, json!("not_found")), "{path}");
    }
    assert_eq!(gateway.post("/readyz", "{}").status, 405);
    assert_eq!(gateway.get("/v1/publish").status, 405);
}

#[test]
fn admin_port_refusals_are_counted_by_reason() {
    let gateway = TestGateway::with("admin.api_key", KEY).spawn();
    let body = r#"{"channel":"user:42","message":1}"#;
    assert!(gateway.get("/metrics").body.contains("gateway_admin_refused_total{reason=\"wrong_key\"} 0"));
    assert_eq!(gateway.get("/v1/status").status, 401);
    assert_eq!(gateway.post("/v1/publish", body).header("www-authenticate"), Some("Bearer"));
    let began = Instant::now();
    assert_eq!(post_with(&gateway, "/v1/publish", "Bearer guess", body).status, 401);
    assert!(began.elapsed() >= Duration::from_millis(400), "a wrong key delays the answer");
    assert_eq!(gateway.metric("admin_refused_total{reason=\"no_key\"}"), 2);
    assert_eq!(gateway.metric("admin_refused_total{reason=\"wrong_key\"}"), 1);
}

#[test]
fn a_body_without_the_key_is_not_read() {
    let gateway = TestGateway::with("admin.api_key", KEY).with("broker.max_payload_bytes", "67108864");
    let gateway = gateway.with("broker.max_inbox_bytes", "67108864").spawn();
    let before = gateway.peak_memory();
    let connections: Vec<_> = (0..12)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
            stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let head = "POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            // The write ends when the gateway closes the connection or stops reading.
            for _ in 0..100 {
                if stream.write_all(&[b' '; 1_000_000]).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    let grown = gateway.peak_memory().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    let authorization = format!("Bearer {KEY}");
    let body = r#"{"channel":"user:42","message":1}"#;
    assert_eq!(post_with(&gateway, "/v1/publish", &authorization, body).status, 200);
    drop(connections);
}

#[test]
fn responses_are_uncached_and_the_index_redirects_to_the_console() {
    let gateway = TestGateway::spawn();
    for path in ["/livez", "/readyz", "/metrics", "/v1/status", "/v1/sessions", "/nope", "/"] {
        let answer = gateway.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    let index = gateway.get("/");
    assert_eq!((index.status, index.header("location")), (303, Some("console")));
}
