//! A WebSocket client, in the words of the protocol.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{self, Error, Message, WebSocket};

use super::contract;
use super::process::SOON;

/// The version of the protocol that the URL asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The upgrade was answered with another status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
}

/// One client. Dropping it cuts the connection without a word.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    version: Version,
    answers_heartbeats: bool,
}

/// What came from the gateway.
#[derive(Debug)]
enum Incoming {
    Text(String),
    Closed(Option<u16>),
    /// The connection ended without a Close frame.
    Cut,
}

impl Client {
    /// Connects and takes its Hello, which must be right in everything but its numbers.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, version: Version) -> Self {
        let path = if version == Version::V1 { "/" } else { "/gateway?v=2" };
        let mut client = Self::try_connect(address, path, version)
            .unwrap_or_else(|refused| panic!("the upgrade was refused: {refused:?}"));
        client.expect_hello();
        client
    }

    /// Connects to a path, without taking the Hello.
    pub(crate) fn try_connect(address: SocketAddr, path: &str, version: Version) -> Result<Self, Refused> {
        let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = Request::get(format!("ws://{address}{path}"))
            .header("host", address.to_string())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket, version, answers_heartbeats: false }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(Refused {
                status: answer.status().as_u16(),
                retry_after: answer
                    .headers()
                    .get("retry-after")
                    .map(|value| value.to_str().unwrap().to_owned()),
            }),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    /// From now on answers each heartbeat that it comes across, as the deployed clients do.
    pub(crate) fn answering_heartbeats(mut self) -> Self {
        self.answers_heartbeats = true;
        self
    }

    /// Takes the Hello.
    #[track_caller]
    pub(crate) fn expect_hello(&mut self) -> Value {
        let hello = self.next_json();
        assert_eq!(hello["op"], 0, "{hello}");
        assert_eq!(hello.as_object().unwrap().len(), if self.version == Version::V1 { 2 } else { 5 });
        hello
    }

    /// Sends Identify.
    #[track_caller]
    pub(crate) fn identify(&mut self, token: &str) {
        self.send_text(&format!(r#"{{"op":1,"token":"{token}"}}"#));
    }

    /// Takes the Ready.
    #[track_caller]
    pub(crate) fn expect_ready(&mut self) -> Value {
        let ready = self.next_json();
        assert_eq!(ready["op"], 2, "{ready}");
        ready
    }

    /// Sends a text message.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Sends any message.
    #[track_caller]
    pub(crate) fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// The next frame that is no heartbeat must be this one, byte for byte.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next_frame(), text);
    }

    /// The next frame that is no heartbeat.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> String {
        loop {
            let text = self.next_raw();
            if !self.is_heartbeat(&text) {
                return text;
            }
        }
    }

    /// The next frame that is no heartbeat, as JSON.
    #[track_caller]
    pub(crate) fn next_json(&mut self) -> Value {
        let frame = self.next_frame();
        serde_json::from_str(&frame).unwrap_or_else(|error| panic!("{error}: {frame}"))
    }

    /// The next frame must be a heartbeat: returns its time.
    #[track_caller]
    pub(crate) fn expect_heartbeat(&mut self) -> u64 {
        let text = self.next_raw();
        assert!(self.is_heartbeat(&text), "wanted a heartbeat, heard {text}");
        let time = text.trim_start_matches(r#"{"op":10,"time":"#).trim_end_matches('}');
        assert_eq!(text, format!(r#"{{"op":10,"time":{time}}}"#));
        time.parse().unwrap()
    }

    /// The next frame that is no heartbeat, if one comes in time. A connection that ends fails the test.
    #[track_caller]
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<String> {
        let end = Instant::now() + time;
        let found = loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.read() {
                None => break None,
                Some(Incoming::Text(text)) if self.is_heartbeat(&text) => {}
                Some(Incoming::Text(text)) => break Some(text),
                Some(ended) => panic!("wanted a frame, but {ended:?}"),
            }
        };
        self.socket.get_ref().set_read_timeout(Some(SOON)).unwrap();
        found
    }

    /// The next frame that is no heartbeat, or nothing when the gateway closes.
    #[track_caller]
    pub(crate) fn next_or_close(&mut self) -> Option<String> {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Text(text) => return Some(text),
                Incoming::Closed(_) | Incoming::Cut => return None,
            }
        }
    }

    /// The next frame that is no heartbeat, or nothing when the gateway closes with this code.
    #[track_caller]
    pub(crate) fn next_or_close_with(&mut self, code: u16) -> Option<String> {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Text(text) => return Some(text),
                Incoming::Closed(Some(found)) if found == code => return None,
                other => panic!("wanted a frame or Close {code}, heard {other:?}"),
            }
        }
    }

    /// The gateway must close with this code, and say nothing before but heartbeats.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Closed(Some(found)) => return assert_eq!(found, code),
                other => panic!("wanted Close {code}, heard {other:?}"),
            }
        }
    }

    /// The next frame that is no heartbeat, or the code with which the gateway closes.
    #[track_caller]
    pub(crate) fn next_or_code(&mut self) -> Result<String, Option<u16>> {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Text(text) => return Ok(text),
                Incoming::Closed(code) => return Err(code),
                Incoming::Cut => return Err(None),
            }
        }
    }

    #[track_caller]
    fn next_raw(&mut self) -> String {
        match self.read_soon() {
            Incoming::Text(text) => text,
            other => panic!("wanted a frame, heard {other:?}"),
        }
    }

    fn is_heartbeat(&mut self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(r#"{"op":10,"#) else { return false };
        if self.answers_heartbeats {
            // It may be closing by now.
            let _ = self.socket.send(Message::text(format!(r#"{{"op":11,{rest}"#)));
        }
        true
    }

    #[track_caller]
    fn read_soon(&mut self) -> Incoming {
        self.read().unwrap_or_else(|| panic!("nothing came within {SOON:?}"))
    }

    /// What comes next; `None` when the read timeout passes.
    fn read(&mut self) -> Option<Incoming> {
        loop {
            return Some(match self.socket.read() {
                Ok(Message::Text(text)) => {
                    contract::check_heard(self.version == Version::V2, &text);
                    Incoming::Text(text.to_string())
                }
                Ok(Message::Close(close)) => {
                    // Our answer goes out, the gateway ends the connection, and so do we.
                    while self.socket.read().is_ok() {}
                    let _ = self.socket.get_ref().shutdown(Shutdown::Both);
                    Incoming::Closed(close.map(|close| close.code.into()))
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Binary(_)) => panic!("a binary frame"),
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Err(_) => Incoming::Cut,
            });
        }
    }
}
