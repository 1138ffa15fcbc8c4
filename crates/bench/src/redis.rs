//! Redis, seen from the load generator: one of its own if wanted, commands as raw bytes, and its account of CPU.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::super::Failure;
use super::children::OwnProcess;
use crate::settings::{BrokerSettings, Secret};

/// How long it may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A `redis-server` on a free port, without persistence. Ended when dropped.
pub(super) struct OwnRedis {
    _child: OwnProcess,
    /// For `broker.url`.
    pub(super) url: String,
}

impl OwnRedis {
    /// Starts one and waits until it accepts.
    pub(super) fn start() -> Result<Self, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--dir", &std::env::temp_dir().display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = OwnProcess::start(&mut command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Other(
                "there is no redis-server on this machine: install it, or name one with --broker-url"
                    .to_owned(),
            ),
            _ => Failure::Other(format!("redis-server did not start: {error}")),
        })?;
        let own = Self { _child: child, url: format!("redis://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::Other("redis-server did not start".to_owned()));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(own)
    }
}

/// How to reach a Redis that speaks plain TCP. No `Debug`: it may hold a password.
pub(super) struct RedisAddress {
    host: String,
    port: u16,
    login: Vec<Secret>,
}

impl RedisAddress {
    /// `None` where the generator cannot speak to it: in memory, with TLS, by sentinels, over a Unix socket.
    pub(super) fn of(settings: &BrokerSettings) -> Option<Self> {
        let info = settings.url.as_str().into_connection_info().ok()?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return None };
        let file = || settings.password_file.as_deref().and_then(|path| Secret::read_file(path).ok());
        let of_url = info.redis_settings().password().map(|password| Secret::from(password.to_owned()));
        let password = of_url.or_else(|| settings.password.clone()).or_else(file);
        let user = info.redis_settings().username().map(str::to_owned).or_else(|| settings.username.clone());
        let user = password.as_ref().and(user).map(Secret::from);
        Some(Self { host: host.clone(), port: *port, login: user.into_iter().chain(password).collect() })
    }

    /// A connection that is logged in.
    pub(super) fn connect(&self) -> Result<TcpStream, Failure> {
        let failed =
            |error: io::Error| Failure::Other(format!("Redis at {}:{}: {error}", self.host, self.port));
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).map_err(failed)?;
        stream.set_nodelay(true)?;
        if !self.login.is_empty() {
            let mut words = vec!["AUTH"];
            words.extend(self.login.iter().map(Secret::expose));
            stream.write_all(&command(&words))?;
            let mut answer = [0; 512];
            stream.set_read_timeout(Some(PATIENCE))?;
            let length = stream.read(&mut answer)?;
            if !answer[..length].starts_with(b"+OK") {
                return Err(Failure::Other("Redis refuses the user and password of the settings".to_owned()));
            }
            stream.set_read_timeout(None)?;
        }
        Ok(stream)
    }

    /// What this Redis has used so far, by its own account.
    pub(super) fn usage(&self) -> Option<Usage> {
        let mut stream = self.connect().ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
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
pub(super) struct Usage {
    /// CPU, in seconds.
    pub(super) cpu: f64,
    /// Memory that it holds now, in bytes.
    pub(super) memory: f64,
}

/// A command as it goes over the wire.
pub(super) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(word.as_bytes());
        bytes.extend(b"\r\n");
    }
    bytes
}
