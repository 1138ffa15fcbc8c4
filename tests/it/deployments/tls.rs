//! TLS with a private certificate authority and client certificates.

use std::fs;
use std::path::Path;

use redis::cmd;
use tempfile::TempDir;

use super::{assert_delivers, lines, plan};
use crate::support::certificates::Authority;
use crate::support::gateway::Plan;
use crate::support::redis_server::RedisServer;
use crate::support::sentinel::{MASTER, run_as_sentinel};

fn url(port: u16) -> String {
    format!("rediss://127.0.0.1:{port}")
}

/// Plans a gateway that trusts the authority in `ca.pem`.
fn trusting(url: &str, folder: &Path) -> Plan {
    plan(url).with("broker.tls_ca_file", folder.join("ca.pem").to_str().unwrap())
}

/// Plans a gateway that also presents the certificate in `cert.pem` with the key in `key.pem`.
fn identified(url: &str, folder: &Path) -> Plan {
    trusting(url, folder)
        .with("broker.tls_cert_file", folder.join("cert.pem").to_str().unwrap())
        .with("broker.tls_key_file", folder.join("key.pem").to_str().unwrap())
}

/// Creates a folder with `ca.pem`, `cert.pem` and `key.pem`.
fn folder(authority: &Authority) -> TempDir {
    let (folder, own) = (TempDir::new().unwrap(), authority.issue());
    for (name, pem) in [("ca.pem", &authority.pem), ("cert.pem", &own.certificate), ("key.pem", &own.key)] {
        fs::write(folder.path().join(name), pem).unwrap();
    }
    folder
}

#[test]
fn both_sides_present_certificates_of_one_authority() {
    let authority = Authority::new();
    let (redis, port) = RedisServer::start_with_authority(&authority);
    let folder = folder(&authority);
    let gateway = identified(&url(port), folder.path()).spawn();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut redis.client());
}

#[test]
fn sentinels_and_their_master_may_both_require_certificates() {
    let authority = Authority::new();
    let (redis, port) = RedisServer::start_with_authority(&authority);
    let (sentinel, sentinel_port) = RedisServer::reserve_with_authority(&authority);
    let _sentinel = run_as_sentinel(sentinel, &format!("sentinel monitor {MASTER} 127.0.0.1 {port} 1\n"));
    let folder = folder(&authority);
    let url = format!("rediss+sentinel://127.0.0.1:{sentinel_port}/{MASTER}");
    let mut gateway = identified(&url, folder.path()).spawn();
    gateway.wait_ready();
    gateway.wait_for_log(&format!("redis at 127.0.0.1:{port}: link is healthy"));
    assert_delivers(&gateway, &mut redis.client());
}

#[test]
fn a_missing_or_foreign_client_certificate_is_refused() {
    let (authority, other_authority) = (Authority::new(), Authority::new());
    let (_redis, port) = RedisServer::start_with_authority(&authority);
    let folders = [folder(&authority), folder(&other_authority)];
    let none = trusting(&url(port), folders[0].path()).spawn();
    none.wait_not_ready("redis: cannot connect");
    let distrusting = identified(&url(port), folders[1].path()).spawn();
    distrusting.wait_not_ready("redis: cannot connect: invalid peer certificate");
    fs::write(folders[1].path().join("ca.pem"), &authority.pem).unwrap();
    let unknown = identified(&url(port), folders[1].path()).spawn();
    unknown.wait_not_ready("redis: cannot connect");
}

#[test]
fn tls_files_are_reread_and_a_missing_one_reported_once() {
    let authority = Authority::new();
    let (redis, port) = RedisServer::start_with_authority(&authority);
    let folder = folder(&authority);
    let key = folder.path().join("key.pem");
    let mut gateway = identified(&url(port), folder.path()).spawn();
    gateway.wait_ready();

    fs::remove_file(&key).unwrap();
    gateway.wait_ready();
    let mut client = redis.client();
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut client).unwrap();
    gateway.wait_not_ready(&format!("broker.tls_key_file ({}) cannot be used: No such file", key.display()));
    fs::write(&key, "no key").unwrap();
    gateway.wait_not_ready("it holds no private key in PEM");
    gateway.wait_for_log("ERROR");
    assert_eq!(lines(&gateway, "cannot be used"), 1, "{}", gateway.log());

    // A different certificate.
    let own = authority.issue();
    fs::write(folder.path().join("cert.pem"), own.certificate).unwrap();
    fs::write(&key, own.key).unwrap();
    gateway.wait_ready();
    assert_delivers(&gateway, &mut client);
    assert!(!gateway.log().contains("no key"));
}
