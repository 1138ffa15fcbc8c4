//! A client of server-sent events that parses the stream by the rules of the HTML standard.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::http::Answer;
use super::process::SOON;

/// An open event stream.
pub(crate) struct EventStream {
    lines: BufReader<TcpStream>,
    /// The head of the response.
    pub(crate) head: String,
    /// The id of the last event; a client sends it back to continue.
    pub(crate) last_id: String,
    /// The number of comments so far.
    pub(crate) comments: usize,
    /// How many bytes are left until the connection is cut.
    rest: Option<usize>,
    /// The last reconnection time of the stream, in milliseconds.
    pub(crate) retry: Option<u64>,
}

/// An event with data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

impl StreamEvent {
    /// Parses the data.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

impl EventStream {
    /// Opens a stream with further header lines, each with its line break. Returns the response if its status is not 200.
    pub(crate) fn try_open(address: SocketAddr, path: &str, headers: &str) -> Result<Self, Answer> {
        Self::on(TcpStream::connect(address).unwrap(), path, headers)
    }

    /// Opens a stream over this connection.
    pub(crate) fn on(mut stream: TcpStream, path: &str, headers: &str) -> Result<Self, Answer> {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: gateway\r\naccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "the head ended early: {head:?}");
        }
        if !head.starts_with("HTTP/1.1 200 ") {
            lines.read_to_string(&mut head).unwrap();
            return Err(Answer::parse(&head).unwrap());
        }
        Ok(Self { lines, head, last_id: String::new(), comments: 0, rest: None, retry: None })
    }

    /// Opens a stream of a user of a gateway with the development profile.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, path: &str, user: &str) -> Self {
        let headers = format!("authorization: Bearer {user}\r\n");
        Self::try_open(address, path, &headers).unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Continues a stream after its last id.
    #[track_caller]
    pub(crate) fn resume(address: SocketAddr, path: &str, user: &str, last_id: &str) -> Self {
        let headers = format!("authorization: Bearer {user}\r\nlast-event-id: {last_id}\r\n");
        Self::try_open(address, path, &headers).unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Ends the connection after this many more bytes.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.rest = Some(bytes);
    }

    /// The next event; `None` when the stream has ended. An unfinished event does not count.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<StreamEvent> {
        let (mut name, mut data, mut id) = (String::new(), None::<String>, None);
        loop {
            let line = self.line()?;
            let Some((field, value)) = line.split_once(':') else {
                assert_eq!(line, "", "a line without a colon");
                self.last_id = id.take().unwrap_or_else(|| std::mem::take(&mut self.last_id));
                match data.take() {
                    Some(data) => return Some(StreamEvent { name, data }),
                    None => continue,
                }
            };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "event" => value.clone_into(&mut name),
                "data" => {
                    data = Some(data.map_or_else(|| value.to_owned(), |data| format!("{data}\n{value}")));
                }
                "id" => id = Some(value.to_owned()),
                "retry" => self.retry = Some(value.parse().unwrap()),
                other => panic!("an unknown field: {other}"),
            }
        }
    }

    /// A line without its end; `None` when the stream has ended.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // A reset ends a stream as well.
        let read = self.lines.read_line(&mut line);
        if let Err(error) = &read {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        }
        if let Some(rest) = &mut self.rest {
            *rest = rest.checked_sub(line.len())?;
        }
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Expects the next event to have this name; returns its JSON.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Value {
        let event = self.next().expect("the stream ended");
        assert_eq!(event.name, name, "{}", event.data);
        event.json()
    }

    /// Expects the last event, with this close code, and then the end of the stream.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) {
        assert_eq!(self.expect("close")["code"], code);
        assert_eq!(self.next(), None, "an event after the last one");
    }

    /// Sends bytes, which no client of an event stream does.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.lines.get_mut().write_all(bytes).unwrap();
    }

    /// Closes the writing half of the connection.
    #[track_caller]
    pub(crate) fn shutdown_write(&self) {
        self.lines.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}
