//! Publishes with raw commands to Redis, requests to the admin port, or orders to the baseline. The publisher does
//! not wait for responses; a thread reads them and keeps the first error.

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use crate::other_server::{self, Product};
use crate::redis::command;
use crate::{BenchError, RedisAddress, redis_cluster};

/// After a longer pause, the admin port may have closed the connection.
const RECONNECT: Duration = Duration::from_secs(2);

/// The channel of a message and its subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Recipients {
    /// The name of the channel, without the prefix.
    pub(crate) channel: String,
    /// The indexes of the subscribers; as many deliveries are expected.
    pub(crate) members: Range<usize>,
}

/// The way of publications to the server.
enum Transport {
    /// `PUBLISH`, or `FCALL gateway_publish` when durable; with the prefix of the channels.
    Redis(String),
    /// The same with `SPUBLISH`, at the owner of the channel's slot.
    Cluster(String),
    /// `POST /v1/publish`: the address, and the head of each request up to its content.
    Admin(SocketAddr, String),
    /// A request to the HTTP API of Centrifugo, in the same form.
    Centrifugo(SocketAddr, String),
    /// `PUBLISH` on the one channel of AnyCable.
    AnyCable,
    /// An order to the baseline.
    Baseline,
}

/// The connections for publishing: one, one for each master of a cluster, or several to the admin port, in turn.
pub(crate) struct Publisher {
    transport: Transport,
    lanes: Vec<Lane>,
    /// The lane of the next request to the admin port.
    next_lane: usize,
    refused: Arc<Mutex<Option<String>>>,
    /// The time of the last write.
    flushed: Option<Instant>,
}

/// A connection and its next batch.
struct Lane {
    out: Box<dyn Write + Send>,
    batch: Vec<u8>,
}

impl Publisher {
    /// Publishes to one server, or to the masters of a cluster in the order of their slots.
    pub(crate) fn redis(
        addresses: &[RedisAddress],
        is_cluster: bool,
        prefix: &str,
    ) -> Result<Self, BenchError> {
        let kind = if is_cluster { Transport::Cluster } else { Transport::Redis };
        let mut publisher = Self::new(kind(prefix.to_owned()), io::sink());
        publisher.lanes = addresses.iter().map(|_| Lane::new(io::sink())).collect();
        for (lane, address) in addresses.iter().enumerate() {
            publisher.open(lane, address.connect()?)?;
        }
        Ok(publisher)
    }

    pub(crate) fn admin(address: SocketAddr, key: Option<&str>, connections: usize) -> Self {
        let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        Self::http(|head| Transport::Admin(address, head), "/v1/publish", &key, connections)
    }

    /// Publishes to the HTTP API of Centrifugo.
    pub(crate) fn centrifugo(address: SocketAddr, key: &str, connections: usize) -> Self {
        let key = format!("X-API-Key: {key}\r\n");
        Self::http(|head| Transport::Centrifugo(address, head), "/api/publish", &key, connections)
    }

