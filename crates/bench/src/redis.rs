//! Redis: servers started by the load generator, raw commands, and the CPU and memory that Redis reports.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::children::ChildProcess;
use crate::redis_cluster::NodeFolder;
use crate::{BenchError, RedisAddress};

/// The maximum time until Redis starts or answers.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The Redis that the generator started: one server, or the masters of a cluster. Ended when dropped.
pub(crate) struct OwnRedis {
    pub(crate) _servers: Vec<OwnServer>,
    /// The folder of a cluster, deleted after its servers have ended.
    pub(crate) folder: Option<NodeFolder>,
    /// One server, or the masters in the order of their slots.
    pub(crate) addresses: Vec<RedisAddress>,
    /// The value of `broker.url`.
    pub(crate) url: String,
}

/// A `redis-server` on a free port, without persistence. Ended when dropped.
pub(crate) struct OwnServer {
    _child: ChildProcess,
    pub(crate) address: RedisAddress,
}

impl OwnRedis {
    /// Starts a server and waits until it accepts connections.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let server = OwnServer::start(&[])?;
        let url = format!("redis://{}:{}", server.address.host, server.address.port);
        Ok(Self { addresses: vec![server.address.clone()], _servers: vec![server], folder: None, url })
    }

    /// Whether the servers are a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.folder.is_some()
    }
}

impl OwnServer {
    /// Starts a server with further arguments, and waits until it accepts connections.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, BenchError> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--dir", &std::env::temp_dir().display().to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (child, _) = ChildProcess::start(&mut command).map_err(|error| {
            BenchError::Server(match error.kind() {
                io::ErrorKind::NotFound => {
                    "redis-server was not found: install it, or use a running Redis with --broker-url"
                        .to_owned()
                }
                _ => format!("redis-server did not start: {error}"),
            })
        })?;
        let started_at = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started_at.elapsed() > TIMEOUT {
                return Err(BenchError::Server("redis-server did not start".to_owned()));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let address = RedisAddress { host: Ipv4Addr::LOCALHOST.to_string(), port, login: Vec::new() };
        Ok(Self { _child: child, address })
    }
}

/// A free port. A node of a cluster also listens 10 000 above its port, so the port must leave room for that.
pub(crate) fn free_port() -> io::Result<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let drawn = std::iter::repeat_with(|| rand::random_range(10_000..22_000)).take(1_000);
    let found = drawn.into_iter().find(|port| is_free(*port) && is_free(*port + 10_000));
    found.ok_or_else(|| io::Error::other("no port is free"))
}

impl RedisAddress {
    /// Connects and sends `AUTH` if needed, without waiting for the response; its reader detects a refusal.
    pub(crate) fn connect(&self) -> Result<TcpStream, BenchError> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))
            .map_err(|error| BenchError::Server(format!("Redis at {}:{}: {error}", self.host, self.port)))?;
        if !self.login.is_empty() {
            let words: Vec<_> = ["AUTH"].into_iter().chain(self.login.iter().map(String::as_str)).collect();
            stream.write_all(&command(&words))?;
        }
        Ok(stream)
    }

    /// The total CPU of this Redis, in seconds, and its memory, in bytes.
    pub(crate) fn usage(&self) -> Option<[f64; 2]> {
        let mut stream = self.connect().ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        stream.write_all(&[command(&["INFO", "memory"]), command(&["INFO", "cpu"])].concat()).ok()?;
        let mut found = ["used_memory:", "used_cpu_sys:", "used_cpu_user:"].map(|name| (name, None));
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            for (name, value) in &mut found {
                *value = line.strip_prefix(*name).and_then(|text| text.trim().parse::<f64>().ok()).or(*value);
            }
            if let [(_, Some(memory)), (_, Some(system)), (_, Some(user))] = found {
                return Some([system + user, memory]);
            }
        }
        None
    }
}

/// Encodes a command.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes.extend([&format!("${}\r\n", word.len()), *word, "\r\n"]));
    bytes.into_bytes()
}
