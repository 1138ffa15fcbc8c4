//! Checks that the gateway follows the machine-readable contract: `docs/asyncapi.yaml` for sockets and Redis,
//! `docs/openapi.yaml` for the admin port.
//!
//! - `admin`: paths, statuses and error codes of the admin port
//! - `channels`: which channels are in use, and their members
//! - `control`: commands to every replica
//! - `history`: pages of the history of a channel
//! - `inbox`: the messages of clients
//! - `operators`: sessions, status, tokens and the console
//! - `page`: the conversations of `docs/protocol.md`
//! - `presence`: which users are online
//! - `redis`: published payloads and streams
//! - `sockets`: frames of both versions

mod admin;
mod channels;
mod control;
mod history;
mod inbox;
mod operators;
mod page;
mod presence;
mod redis;
mod sockets;

use std::process::Command;

use serde_json::Value;

use crate::snippets;
use crate::support::contract::document;

#[test]
fn both_documents_have_the_version_of_the_crate() {
    for name in ["asyncapi.yaml", "openapi.yaml"] {
        assert_eq!(document(name)["info"]["version"], env!("CARGO_PKG_VERSION"), "{name}");
    }
}

/// `WRITE_OPENAPI=1 cargo test the_served_document` writes the served document.
#[test]
fn the_served_document_is_the_written_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.json");
    let written = document("openapi.yaml");
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(path, format!("{written:#}\n")).unwrap();
    }
    let embedded: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(embedded == written, "src/http/openapi.json is not docs/openapi.yaml: see above this test");
}

#[test]
fn the_document_of_the_admin_port_is_openapi() {
    snippets::set_up();
    let folder = env!("CARGO_MANIFEST_DIR");
    let validate = format!("{folder}/target/snippets/bin/openapi-spec-validator");
    let output = Command::new(validate).arg(format!("{folder}/docs/openapi.yaml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_document_of_the_sockets_is_asyncapi() {
    snippets::set_up();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/node_modules/@asyncapi/specs/schemas");
    let schema = std::fs::read_to_string(format!("{folder}/3.0.0.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let mut document = document("asyncapi.yaml");
    let faults: Vec<_> = validator.iter_errors(&document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    // The schema rejects an invalid document.
    document["channels"]["socketV1"]["adress"] = "/".into();
    assert!(!validator.is_valid(&document));
}
