//! Version 1 of the protocol, which E-Magine's deployed clients rely on byte for byte.
//!
//! - `closing`: close codes
//! - `heartbeats`: heartbeats in both directions
//! - `upgrade`: accepted and refused upgrade requests

mod closing;
mod heartbeats;
mod upgrade;

use crate::support::client::{Client, Version};
use crate::support::gateway::TestGateway;

const HELLO: &str = r#"{"op":0,"heartbeat_interval":45000}"#;
/// The sample message of E-Magine's document.
const SAMPLE: &str = r#"{"id": 5306328986810385677, "content":"Testing post","timestamp":1579248521580}"#;

#[test]
fn a_client_identifies_and_gets_messages_verbatim_on_both_paths() {
    let gateway = TestGateway::spawn();
    for path in ["/", "/gateway"] {
        let mut client = gateway.try_connect(path).unwrap();
        client.expect_text(HELLO);
        client.send_text(r#"{"op":1,"token":"42"}"#);
        client.expect_text(r#"{"op":2,"user":"42"}"#);
        gateway.publish("user:42", SAMPLE);
        client.expect_text(
            r#"{"op":3,"message":{"id": 5306328986810385677, "content":"Testing post","timestamp":1579248521580}}"#,
        );
    }
}

#[test]
fn unknown_url_parameters_are_ignored() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.try_connect("/gateway?encoding=json&x").unwrap();
    client.expect_text(HELLO);
}

#[test]
fn every_session_of_a_user_gets_only_its_messages() {
    let gateway = TestGateway::spawn();
    let mut sessions: Vec<Client> = (0..6).map(|_| gateway.ready_client("42")).collect();
    let mut others = [gateway.ready_client("43"), gateway.ready_client("4"), gateway.ready_client("421")];
    gateway.wait_metric("sessions", 9);
    gateway.wait_metric("users", 4);
    gateway.publish("user:42", "1");
    gateway.publish("all", "2");
    for session in &mut sessions {
        session.expect_text(r#"{"op":3,"message":1}"#);
        session.expect_text(r#"{"op":3,"message":2}"#);
    }
    for other in &mut others {
        other.expect_text(r#"{"op":3,"message":2}"#);
    }
}

#[test]
fn an_unidentified_client_gets_no_messages() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect();
    gateway.publish("all", "1");
    gateway.publish("user:42", "1");
    client.identify("42");
    client.expect_text(r#"{"op":2,"user":"42"}"#);
    gateway.publish("all", "2");
    client.expect_text(r#"{"op":3,"message":2}"#);
}

#[test]
fn messages_arrive_in_publication_order() {
    let gateway = TestGateway::spawn();
    let mut clients = [gateway.ready_client("42"), gateway.ready_client("42")];
    for number in 0..200 {
        gateway.publish(["user:42", "all"][number % 2], &number.to_string());
    }
    for number in 0..200 {
        for client in &mut clients {
            client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
        }
    }
}

#[test]
fn a_message_may_be_longer_than_any_buffer() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.ready_client("42");
    for length in [125, 126, 65_535, 65_536, 1_000_000] {
        let message = format!(r#""{}""#, "x".repeat(length));
        gateway.publish("user:42", &message);
        client.expect_text(&format!(r#"{{"op":3,"message":{message}}}"#));
    }
}

#[test]
fn a_user_id_may_contain_any_printable_character() {
    let gateway = TestGateway::spawn();
    let mut client = gateway.connect();
    client.send_text(r#"{"op":1,"token":"a\"b\\c:d/\u003c"}"#);
    client.expect_text(r#"{"op":2,"user":"a\"b\\c:d/<"}"#);
    gateway.publish(r#"user:a\"b\\c:d/<"#, "1");
    client.expect_text(r#"{"op":3,"message":1}"#);
}

#[test]
fn a_reconnected_user_gets_messages_again() {
    let gateway = TestGateway::spawn();
    for number in 0..20 {
        let mut client = Client::connect(gateway.public, Version::V1);
        client.identify("42");
        client.expect_ready();
        gateway.publish("user:42", &number.to_string());
        client.expect_text(&format!(r#"{{"op":3,"message":{number}}}"#));
    }
}
