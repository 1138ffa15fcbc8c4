//! Sends one HTTP request over one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::process::SOON;

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Parses the bytes that a server sent until it closed; `None` if they are no response.
    pub(crate) fn parse(answer: &str) -> Option<Self> {
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// Returns the value of a header; `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Parses the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends `head` (request line and headers, one per line) with `body` and reads until the server closes.
#[track_caller]
pub(crate) fn request(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = head.replace('\n', "\r\n");
    stream.write_all(format!("{head}\r\nhost: {address}\r\n{length}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the response is no failure.
    let ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Answer::parse(&answer).unwrap_or_else(|| panic!("{ended:?}: {answer:?}"))
}
