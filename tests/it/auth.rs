//! Authentication with the three kinds of tokens, which never leak.

use serde_json::Value;

use crate::support::gateway::{Plan, TestGateway};

const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Tokens made by the login service's own library, and its secret.
fn vectors() -> (String, Vec<Value>) {
    let data: Value = serde_json::from_str(include_str!("../data/itsdangerous.json")).unwrap();
    (data["secret"].as_str().unwrap().to_owned(), data["cases"].as_array().unwrap().clone())
}

/// Plans a gateway that accepts the login service's tokens up to this age.
fn signed(max_age: &str) -> Plan {
    TestGateway::with("auth.kind", "signed").with("auth.secret", &vectors().0).with("auth.max_age", max_age)
}

fn jwt() -> Plan {
    TestGateway::with("auth.kind", "jwt").with("auth.secret", JWT_SECRET)
}

#[test]
fn login_service_tokens_are_accepted_and_forgeries_refused() {
    // The maximum age that the settings allow, because the tokens in the file are from 2024.
    let gateway = signed("3650d").spawn();
    let (mut accepted, mut refused) = (0, 0);
    for case in vectors().1 {
        let (name, token) = (case["name"].as_str().unwrap(), case["token"].as_str().unwrap());
        // Other tests check the cases that depend on the time.
        let is_of_2024 = case["issued"].as_u64().is_none_or(|issued| issued == 1_732_390_000);
        let mut client = gateway.connect();
        client.identify(token);
        match case["expect"].as_str().unwrap() {
            "ok" if is_of_2024 => {
                assert_eq!(client.expect_ready()["user"], case["user"], "{name}");
                accepted += 1;
            }
            "bad_signature" | "user_not_allowed" | "malformed" => {
                client.expect_close(4003);
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(accepted >= 4 && refused >= 15, "{accepted} accepted, {refused} refused");
    assert!(gateway.metric(r#"identifies_total{result="bad_signature"}"#) >= 10);
}

#[test]
fn an_expired_signed_token_is_refused_or_ends_its_session() {
    let gateway = signed("1h").spawn();
    let old = vectors().1.into_iter().find(|case| case["name"] == "good").unwrap();
    let mut late = gateway.connect();
    late.identify(old["token"].as_str().unwrap());
    late.expect_close(4003);
    assert_eq!(gateway.metric(r#"identifies_total{result="expired"}"#), 1);
    let mut client = gateway.connect();
    client.identify(&gateway.token(&["--user", "42", "--ttl", "4s"]));
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    client.expect_close(4009);
}

#[test]
fn a_jwt_needs_the_configured_issuer_and_audience() {
    let gateway = jwt().with("auth.issuer", "login").with("auth.audience", "gateway").spawn();
    let good = gateway.token(&["--user", "42"]);
    let mut client = gateway.connect();
    client.identify(&good);
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    let tampered = {
        let mut parts: Vec<_> = good.split('.').collect();
        let other = gateway.token(&["--user", "43"]);
        parts[1] = other.split('.').nth(1).unwrap();
        parts.join(".")
    };
    let others = [
        ("another audience", jwt().with("auth.issuer", "login").with("auth.audience", "shop")),
        ("another issuer", jwt().with("auth.issuer", "another").with("auth.audience", "gateway")),
        ("neither", jwt()),
        (
            "another secret",
            jwt()
                .with("auth.issuer", "login")
                .with("auth.audience", "gateway")
                .with("auth.secret", "ffffffffffffffffffffffffffffffff"),
        ),
    ];
    let foreign = others.map(|(name, plan)| (name, plan.mint(&["--user", "42"])));
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    let bad = foreign.into_iter().chain([
        ("tampered", tampered),
        ("unsigned", unsigned),
        // {"alg":"none"} and {"sub":"42","exp":9999999999}
        ("alg none", "eyJhbGciOiJub25lIn0.eyJzdWIiOiI0MiIsImV4cCI6OTk5OTk5OTk5OX0.".to_owned()),
        ("a user id", "42".to_owned()),
        ("empty", String::new()),
    ]);
    for (name, token) in bad {
        let mut client = gateway.connect();
        client.identify(&token);
        assert_eq!(client.next_or_close(), None, "{name}");
    }
    assert_eq!(gateway.closes(4003), 9);
}

/// A signed token contains its creation time, so a token made in the past expires earlier.
#[test]
fn a_token_within_its_leeway_is_not_closed_at_once() {
    let gateway = signed("1h").with("auth.leeway", "5m").spawn();
    let expired = signed("3597s").mint(&["--user", "42", "--ttl", "1s"]);
    let mut client = gateway.connect_v2();
    client.identify(&expired);
    let expires_in = client.expect_ready()["expires_in"].as_u64().unwrap();
    assert!((240_000..=304_000).contains(&expires_in), "{expires_in}");
    gateway.publish("user:42", "1");
    assert_eq!(client.next_json()["message"], 1);
}

#[test]
fn a_clock_two_seconds_off_is_tolerated_by_default() {
    let gateway = signed("1h").spawn();
    // Made 3602 seconds ago.
    let expired = signed("3603s").mint(&["--user", "42", "--ttl", "1s"]);
    let mut client = gateway.connect();
    client.identify(&expired);
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    client.expect_close(4009);
}

#[test]
fn tokens_grant_other_channels_only_if_the_settings_allow_it() {
    let allowing = jwt().with("auth.allow_foreign_user_channels", "true");
    let strict = jwt().spawn();
    for channel in ["user:*", "user:43"] {
        let token = allowing.mint(&["--user", "42", "--channel", channel]);
        let mut client = strict.connect();
        client.identify(&token);
        client.expect_close(4003);
        let ended = strict.command(&["token", "--user", "42", "--channel", channel]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.err.contains("auth.allow_foreign_user_channels"), "{}", ended.err);
    }
    assert_eq!(strict.metric(r#"identifies_total{result="foreign_user"}"#), 2);
    let mut client = strict.connect();
    client.identify(&strict.token(&["--user", "42", "--channel", "user:42", "--channel", "users:*"]));
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    let allowing = allowing.spawn();
    let mut client = allowing.connect();
    client.identify(&allowing.token(&["--user", "42", "--channel", "user:*"]));
    client.expect_text(r#"{"op":2,"user":"42"}"#);
}

#[test]
fn an_identify_with_thousands_of_channels_is_closed() {
    let gateway = TestGateway::with("limits.subscriptions_per_session", "10").spawn();
    let identify = |count: usize| {
        let channels = vec![r#"{"channel":"public:x"}"#; count].join(",");
        format!(r#"{{"op":1,"token":"42","channels":[{channels}]}}"#)
    };
    let mut client = gateway.connect_v2();
    client.send_text(&identify(2_000));
    client.expect_close(4001);
    let mut client = gateway.connect_v2();
    client.send_text(&identify(1_000));
    client.expect_ready();
}

#[test]
fn every_bad_token_gets_the_same_answer() {
    let gateway = signed("1h").spawn();
    let mut reasons = std::collections::BTreeSet::new();
    for token in ["", "x", "NDI.Z0IscA.F4UZPg221eUTcNe5J8st9s6h3f4", "NDM.Z0IscA.F4UZPg221eUTcNe5J8st9s6h3f4"]
    {
        let mut raw = crate::support::raw_socket::RawSocket::connect(gateway.public);
        raw.expect_text(r#"{"op":0,"heartbeat_interval":45000}"#);
        raw.send_text(&format!(r#"{{"op":1,"token":"{token}"}}"#));
        reasons.insert(raw.frame());
    }
    assert_eq!(reasons.len(), 1, "expired and forged tokens get the same answer");
}

#[test]
fn tokens_payloads_and_query_strings_never_appear_in_the_log() {
    let gateway =
        jwt().with("admin.api_key", "the-key-of-the-admin-api").variable("RUST_LOG", "debug").spawn();
    let token = gateway.token(&["--user", "a-named-user"]);
    let bad = format!("{token}tampered");
    let mut client = gateway.try_connect("/?token=secret-in-the-query").unwrap();
    client.expect_hello();
    client.identify(&token);
    client.expect_ready();
    let mut refused = gateway.connect();
    refused.identify(&bad);
    refused.expect_close(4003);
    assert_eq!(gateway.try_connect("/?v=3&token=secret-in-the-query").err().unwrap().status, 400);
    assert_eq!(gateway.try_connect("/nowhere?token=secret-in-the-query").err().unwrap().status, 404);
    let published = crate::support::http::request(
        gateway.admin,
        "POST /v1/publish HTTP/1.1\nauthorization: Bearer the-key-of-the-admin-api\nconnection: close",
        r#"{"channel":"user:a-named-user","message":"words of a private message"}"#,
    );
    assert_eq!(published.status, 200);
    client.expect_text(r#"{"op":3,"message":"words of a private message"}"#);
    client.send_text("words of a private message");
    client.expect_close(4001);
    let log = gateway.log();
    assert!(log.contains("DEBUG"), "{log}");
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        &token,
        signature,
        "secret-in-the-query",
        "words of a private message",
        "the-key-of-the-admin-api",
        JWT_SECRET,
    ] {
        assert!(!log.contains(secret), "the log contains {secret:?}:\n{log}");
    }
}
