//! Redis, as the load generator sees it: one of its own if wanted, commands as raw bytes, and its account of CPU.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::children::OwnProcess;
use crate::{BenchError, RedisAddress};

/// How long Redis may take to start, or to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A `redis-server` on a free port, without persistence. Ended when dropped.
pub(crate) struct OwnRedis {
    _child: OwnProcess,
    pub(crate) address: RedisAddress,
}

impl OwnRedis {
    /// Starts one and waits until it accepts.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--dir", &std::env::temp_dir().display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = OwnProcess::start(&mut command).map_err(|error| {
            BenchError::Server(match error.kind() {
                io::ErrorKind::NotFound => {
                    "there is no redis-server on this machine: install it, or name one with --broker-url"
                        .to_owned()
                }
                _ => format!("redis-server did not start: {error}"),
            })
        })?;
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if begun.elapsed() > TIMEOUT {
                return Err(BenchError::Server("redis-server did not start".to_owned()));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let address = RedisAddress { host: Ipv4Addr::LOCALHOST.to_string(), port, login: Vec::new() };
        Ok(Self { _child: child, address })
    }

    /// For `broker.url`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}:{}", self.address.host, self.address.port)
    }
}

impl RedisAddress {
    /// A connection that is logged in.
    pub(crate) fn connect(&self) -> Result<TcpStream, BenchError> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port))
            .map_err(|error| BenchError::Server(format!("Redis at {}:{}: {error}", self.host, self.port)))?;
        stream.set_nodelay(true)?;
        if !self.login.is_empty() {
            let words: Vec<_> = ["AUTH"].into_iter().chain(self.login.iter().map(String::as_str)).collect();
            stream.write_all(&command(&words))?;
            let mut answer = [0; 512];
            stream.set_read_timeout(Some(TIMEOUT))?;
            let length = stream.read(&mut answer)?;
            if !answer[..length].starts_with(b"+OK") {
                let refused = "Redis refuses the user and password of the settings";
                return Err(BenchError::Server(refused.to_owned()));
            }
            stream.set_read_timeout(None)?;
        }
        Ok(stream)
    }

    /// What this Redis has used so far, by its own account.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let mut stream = self.connect().ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        stream.write_all(&[command(&["INFO", "memory"]), command(&["INFO", "cpu"])].concat()).ok()?;
        let mut found = ["used_memory:", "used_cpu_sys:", "used_cpu_user:"].map(|name| (name, None));
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            for (name, value) in &mut found {
                *value = line.strip_prefix(*name).and_then(|text| text.trim().parse::<f64>().ok()).or(*value);
            }
            if let [(_, Some(memory)), (_, Some(system)), (_, Some(user))] = found {
                return Some(Usage { cpu: system + user, memory });
            }
        }
        None
    }
}

/// What a Redis has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: f64,
    /// Memory that it holds now, in bytes.
    pub(crate) memory: f64,
}

/// A command as it goes over the wire.
pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes.extend([&format!("${}\r\n", word.len()), *word, "\r\n"]));
    bytes.into_bytes()
}
