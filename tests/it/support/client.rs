//! A WebSocket client that speaks the gateway's protocol.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::HandshakeError;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{self, Error, Message, WebSocket};

use super::contract;
use super::process::SOON;

/// The protocol version that the URL requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// An upgrade that was answered with a status other than 101.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
}

/// One client. Dropping it ends the connection without a Close frame.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    version: Version,
    answers_heartbeats: bool,
    /// The reason of the Close that was read.
    close_reason: String,
}

/// One event read from the gateway.
#[derive(Debug)]
enum Incoming {
    Text(String),
    Closed(Option<u16>),
    /// The connection ended without a Close frame.
    Cut,
}

impl Client {
    /// Connects and reads Hello, which must have exactly the fields of its version.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, version: Version) -> Self {
        let path = if version == Version::V1 { "/" } else { "/gateway?v=2" };
        let mut client = Self::try_connect(address, path, version)
            .unwrap_or_else(|refused| panic!("the upgrade was refused: {refused:?}"));
        client.expect_hello();
        client
    }

    /// Connects to a path and does not read Hello.
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
            Ok((socket, _)) => {
                Ok(Self { socket, version, answers_heartbeats: false, close_reason: String::new() })
            }
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

    /// Answers each heartbeat that it reads from now on, as the deployed clients do.
    pub(crate) fn answering_heartbeats(mut self) -> Self {
        self.answers_heartbeats = true;
        self
    }

    /// Reads Hello.
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

    /// Reads Ready.
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

    /// Asserts that the next frame that is no heartbeat is `text`, byte for byte.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next_frame(), text);
    }

    /// Reads the next frame that is no heartbeat.
    #[track_caller]
    pub(crate) fn next_frame(&mut self) -> String {
        loop {
            let text = self.next_raw();
            if !self.is_heartbeat(&text) {
                return text;
            }
        }
    }

    /// Reads the next frame that is no heartbeat, as JSON.
    #[track_caller]
    pub(crate) fn next_json(&mut self) -> Value {
        let frame = self.next_frame();
        serde_json::from_str(&frame).unwrap_or_else(|error| panic!("{error}: {frame}"))
    }

    /// Asserts that the next frame is a heartbeat; returns its time.
    #[track_caller]
    pub(crate) fn expect_heartbeat(&mut self) -> u64 {
        let text = self.next_raw();
        assert!(self.is_heartbeat(&text), "expected a heartbeat, received {text}");
        let time = text.trim_start_matches(r#"{"op":10,"time":"#).trim_end_matches('}');
        assert_eq!(text, format!(r#"{{"op":10,"time":{time}}}"#));
        time.parse().unwrap()
    }

    /// Reads the next frame that is no heartbeat; `None` if none arrives within `time`. The end of the connection fails
    /// the test.
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
                Some(ended) => panic!("expected a frame, received {ended:?}"),
            }
        };
        self.socket.get_ref().set_read_timeout(Some(SOON)).unwrap();
        found
    }

    /// Reads the next frame that is no heartbeat; `None` when the gateway closes.
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

    /// Reads the next frame that is no heartbeat; `None` when the gateway closes with `code`.
    #[track_caller]
    pub(crate) fn next_or_close_with(&mut self, code: u16) -> Option<String> {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Text(text) => return Some(text),
                Incoming::Closed(Some(found)) if found == code => return None,
                other => panic!("expected a frame or Close {code}, received {other:?}"),
            }
        }
    }

    /// Asserts that the gateway closes with `code` and sends only heartbeats before.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        loop {
            match self.read_soon() {
                Incoming::Text(text) if self.is_heartbeat(&text) => {}
                Incoming::Closed(Some(found)) => return assert_eq!(found, code),
                other => panic!("expected Close {code}, received {other:?}"),
            }
        }
    }

    /// Asserts that the gateway closes with `code` and sends only heartbeats before; returns the reason.
    #[track_caller]
    pub(crate) fn expect_close_reason(&mut self, code: u16) -> String {
        self.expect_close(code);
        std::mem::take(&mut self.close_reason)
    }

    /// Reads the next frame that is no heartbeat, or the code with which the gateway closes.
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
            other => panic!("expected a frame, received {other:?}"),
        }
    }

    fn is_heartbeat(&mut self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(r#"{"op":10,"#) else { return false };
        if self.answers_heartbeats {
            // The gateway may be closing already.
            let _ = self.socket.send(Message::text(format!(r#"{{"op":11,{rest}"#)));
        }
        true
    }

    #[track_caller]
    fn read_soon(&mut self) -> Incoming {
        self.read().unwrap_or_else(|| panic!("no frame arrived within {SOON:?}"))
    }

    /// Reads the next event; `None` when the read timeout passes.
    fn read(&mut self) -> Option<Incoming> {
        loop {
            return Some(match self.socket.read() {
                Ok(Message::Text(text)) => {
                    contract::check_frame(self.version == Version::V2, &text);
                    Incoming::Text(text.to_string())
                }
                Ok(Message::Close(close)) => {
                    // Reading on sends the answering Close, after which the gateway ends the connection.
                    while self.socket.read().is_ok() {}
                    let _ = self.socket.get_ref().shutdown(Shutdown::Both);
                    self.close_reason =
                        close.as_ref().map(|close| close.reason.to_string()).unwrap_or_default();
                    Incoming::Closed(close.map(|close| close.code.into()))
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Binary(_)) => panic!("received a binary frame"),
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
