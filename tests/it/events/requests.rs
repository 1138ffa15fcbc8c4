//! Which requests for an event stream are refused, and the rules for pages of other origins.

use serde_json::json;

use super::{ROOM, plan};
use crate::support::event_stream::EventStream;
use crate::support::gateway::TestGateway;
use crate::support::http::request;

#[test]
fn a_refused_request_has_its_reason_in_json() {
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.secret", "0123456789abcdef0123456789abcdef")
        .with("limits.failed_identifies_per_minute_per_address", "2")
        .spawn();
    let token = gateway.token(&["--user", "42"]);
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let long = format!("{}x: {}\r\n", bearer(&token), "x".repeat(130 * 1024));
    for (method, headers, status, code) in [
        ("GET", String::new(), 401, "unauthorized"),
        ("GET", "cookie: token=42\r\n".to_owned(), 401, "unauthorized"),
        ("GET", "authorization: Basic NDI6\r\n".to_owned(), 401, "unauthorized"),
        ("GET", bearer("42"), 401, "unauthorized"),
        ("GET", bearer(&token[..token.len() - 1]), 401, "unauthorized"),
        // Two tokens have failed.
        ("GET", bearer(&token), 429, "rate_limited"),
        ("GET", bearer(&token).repeat(2), 400, "bad_request"),
        ("GET", bearer(&token) + "content-length: 1\r\n", 400, "bad_request"),
        ("GET", bearer(&token) + "origin: https://other.example\r\n", 403, "origin_not_allowed"),
        ("HEAD", bearer(&token), 405, "method_not_allowed"),
        ("POST", bearer(&token), 405, "method_not_allowed"),
        ("GET", long, 431, ""),
    ] {
        let head = format!("{method} {ROOM}&token={token} HTTP/1.1\n{}", headers.replace("\r\n", "\n"));
        let answer = request(gateway.public, head.trim_end(), "");
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        if !code.is_empty() {
            assert_eq!(answer.json()["error"]["code"], code, "{head}");
        }
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{head}");
        assert_eq!(answer.header("retry-after").is_some(), status == 429, "{head}");
    }
    assert_eq!(gateway.metric("upgrades_refused_total{reason=\"unauthorized\"}"), 3);
    gateway.assert_empty();
}

#[test]
fn an_allowed_page_may_read_streams_and_their_errors() {
    const PAGE: &str = "https://app.example";
    let gateway = plan().with("server.allowed_origins", PAGE).spawn();
    let preflight = format!("OPTIONS {ROOM} HTTP/1.1\norigin: {PAGE}\naccess-control-request-method: GET");
    let allowed = request(gateway.public, &preflight, "");
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(PAGE));
    let headers = allowed.header("access-control-allow-headers").unwrap();
    assert!(headers.contains("authorization") && headers.contains("last-event-id"), "{headers}");
    let refused = request(gateway.public, &format!("GET {ROOM} HTTP/1.1\norigin: {PAGE}"), "");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(PAGE)));
    let foreign = format!("GET {ROOM} HTTP/1.1\norigin: https://other.example\nauthorization: Bearer 42");
    let foreign = request(gateway.public, &foreign, "");
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));
    let headers = format!("origin: {PAGE}\r\nauthorization: Bearer 42\r\n");
    let mut stream = EventStream::try_open(gateway.public, ROOM, &headers).ok().unwrap();
    let allow = format!("\r\naccess-control-allow-origin: {PAGE}\r\nvary: origin\r\n");
    assert!(stream.head.contains(&allow), "{}", stream.head);
    assert_eq!(stream.expect("ready")["user"], json!("42"));
}
