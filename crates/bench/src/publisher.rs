//! Publishing: raw commands to Redis, requests to the admin port, or orders to the floor. Nothing waits for an answer;
//! a thread reads them and keeps the first that is an error.

use std::io::{BufRead as _, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::BenchError;
use crate::RedisAddress;
use crate::redis::command;

/// Whom a message is for: the channel, and the clients that are on it.
#[derive(Debug, Clone)]
pub(crate) struct Audience {
    /// The channel's name, without the prefix.
    pub(crate) channel: String,
    /// The clients; also how many deliveries there should be.
    pub(crate) members: Range<usize>,
}

/// Which way a publication goes.
pub(crate) enum Way {
    /// `PUBLISH`, or `FCALL gateway_publish` when it is durable; with the keys' prefix.
    Redis(String),
    /// `POST /v1/publish`, with the key.
    Admin(Option<String>),
    /// A line for the floor.
    Floor,
}

/// One connection to publish on.
pub(crate) struct Publisher {
    way: Way,
    out: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    refused: Arc<Mutex<Option<String>>>,
    /// For the admin port, which closes connections that say nothing: where it is, and when it was last written to.
    admin: Option<(SocketAddr, Instant)>,
}

/// After such a pause the connection to the admin port may be gone, or about to be.
const RECONNECT: Duration = Duration::from_secs(2);

impl Publisher {
    /// By Redis itself.
    pub(crate) fn redis(address: &RedisAddress, prefix: &str) -> Result<Self, BenchError> {
        Self::over(address.connect()?, Way::Redis(prefix.to_owned()))
    }

    /// By the admin port of the gateway.
    pub(crate) fn admin(address: SocketAddr, key: Option<String>) -> Result<Self, BenchError> {
        let publisher = Self::over(connect(address)?, Way::Admin(key))?;
        Ok(Self { admin: Some((address, Instant::now())), ..publisher })
    }

    /// To the floor.
    pub(crate) fn floor(orders: impl Write + Send + 'static) -> Self {
        Self {
            way: Way::Floor,
            out: Box::new(orders),
            waiting: Vec::new(),
            refused: Arc::default(),
            admin: None,
        }
    }

    fn over(stream: TcpStream, way: Way) -> Result<Self, BenchError> {
        let refused = Arc::<Mutex<Option<String>>>::default();
        read_answers(stream.try_clone()?, Arc::clone(&refused), matches!(way, Way::Redis(_)))?;
        Ok(Self { way, out: Box::new(stream), waiting: Vec::new(), refused, admin: None })
    }

    /// Puts a message into the next batch.
    pub(crate) fn add(&mut self, audience: &Audience, message: &str, is_durable: bool) {
        let channel = &audience.channel;
        match &self.way {
            Way::Redis(prefix) if is_durable => {
                let key = format!("{prefix}:{channel}");
                self.waiting.extend(command(&["FCALL", "gateway_publish", "1", &key, message]));
            }
            Way::Redis(prefix) => {
                self.waiting.extend(command(&["PUBLISH", &format!("{prefix}:{channel}"), message]));
            }
            Way::Admin(key) => {
                let body =
                    format!(r#"{{"channel":{},"durable":{is_durable},"message":{message}}}"#, json!(channel));
                let key =
                    key.as_ref().map_or_else(String::new, |key| format!("Authorization: Bearer {}\r\n", key));
                let head = format!(
                    "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n",
                    body.len()
                );
                self.waiting.extend(head.as_bytes());
                self.waiting.extend(body.as_bytes());
            }
            Way::Floor => {
                // Slots of lost clients may still be taken: to all is to whoever is there.
                let end = if channel == "all" { usize::MAX } else { audience.members.end };
                let start = audience.members.start;
                let order = format!("{start} {end} {{\"op\":3,\"message\":{message}}}\n");
                self.waiting.extend(order.as_bytes());
            }
        }
    }

    /// A frame that is no publication; only the floor can send one by itself.
    pub(crate) fn add_heartbeat(&mut self, members: Range<usize>) {
        if matches!(self.way, Way::Floor) {
            let order = format!("{} {} {{\"op\":10,\"time\":1579276740336}}\n", members.start, members.end);
            self.waiting.extend(order.as_bytes());
        }
    }

    /// Sends the batch.
    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        self.check()?;
        if let Some((address, last)) = &mut self.admin {
            if last.elapsed() > RECONNECT {
                let stream = connect(*address)?;
                read_answers(stream.try_clone()?, Arc::clone(&self.refused), false)?;
                self.out = Box::new(stream);
            }
            *last = Instant::now();
        }
        self.out
            .write_all(&self.waiting)
            .and_then(|()| self.out.flush())
            .map_err(|error| BenchError::Run(format!("publishing: {error}")))?;
        self.waiting.clear();
        Ok(())
    }

    /// Whether a publication has been refused.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        match self.refused.lock().ok().and_then(|refused| refused.clone()) {
            Some(answer) => Err(BenchError::Run(format!("a publication was refused: {answer}"))),
            None => Ok(()),
        }
    }

    /// How it publishes, for the report.
    pub(crate) fn way(&self) -> &'static str {
        match self.way {
            Way::Redis(_) => "Redis",
            Way::Admin(_) => "the admin port",
            Way::Floor => "a pipe",
        }
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, BenchError> {
    let stream =
        TcpStream::connect(address).map_err(|error| BenchError::Server(format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads what a connection is answered until it ends; keeps the first line that refuses.
fn read_answers(
    answers: TcpStream,
    kept: Arc<Mutex<Option<String>>>,
    is_redis: bool,
) -> Result<(), BenchError> {
    std::thread::Builder::new().name("bench-answers".to_owned()).spawn(move || {
        for line in BufReader::new(answers).lines().map_while(Result::ok) {
            let is_error = if is_redis {
                line.starts_with('-')
            } else {
                line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 200")
            };
            if is_error && let Ok(mut kept) = kept.lock() {
                kept.get_or_insert(line);
            }
        }
    })?;
    Ok(())
}
