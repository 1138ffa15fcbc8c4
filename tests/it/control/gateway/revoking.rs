//! The command `revoke`.

use serde_json::{Value, json};

use super::{SECRET, affected, jwt, ready};
use crate::support::gateway::TestGateway;

/// The claims of a token, which are not secret.
fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

fn revoked(gateway: &TestGateway) -> i64 {
    gateway.metric(r#"identifies_total{result="revoked"}"#)
}

#[test]
fn a_revoked_token_ends_its_sessions_and_is_refused() {
    let gateway = jwt().spawn();
    let (token, other) = (gateway.token(&["--user", "42"]), gateway.token(&["--user", "42"]));
    let ((mut first, _), (mut second, _)) = (ready(&gateway, &token), ready(&gateway, &token));
    let (mut kept, _) = ready(&gateway, &other);
    let command = json!({"revoke": {"jti": claims(&token)["jti"]}});
    assert_eq!(affected(&gateway, &command), 2);
    for client in [&mut first, &mut second] {
        assert_eq!(client.expect_close_reason(4009), "token revoked");
    }
    assert_eq!(affected(&gateway, &command), 0);
    // As for any token that is not valid.
    let mut refused = gateway.connect_v2();
    refused.identify(&token);
    assert_eq!(refused.expect_close_reason(4003), "identify failed");
    kept.send_text(&format!(r#"{{"op":12,"token":"{token}"}}"#));
    assert_eq!(kept.next_json()["code"], "refresh_failed");
    assert_eq!(revoked(&gateway), 2);
    ready(&gateway, &other);
}

#[test]
fn a_users_tokens_are_revoked_by_their_issue_time() {
    let gateway = jwt().spawn();
    let token = gateway.token(&["--user", "42"]);
    let issued = claims(&token)["iat"].as_u64().unwrap() * 1_000;
    let (mut client, _) = ready(&gateway, &token);
    let (mut other, _) = ready(&gateway, &gateway.token(&["--user", "43"]));
    let revoke = |before: u64| json!({"revoke": {"user": "42", "issued_before": before}});
    assert_eq!(affected(&gateway, &revoke(issued)), 0);
    let (mut later, _) = ready(&gateway, &token);
    assert_eq!(affected(&gateway, &revoke(issued + 1)), 2);
    client.expect_close(4009);
    later.expect_close(4009);
    let mut refused = gateway.connect();
    refused.identify(&token);
    refused.expect_close(4003);
    gateway.publish("all", "1");
    other.expect_text(r#"{"op":3,"channel":"all","message":1}"#);
}

#[test]
fn a_token_without_an_issue_time_counts_as_issued_before() {
    let gateway = jwt().spawn();
    let claims = json!({"sub": "42", "exp": 4_000_000_000_u64});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let (mut client, _) = ready(&gateway, &token);
    assert_eq!(
        affected(&gateway, &json!({"revoke": {"user": "42", "issued_before": 100_000_000_000_u64}})),
        1
    );
    client.expect_close(4009);
}

#[test]
fn a_refreshed_session_survives_the_revocation_of_its_first_token() {
    let gateway = jwt().spawn();
    let (first, second) = (gateway.token(&["--user", "42"]), gateway.token(&["--user", "42"]));
    let (mut client, _) = ready(&gateway, &first);
    client.send_text(&format!(r#"{{"op":12,"token":"{second}"}}"#));
    assert_eq!(client.next_json()["op"], 13);
    // Another user's token does not count.
    let foreign = gateway.token(&["--user", "43"]);
    client.send_text(&format!(r#"{{"op":12,"token":"{foreign}"}}"#));
    assert_eq!(client.next_json()["code"], "refresh_failed");
    for (token, ended) in [(&first, 0), (&foreign, 0), (&second, 1)] {
        assert_eq!(affected(&gateway, &json!({"revoke": {"jti": claims(token)["jti"]}})), ended);
    }
    client.expect_close(4009);
}

#[test]
fn the_issue_time_of_a_signed_token_is_its_timestamp() {
    let gateway = TestGateway::with("auth.kind", "signed").with("auth.secret", SECRET).spawn();
    let token = gateway.token(&["--user", "42", "--ttl", "30d"]);
    let (mut client, _) = ready(&gateway, &token);
    assert_eq!(
        affected(&gateway, &json!({"revoke": {"user": "42", "issued_before": 1_700_000_000_000_u64}})),
        0
    );
    assert_eq!(affected(&gateway, &json!({"revoke": {"user": "42"}})), 1);
    client.expect_close(4009);
}
