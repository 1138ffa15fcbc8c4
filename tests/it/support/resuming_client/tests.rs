//! Tests of the client against a scripted server.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::super::deadline::eventually;
use super::super::process::SOON;
use super::super::verdict::Heard;
use super::{ClientOptions, ResumingClient};

const OWN: &str = "user:42";
const ROOM: &str = "public:room";

/// Starts a listener and a client that follows its own channel and a room.
fn start(subscribes_late: bool) -> (TcpListener, ResumingClient) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let channels = [OWN, ROOM].map(str::to_owned).into();
    let options =
        ClientOptions { user: "42".to_owned(), channels, plain: Vec::new(), subscribes_late, seed: 1 };
    let client = ResumingClient::start(listener.local_addr().unwrap(), options);
    (listener, client)
}

struct ScriptedServer(WebSocket<TcpStream>);

impl ScriptedServer {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self(tungstenite::accept(stream).unwrap())
    }

    fn expect_frame(&mut self, expected: &Value) {
        let frame = self.0.read().unwrap().into_text().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&frame).unwrap(), *expected);
    }

    fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).unwrap();
    }

    /// Reads Identify and confirms both channels at 9-1.
    fn begin(&mut self) {
        self.expect_frame(
            &json!({"op": 1, "token": "42", "channels": [{"channel": OWN}, {"channel": ROOM}]}),
        );
        let channels = [OWN, ROOM].map(|channel| json!({"channel": channel, "position": "9-1"}));
        self.send(&json!({"op": 2, "channels": channels}));
    }

    /// Reads Identify, which must resume both channels from 9-1.
    fn expect_resume(&mut self) {
        let channels = [OWN, ROOM].map(|channel| json!({"channel": channel, "since": "9-1"}));
        self.expect_frame(&json!({"op": 1, "token": "42", "channels": channels}));
    }

    fn send_recovering(&mut self) {
        let channels =
            [OWN, ROOM].map(|channel| json!({"channel": channel, "state": "recovering", "position": "9-1"}));
        self.send(&json!({"op": 2, "channels": channels}));
    }

    fn send_recovered(&mut self, channel: &str) {
        let state = "subscribed";
        self.send(
            &json!({"op": 6, "channel": channel, "state": state, "position": "9-1", "recovered": true}),
        );
    }

    fn send_message(&mut self, channel: &str) {
        self.send(&json!({"op": 3, "channel": channel, "position": "9-2", "message": {"n": 2}}));
    }
}

#[test]
fn a_recovering_channel_keeps_its_position_until_it_is_confirmed() {
    let (listener, client) = start(false);
    ScriptedServer::accept(&listener).begin();
    // Cut while both channels are recovering, before any confirmation.
    let mut server = ScriptedServer::accept(&listener);
    server.expect_resume();
    server.send_recovering();
    drop(server);
    let mut server = ScriptedServer::accept(&listener);
    server.expect_resume();
    server.send_recovering();
    for channel in [OWN, ROOM] {
        server.send_recovered(channel);
        server.send_message(channel);
    }
    client.wait_on_all_after(2);
    for channel in [OWN, ROOM] {
        eventually(SOON, || (client.heard(channel) == [Heard::Number(2)]).then_some(()));
        assert_eq!(client.recovering_count(channel), 2);
    }
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn op_6_may_first_report_recovering() {
    let (listener, client) = start(true);
    let mut server = ScriptedServer::accept(&listener);
    server.expect_frame(&json!({"op": 1, "token": "42", "channels": [{"channel": OWN}]}));
    server.send(&json!({"op": 2, "channels": [{"channel": OWN, "state": "recovering"}]}));
    server.expect_frame(&json!({"op": 4, "channel": ROOM}));
    server.send(&json!({"op": 6, "channel": ROOM, "state": "recovering"}));
    for channel in [OWN, ROOM] {
        server.send(&json!({"op": 6, "channel": channel, "state": "subscribed", "position": "9-1"}));
        server.send_message(channel);
    }
    client.wait_on_all();
    for channel in [OWN, ROOM] {
        eventually(SOON, || (client.heard(channel) == [Heard::Number(2)]).then_some(()));
    }
    assert_eq!(client.violations(), [""; 0]);
}

#[test]
fn messages_on_a_recovering_channel_are_violations() {
    let (listener, client) = start(false);
    ScriptedServer::accept(&listener).begin();
    let mut server = ScriptedServer::accept(&listener);
    server.expect_resume();
    server.send_recovering();
    server.send_message(ROOM);
    eventually(SOON, || client.violations().first().is_some_and(|text| text.contains(ROOM)).then_some(()));
    assert_eq!(client.violations().len(), 1);
}
