//! Tokens that are introspected at an HTTP server.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::{UNVERIFIABLE, assert_accepted, code_of, identifies, notes};
use crate::support::deadline::eventually_eq;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::introspection_server::{Behaviour, IntrospectionServer};
use crate::support::process::SOON;

/// A server and a gateway that asks it. The secret of the client is in the folder.
fn plan() -> (IntrospectionServer, TempDir, Plan) {
    let server = IntrospectionServer::start("gateway:first");
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "first\n").unwrap();
    let plan = TestGateway::with("auth.kind", "introspection")
        .with("auth.introspection_url", &server.url())
        .with("auth.introspection_client_id", "gateway")
        .with("auth.introspection_client_secret_file", file.to_str().unwrap());
    (server, folder, plan)
}

#[test]
fn an_active_token_is_accepted_and_asked_about_once() {
    let (server, _folder, plan) = plan();
    let gateway = plan.with("auth.audience", "gateway").spawn();
    let answer = json!({
        "sub": "42", "aud": ["gateway"], "exp": 4_000_000_000_u64, "jti": "a", "scope": "x y",
        "channels": ["room:*"],
    });
    server.activate("secret", answer);
    server.activate("foreign", json!({"sub": "42", "aud": "another"}));
    for _ in 0..3 {
        assert_eq!(assert_accepted(&gateway, "secret")["user"], "42");
    }
    assert_eq!(server.calls(), 1);
    assert_eq!((code_of(&gateway, "unknown"), code_of(&gateway, "foreign")), (Some(4003), Some(4003)));
    assert_eq!((identifies(&gateway, "unknown"), identifies(&gateway, "wrong_audience")), (1, 1));
}

#[test]
fn a_server_that_fails_closes_with_1013_until_it_is_back() {
    let (server, _folder, plan) = plan();
    let gateway = plan.with("auth.call_timeout", "200ms").with("auth.cache_ttl", "0s").spawn();
    server.activate("secret", json!({"sub": "42"}));
    let mut client = gateway.connect_v2();
    client.identify("secret");
    client.expect_ready();
    let faults = [
        Behaviour::Status(500),
        Behaviour::Page,
        Behaviour::Closes,
        Behaviour::Holds,
        Behaviour::Status(401),
    ];
    for fault in faults {
        server.behave(fault);
        for _ in 0..3 {
            let mut refused = gateway.connect_v2();
            refused.identify("secret");
            assert_eq!(refused.expect_close_reason(1013), UNVERIFIABLE, "{fault:?}");
        }
        let before = server.calls();
        assert!(notes(&gateway).contains("tokens cannot be verified"), "{fault:?}: {}", notes(&gateway));
        client.send_text(r#"{"op":12,"token":"secret"}"#);
        assert_eq!(client.next_json()["code"], "unavailable", "{fault:?}");
        assert!(server.calls() <= before + 1, "a server that fails gets one call after each pause");
        server.behave(Behaviour::Answers);
        eventually_eq(SOON, &None, || code_of(&gateway, "secret"));
    }
    client.send_text(r#"{"op":12,"token":"secret"}"#);
    assert_eq!(client.next_json()["op"], 13);
    assert_eq!(identifies(&gateway, "unknown"), 0);
}

#[test]
fn equal_tokens_share_a_call_and_frames_wait_for_it() {
    let (server, _folder, plan) = plan();
    let gateway = plan.spawn();
    server.activate("secret", json!({"sub": "42", "channels": ["room:*"]}));
    server.behave(Behaviour::Holds);
    let mut clients = [(); 5].map(|()| gateway.connect_v2());
    for client in &mut clients {
        client.identify("secret");
        client.send_text(r#"{"op":4,"channel":"room:7"}"#);
    }
    gateway.wait_metric(r#"token_lookups_total{result="shared"}"#, 4);
    server.behave(Behaviour::Answers);
    for client in &mut clients {
        client.expect_ready();
        assert_eq!(client.next_json()["state"], "subscribed");
    }
    assert_eq!(server.calls(), 1);
}

#[test]
fn leaving_before_the_refusal_counts_as_a_failed_identify() {
    let (server, _folder, plan) = plan();
    let gateway = plan.with("limits.failed_identifies_per_minute_per_address", "2").spawn();
    server.activate("secret", json!({"sub": "42"}));
    server.behave(Behaviour::Holds);
    let clients = ["guess 1", "guess 2"].map(|token| {
        let mut client = gateway.connect_v2();
        client.identify(token);
        client
    });
    eventually_eq(SOON, &2, || server.calls());
    drop(clients);
    gateway.wait_metric("connections", 0);
    server.behave(Behaviour::Answers);
    eventually_eq(SOON, &Some(4007), || code_of(&gateway, "secret"));
}

#[test]
fn a_server_without_https_needs_no_certificate_authorities() {
    let (server, _folder, plan) = plan();
    let plan = plan.variable("SSL_CERT_FILE", "/nowhere").variable("SSL_CERT_DIR", "/nowhere");
    server.activate("secret", json!({"sub": "42"}));
    assert_accepted(&plan.spawn(), "secret");
}

#[test]
fn the_client_secret_is_read_again_at_sighup() {
    let (server, folder, plan) = plan();
    let gateway = plan.with("auth.cache_ttl", "0s").spawn();
    server.activate("secret", json!({"sub": "42"}));
    assert_accepted(&gateway, "secret");
    server.set_credentials("gateway:second");
    assert_eq!(code_of(&gateway, "secret"), Some(1013));
    fs::write(folder.path().join("secret"), "second\n").unwrap();
    gateway.signal("HUP");
    eventually_eq(SOON, &None, || code_of(&gateway, "secret"));
}

#[test]
fn refused_calls_lock_no_other_token_out() {
    let (server, _folder, plan) = plan();
    let gateway = plan.with("auth.cache_ttl", "0s").spawn();
    server.activate("secret", json!({"sub": "42"}));
    for text in ["\\u0000", "a\\u0000b", "", "\u{e9}"] {
        assert_eq!(code_of(&gateway, text), Some(4003), "{text}");
    }
    assert_eq!(server.calls(), 0, "no server is asked about a text that is no token");
    server.behave(Behaviour::Status(400));
    for number in 0..4 {
        assert_eq!(code_of(&gateway, &format!("poison {number}")), Some(1013));
    }
    assert!(notes(&gateway).contains("answers with status 400"), "{}", notes(&gateway));
    server.behave(Behaviour::Answers);
    assert_accepted(&gateway, "secret");
    assert_eq!(notes(&gateway), "null");
}
