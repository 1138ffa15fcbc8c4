//! Keys of tokens: key sets over HTTPS, rotations, and files that change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::deadline::{eventually, eventually_eq};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::jwks_server::JwksServer;
use crate::support::process::SOON;

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

/// A key pair for ES256.
struct Issuer {
    id: &'static str,
    pair: KeyPair,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
        json!({"kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": encode(x), "y": encode(y)})
    }

    fn token(&self) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({"sub": "42", "exp": 4_000_000_000_u64});
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }
}

fn key_set(issuers: &[&Issuer]) -> String {
    json!({"keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>()}).to_string()
}

/// A gateway with the key set of `server`, whose authority is in `folder`.
fn remote(server: &JwksServer, folder: &TempDir) -> Plan {
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, &server.authority).unwrap();
    TestGateway::with("auth.kind", "jwt")
        .with("auth.algorithms", "ES256")
        .with("auth.jwks_url", &server.url())
        .with("auth.ca_file", authority.to_str().unwrap())
}

/// Whether a client with this token gets Ready; otherwise it is closed with `code`.
#[track_caller]
fn is_accepted(gateway: &TestGateway, token: &str, code: u16) -> bool {
    let mut client = gateway.connect();
    client.identify(token);
    client.next_or_close_with(code).is_some()
}

fn loads(gateway: &TestGateway, result: &str) -> i64 {
    gateway.metric(&format!("auth_key_loads_total{{result=\"{result}\"}}"))
}

fn notes(gateway: &TestGateway) -> String {
    gateway.get("/readyz").json()["notes"].to_string()
}

#[test]
fn a_rotated_key_is_fetched_and_ends_no_session() {
    let (server, folder) = (JwksServer::start(), TempDir::new().unwrap());
    let (old, new, foreign) = (Issuer::new("old"), Issuer::new("new"), Issuer::new("foreign"));
    server.publish(&key_set(&[&old]));
    let gateway = remote(&server, &folder).spawn();
    gateway.wait_ready();
    let mut client = gateway.connect();
    client.identify(&old.token());
    client.expect_ready();
    server.publish(&key_set(&[&new]));
    // The token waits for the fetch that its `kid` causes.
    assert!(is_accepted(&gateway, &new.token(), 4003));
    assert_eq!(server.requests(), 2);
    assert!(!is_accepted(&gateway, &old.token(), 4003), "its key was removed");
    // A storm of unknown keys causes no further fetch for 30 seconds.
    for _ in 0..20 {
        assert!(!is_accepted(&gateway, &foreign.token(), 4003));
    }
    assert_eq!(server.requests(), 2);
    assert!(gateway.metric(r#"identifies_total{result="unknown_key"}"#) >= 20);
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_start_without_keys_answers_try_again_later() {
    let (server, folder, issuer) = (JwksServer::start(), TempDir::new().unwrap(), Issuer::new("a"));
    server.respond("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    let mut gateway = remote(&server, &folder).spawn();
    gateway.wait_not_ready("auth.jwks_url are not loaded yet");
    gateway.wait_for_log("auth.jwks_url cannot be fetched: the server answered 500");
    assert!(!is_accepted(&gateway, &issuer.token(), 1013));
    server.publish(&key_set(&[&issuer]));
    gateway.wait_ready();
    assert!(is_accepted(&gateway, &issuer.token(), 4003));
    assert_eq!(notes(&gateway), "null");
}

#[test]
fn a_broken_key_set_leaves_the_old_keys_in_force() {
    let (server, folder, issuer) = (JwksServer::start(), TempDir::new().unwrap(), Issuer::new("a"));
    let unknown = Issuer::new("unknown");
    server.publish(&key_set(&[&issuer]));
    let gateway = remote(&server, &folder).spawn();
    gateway.wait_ready();
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n{}", "x".repeat(300_000));
    let redirect = "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    server.respond(&huge);
    // The unknown key causes the fetch, which fails; the retries then meet the other responses.
    assert!(!is_accepted(&gateway, &unknown.token(), 1013));
    for (response, reason) in [
        (huge.as_str(), "the response has too large a body"),
        (redirect, "the server answered 302"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnot JSON!", "the document is not a JSON Web Key Set"),
    ] {
        server.respond(response);
        eventually(SOON, || notes(&gateway).contains(reason).then_some(()));
        assert!(is_accepted(&gateway, &issuer.token(), 4003), "{reason}");
    }
    assert_eq!(gateway.metric("auth_keys_stale"), 1);
    assert!(loads(&gateway, "fetch_failed") >= 3);
    server.publish(&key_set(&[&issuer, &unknown]));
    eventually_eq(SOON, &0, || gateway.metric("auth_keys_stale"));
    assert!(is_accepted(&gateway, &unknown.token(), 4003));
}

#[test]
fn a_slow_key_set_delays_no_other_token() {
    let (server, folder, issuer) = (JwksServer::start(), TempDir::new().unwrap(), Issuer::new("a"));
    let new = Issuer::new("new");
    server.publish(&key_set(&[&issuer]));
    let gateway = remote(&server, &folder).spawn();
    gateway.wait_ready();
    server.pause();
    let mut waiting = gateway.connect();
    waiting.identify(&new.token());
    eventually_eq(SOON, &2, || server.requests());
    for _ in 0..4 {
        assert!(is_accepted(&gateway, &issuer.token(), 4003));
    }
    server.publish(&key_set(&[&issuer, &new]));
    waiting.expect_ready();
}

#[test]
fn an_untrusted_server_gives_no_keys() {
    let (server, folder, issuer) = (JwksServer::start(), TempDir::new().unwrap(), Issuer::new("a"));
    server.publish(&key_set(&[&issuer]));
    let plan = remote(&server, &folder);
    fs::write(folder.path().join("ca.pem"), &JwksServer::start().authority).unwrap();
    let mut gateway = plan.spawn();
    gateway.wait_for_log("auth.jwks_url cannot be fetched: TLS failed");
    assert_eq!(server.requests(), 0);
    // A corrected file of authorities is read again as well.
    fs::write(folder.path().join("ca.pem"), &server.authority).unwrap();
    gateway.wait_ready();
    assert!(is_accepted(&gateway, &issuer.token(), 4003));
}

#[test]
fn changed_key_files_apply_without_a_signal() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let file = |name: &str| folder.path().join(name);
    fs::write(file("first"), key_set(&[&old])).unwrap();
    fs::write(file("second"), key_set(&[&old, &new])).unwrap();
    symlink("first", file("keys")).unwrap();
    let gateway = TestGateway::with("auth.kind", "jwt")
        .with("auth.algorithms", "ES256,RS256")
        .with("auth.keys_file", file("keys").to_str().unwrap())
        .spawn();
    let mut client = gateway.connect();
    client.identify(&old.token());
    client.expect_ready();
    assert!(!is_accepted(&gateway, &new.token(), 4003));
    swap_link("second", &file("keys"));
    eventually_eq(SOON, &1, || loads(&gateway, "read"));
    assert!(is_accepted(&gateway, &new.token(), 4003) && is_accepted(&gateway, &old.token(), 4003));
    fs::write(file("second"), r#"{"keys":"#).unwrap();
    eventually_eq(SOON, &1, || loads(&gateway, "read_failed"));
    assert!(notes(&gateway).contains("changed keys are not in force: auth.keys_file"), "{}", notes(&gateway));
    assert!(is_accepted(&gateway, &new.token(), 4003));
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

/// Replaces a link at once, as Kubernetes does.
fn swap_link(target: &str, link: &Path) {
    let temporary = link.with_extension("new");
    symlink(target, &temporary).unwrap();
    fs::rename(temporary, link).unwrap();
}

#[test]
fn a_secret_is_replaced_without_refusing_a_token() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    for name in ["secret", "previous"] {
        fs::write(file(name), OLD).unwrap();
    }
    let token =
        |secret| TestGateway::with("auth.kind", "signed").with("auth.secret", secret).mint(&["--user", "42"]);
    let gateway = TestGateway::with("auth.kind", "signed")
        .with("auth.secret_file", file("secret").to_str().unwrap())
        .with("auth.previous_secret_file", file("previous").to_str().unwrap())
        .spawn();
    fs::write(file("secret"), NEW).unwrap();
    eventually_eq(SOON, &1, || loads(&gateway, "read"));
    assert!(is_accepted(&gateway, &token(OLD), 4003) && is_accepted(&gateway, &token(NEW), 4003));
    fs::write(file("previous"), NEW).unwrap();
    eventually_eq(SOON, &2, || loads(&gateway, "read"));
    assert!(!is_accepted(&gateway, &token(OLD), 4003) && is_accepted(&gateway, &token(NEW), 4003));
}

#[test]
fn a_file_that_only_its_status_shows_as_changed_is_read_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, OLD).unwrap();
    let gateway =
        TestGateway::with("auth.kind", "signed").with("auth.secret_file", path.to_str().unwrap()).spawn();
    let token = TestGateway::with("auth.kind", "signed").with("auth.secret", NEW).mint(&["--user", "42"]);
    // As tools that copy files do: the same length, and the old time of modification.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, NEW).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    eventually_eq(SOON, &1, || loads(&gateway, "read"));
    assert!(is_accepted(&gateway, &token, 4003));
}
