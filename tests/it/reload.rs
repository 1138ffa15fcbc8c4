//! SIGHUP reloads keys and certificates and ends no session.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::deadline::eventually;
use crate::support::gateway::{Plan, TestGateway};
use crate::support::http::request;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

fn plan(file: &Path) -> Plan {
    TestGateway::with("auth.kind", "jwt").with("auth.secret_file", file.to_str().unwrap())
}

/// Mints a token with this secret.
fn token(secret: &str) -> String {
    TestGateway::with("auth.kind", "jwt").with("auth.secret", secret).mint(&["--user", "42"])
}

/// Whether a client with this token gets Ready; otherwise it is closed with 4003.
fn is_accepted(gateway: &TestGateway, token: &str) -> bool {
    let mut client: Client = gateway.connect();
    client.identify(token);
    client.next_or_close_with(4003).is_some()
}

#[test]
fn sighup_applies_a_new_secret() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, OLD).unwrap();
    let mut gateway = plan(&file).spawn();
    let mut client = gateway.connect();
    client.identify(&token(OLD));
    client.expect_ready();
    assert!(is_accepted(&gateway, &token(OLD)) && !is_accepted(&gateway, &token(NEW)));
    fs::write(&file, NEW).unwrap();
    gateway.signal("HUP");
    gateway.wait_for_log("auth keys reloaded");
    assert!(!is_accepted(&gateway, &token(OLD)) && is_accepted(&gateway, &token(NEW)));
    // Minting uses the new secret too.
    let minted = gateway.post("/v1/token", r#"{"user":"42"}"#).json()["token"].as_str().unwrap().to_owned();
    assert!(is_accepted(&gateway, &minted));
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_broken_secret_leaves_the_old_one_in_force() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, OLD).unwrap();
    let mut gateway = plan(&file).spawn();
    for broken in [Some(""), Some("short"), None] {
        match broken {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let before = gateway.log().matches("stay in force").count();
        gateway.signal("HUP");
        eventually(SOON, || (gateway.log().matches("stay in force").count() > before).then_some(()));
        assert!(is_accepted(&gateway, &token(OLD)), "{broken:?}");
    }
    gateway.wait_for_log("reload failed: auth.secret");
}

#[test]
fn a_broken_certificate_is_reported_and_the_link_stays() {
    let redis = RedisServer::start();
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "not-asked-for").unwrap();
    let plan = TestGateway::redis(&redis).with("broker.password_file", password.to_str().unwrap());
    redis::cmd("CONFIG")
        .arg("SET")
        .arg("requirepass")
        .arg("not-asked-for")
        .exec(&mut redis.client())
        .unwrap();
    let mut gateway = plan.spawn();
    gateway.wait_ready();
    gateway.signal("HUP");
    gateway.wait_for_log("reload: the link to the broker reads its files again");
    fs::remove_file(&password).unwrap();
    gateway.signal("HUP");
    gateway.wait_for_log("reload failed: broker.password_file");
    gateway.wait_ready();
    assert_eq!(gateway.metric("redis_link_up"), 1);
}

#[test]
fn sighup_without_files_ends_no_session() {
    let mut gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    gateway.signal("HUP");
    gateway.wait_for_log("no files to reload");
    gateway.publish("user:42", "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn sighup_applies_a_new_admin_key() {
    const NEW_KEY: &str = "the-new-key-of-the-admin-api";
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, OLD).unwrap();
    let mut gateway = TestGateway::with("admin.api_key_file", file.to_str().unwrap()).spawn();
    let mut client = gateway.ready_client("42");
    let status = |gateway: &TestGateway, key: &str| {
        let head = format!("POST /v1/publish HTTP/1.1\nconnection: close\nauthorization: Bearer {key}");
        request(gateway.admin, &head, r#"{"channel":"user:42","message":1}"#).status
    };
    fs::write(&file, NEW_KEY).unwrap();
    assert_eq!((status(&gateway, OLD), status(&gateway, NEW_KEY)), (200, 401));
    gateway.signal("HUP");
    gateway.wait_for_log("admin key reloaded");
    assert_eq!((status(&gateway, OLD), status(&gateway, NEW_KEY)), (401, 200));
    // An invalid key changes nothing, and never removes the protection.
    for broken in [Some(""), None] {
        match broken {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let before = gateway.log().matches("reload failed: admin.api_key").count();
        gateway.signal("HUP");
        eventually(SOON, || {
            (gateway.log().matches("reload failed: admin.api_key").count() > before).then_some(())
        });
        assert_eq!((status(&gateway, ""), status(&gateway, NEW_KEY)), (401, 200), "{broken:?}");
    }
    for _ in 0..4 {
        client.expect_text(r#"{"op":3,"message":1}"#);
    }
    assert!(!gateway.log().contains(NEW_KEY));
}
