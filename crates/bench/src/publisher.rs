//! Publishing: raw commands to Redis, requests to the admin port, or orders to the baseline. Nothing waits for an answer;
//! a thread reads the answers and keeps the first error.

use std::io::{BufRead as _, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::children::locked;
use crate::redis::command;
use crate::{BenchError, RedisAddress};

/// After such a pause the admin port may have closed the connection.
const RECONNECT: Duration = Duration::from_secs(2);

/// The channel of a message, and the clients that are on it.
#[derive(Debug, Clone)]
pub(crate) struct Recipients {
    /// The channel's name, without the prefix.
    pub(crate) channel: String,
    /// The clients; also the number of expected deliveries.
    pub(crate) members: Range<usize>,
}

/// How publications reach the server.
enum Transport {
    /// `PUBLISH`, or `FCALL gateway_publish` when durable; with the prefix of the channels.
    Redis(String),
    /// `POST /v1/publish`, with the head of each request up to its content.
    Admin(String),
    /// A line for the baseline.
    Baseline,
}

/// One connection to publish on.
pub(crate) struct Publisher {
    transport: Transport,
    out: Box<dyn Write + Send>,
    batch: Vec<u8>,
    refused: Arc<Mutex<Option<String>>>,
    /// The admin port closes silent connections: its address, and when it was last written to.
    admin: Option<(SocketAddr, Instant)>,
}

impl Publisher {
    pub(crate) fn redis(address: &RedisAddress, prefix: &str) -> Result<Self, BenchError> {
        let stream = address.connect()?;
        let publisher = Self::new(Transport::Redis(prefix.to_owned()), stream.try_clone()?);
        publisher.read_answers(stream)?;
        Ok(publisher)
    }

    pub(crate) fn admin(address: SocketAddr, key: Option<&str>) -> Result<Self, BenchError> {
        let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        let head = format!(
            "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\nContent-Length: "
        );
        let stream = connect(address)?;
        let publisher = Self::new(Transport::Admin(head), stream.try_clone()?);
        publisher.read_answers(stream)?;
        Ok(Self { admin: Some((address, Instant::now())), ..publisher })
    }

    pub(crate) fn baseline(orders: impl Write + Send + 'static) -> Self {
        Self::new(Transport::Baseline, orders)
    }

    fn new(transport: Transport, out: impl Write + Send + 'static) -> Self {
        Self { transport, out: Box::new(out), batch: Vec::new(), refused: Arc::default(), admin: None }
    }

    /// Puts a message into the next batch.
    pub(crate) fn add(&mut self, recipients: &Recipients, message: &str, is_durable: bool) {
        let Recipients { channel, members } = recipients;
        match &self.transport {
            Transport::Redis(prefix) => {
                let key = format!("{prefix}:{channel}");
                self.batch.extend(match is_durable {
                    true => command(&["FCALL", "gateway_publish", "1", &key, message]),
                    false => command(&["PUBLISH", &key, message]),
                });
            }
            Transport::Admin(head) => {
                let body =
                    format!(r#"{{"channel":{},"durable":{is_durable},"message":{message}}}"#, json!(channel));
                let request = format!("{head}{}\r\n\r\n{body}", body.len());
                self.batch.extend(request.as_bytes());
            }
            Transport::Baseline => {
                // Lost clients may still occupy slots, so "all" is every slot.
                let end = if channel == "all" { usize::MAX } else { members.end };
                self.add_order(members.start..end, &format!(r#"{{"op":3,"message":{message}}}"#));
            }
        }
    }

    /// Puts a frame for these slots of the baseline into the next batch.
    pub(crate) fn add_order(&mut self, slots: Range<usize>, frame: &str) {
        self.batch.extend(format!("{} {} {frame}\n", slots.start, slots.end).as_bytes());
    }

    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        self.check()?;
        if let Some((address, last)) = self.admin {
            if last.elapsed() > RECONNECT {
                let stream = connect(address)?;
                self.out = Box::new(stream.try_clone()?);
                self.read_answers(stream)?;
            }
            self.admin = Some((address, Instant::now()));
        }
        self.out
            .write_all(&self.batch)
            .and_then(|()| self.out.flush())
            .map_err(|error| BenchError::Run(format!("publishing: {error}")))?;
        self.batch.clear();
        Ok(())
    }

    /// Fails when a publication has been refused.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        match &*locked(&self.refused) {
            Some(answer) => Err(BenchError::Run(format!("a publication was refused: {answer}"))),
            None => Ok(()),
        }
    }

    /// How it publishes, for the report.
    pub(crate) fn transport(&self) -> &'static str {
        match self.transport {
            Transport::Redis(_) => "Redis",
            Transport::Admin(_) => "the admin port",
            Transport::Baseline => "a pipe",
        }
    }

    /// Reads the answers of a connection until it ends; keeps the first line that refuses.
    fn read_answers(&self, answers: TcpStream) -> Result<(), BenchError> {
        let refused = Arc::clone(&self.refused);
        let is_redis = matches!(self.transport, Transport::Redis(_));
        std::thread::Builder::new().name("bench-answers".to_owned()).spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let is_error = match is_redis {
                    true => line.starts_with('-'),
                    false => line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 200"),
                };
                if is_error {
                    locked(&refused).get_or_insert(line);
                }
            }
        })?;
        Ok(())
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, BenchError> {
    let stream =
        TcpStream::connect(address).map_err(|error| BenchError::Server(format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