    /// Publishes with requests to this path. `key`: the header with the key.
    fn http(transport: impl Fn(String) -> Transport, path: &str, key: &str, connections: usize) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\nContent-Length: "
        );
        let mut publisher = Self::new(transport(head), io::sink());
        publisher.lanes.resize_with(connections, || Lane::new(io::sink()));
        publisher
    }

    /// Publishes to the channel of AnyCable.
    pub(crate) fn anycable(redis: &RedisAddress) -> Result<Self, BenchError> {
        let mut publisher = Self::new(Transport::AnyCable, io::sink());
        publisher.open(0, redis.connect()?)?;
        Ok(publisher)
    }

    pub(crate) fn baseline(orders: impl Write + Send + 'static) -> Self {
        Self::new(Transport::Baseline, orders)
    }

    fn new(transport: Transport, out: impl Write + Send + 'static) -> Self {
        Self { transport, lanes: vec![Lane::new(out)], next_lane: 0, refused: Arc::default(), flushed: None }
    }

    /// Publishes on this connection of a lane from now on. A thread reads the responses and keeps the first error: a Redis
    /// error, or a status other than 200.
    fn open(&mut self, lane: usize, stream: TcpStream) -> Result<(), BenchError> {
        stream.set_nodelay(true)?;
        self.lanes[lane].out = Box::new(stream.try_clone()?);
        let refused = Arc::clone(&self.refused);
        // A body has no line break, so the next response follows it on the same line.
        let is_error = |line: &str| match line.split_once("HTTP/1.1 ") {
            Some((_, status)) => !status.starts_with("200"),
            None => line.starts_with('-'),
        };
        std::thread::Builder::new().name("bench-answers".to_owned()).spawn(move || {
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            if let Some(line) = lines.find(|line| is_error(line)) {
                refused.lock().get_or_insert(line);
            }
            lines.for_each(drop);
        })?;
        Ok(())
    }

    /// Adds a message to the next batch.
    pub(crate) fn add(&mut self, recipients: &Recipients, message: &str, is_durable: bool) {
        let Recipients { channel, members } = recipients;
        match &self.transport {
            Transport::Redis(prefix) => {
                let key = format!("{prefix}:{channel}");
                let words = if is_durable { durable(&key, message) } else { plain("PUBLISH", &key, message) };
                self.lanes[0].batch.extend(words);
            }
            Transport::Cluster(prefix) => {
                let key = format!("{prefix}:{channel}");
                let words =
                    if is_durable { durable(&key, message) } else { plain("SPUBLISH", &key, message) };
                let lane = redis_cluster::owner(&key, self.lanes.len());
                self.lanes[lane].batch.extend(words);
            }
            Transport::Admin(_, head) => {
                let body =
                    format!(r#"{{"channel":{},"durable":{is_durable},"message":{message}}}"#, json!(channel));
                let request = format!("{head}{}\r\n\r\n{body}", body.len());
                self.add_request(&request);
            }
            Transport::Centrifugo(_, head) => {
                let body = Product::Centrifugo.publication(recipients, message);
                let request = format!("{head}{}\r\n\r\n{body}", body.len());
                self.add_request(&request);
            }
            Transport::AnyCable => {
                let body = Product::AnyCable.publication(recipients, message);
                self.lanes[0].batch.extend(plain("PUBLISH", other_server::ANYCABLE_CHANNEL, &body));
            }
            Transport::Baseline => {
                // Lost clients may still have slots, so "all" covers every slot.
                let end = if channel == "all" { usize::MAX } else { members.end };
                self.add_order(members.start..end, &format!(r#"{{"op":3,"message":{message}}}"#));
            }
        }
    }

    /// Adds a request to the next batch of the next connection.
    fn add_request(&mut self, request: &str) {
        self.lanes[self.next_lane].batch.extend(request.as_bytes());
        self.next_lane = (self.next_lane + 1) % self.lanes.len();
    }

    /// Adds a frame for these slots of the baseline to the next batch.
    pub(crate) fn add_order(&mut self, slots: Range<usize>, frame: &str) {
        self.lanes[0].batch.extend(format!("{} {} {frame}\n", slots.start, slots.end).as_bytes());
    }

    pub(crate) fn flush(&mut self) -> Result<(), BenchError> {
        self.check()?;
        if let Transport::Admin(address, _) | Transport::Centrifugo(address, _) = self.transport
            && self.flushed.is_none_or(|flushed| flushed.elapsed() > RECONNECT)
        {
            for lane in 0..self.lanes.len() {
                let stream = TcpStream::connect(address);
                self.open(lane, stream.map_err(|error| BenchError::Server(format!("{address}: {error}")))?)?;
            }
        }
        self.flushed = Some(Instant::now());
        self.lanes
            .iter_mut()
            .try_for_each(Lane::flush)
            .map_err(|error| BenchError::Run(format!("publishing: {error}")))
    }

    /// Fails if a publication was refused.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        match &*self.refused.lock() {
            Some(answer) => Err(BenchError::Run(format!("a publication was refused: {answer}"))),
            None => Ok(()),
        }
    }

    /// The transport, for the report.
    pub(crate) fn transport(&self) -> &'static str {
        match self.transport {
            Transport::Redis(_) => "Redis",
            Transport::Cluster(_) => "a Redis Cluster",
            Transport::Admin(..) => "the admin port",
            Transport::Centrifugo(..) => "its HTTP API",
            Transport::AnyCable => "Redis",
            Transport::Baseline => "a pipe",
        }
    }
}

impl Lane {
    fn new(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), batch: Vec::new() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.out.write_all(&self.batch)?;
            self.batch.clear();
        }
        self.out.flush()
    }
}

fn durable(key: &str, message: &str) -> Vec<u8> {
    command(&["FCALL", "gateway_publish", "1", key, message])
}

fn plain(name: &str, key: &str, message: &str) -> Vec<u8> {
    command(&[name, key, message])
}
