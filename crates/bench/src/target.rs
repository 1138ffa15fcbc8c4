//! What is measured: a gateway of our own, one that is already running, or the baseline.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::children::OwnProcess;
use crate::process::Account;
use crate::publisher::Publisher;
use crate::redis::{OwnRedis, Usage};
use crate::{BenchError, BrokerAddress, Environment, RedisAddress, baseline};

/// How long a gateway may take to start and to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A server under load.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) is_baseline: bool,
    pub(crate) publisher: Publisher,
    redis: Option<RedisAddress>,
    admin: Option<SocketAddr>,
    process: Option<u32>,
    /// Ended with this.
    _child: Option<OwnProcess>,
}

impl Target {
    /// Starts a gateway with these environment variables, on a Redis of our own if there is one.
    pub(crate) fn start(
        environment: &Environment,
        redis: Option<&OwnRedis>,
        variables: Vec<(String, String)>,
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("run")
            .args(&environment.run_arguments)
            .args(redis.iter().flat_map(|redis| ["--broker-url".to_owned(), redis.url()]))
            .args(["--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .envs(variables)
            // Its log names its ports.
            .env("RUST_LOG", "info")
            .env("RUST_LOG_STYLE", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = OwnProcess::start(&mut command)?;
        let ports = read_ports(&child)?;
        let redis = redis.map(|redis| redis.address.clone());
        let target = Self::gateway(environment, redis, ports, Some(child.id()))?;
        Ok(Self { _child: Some(child), ..target })
    }

    /// A gateway that is already running, with its process for the kernel's account of it.
    pub(crate) fn running(environment: &Environment, process: Option<u32>) -> Result<Self, BenchError> {
        if let Some(process) = process
            && Account::of(process).is_none()
        {
            return Err(BenchError::Server(format!("there is no process {process} on this machine")));
        }
        Self::gateway(environment, None, (environment.public_addr, environment.admin_addr), process)
    }

    pub(crate) fn baseline() -> Result<Self, BenchError> {
        let (child, address, orders) = baseline::start()?;
        Ok(Self {
            address,
            is_baseline: true,
            publisher: Publisher::baseline(orders),
            redis: None,
            admin: None,
            process: Some(child.id()),
            _child: Some(child),
        })
    }

    fn gateway(
        environment: &Environment,
        own_redis: Option<RedisAddress>,
        (address, admin): (SocketAddr, SocketAddr),
        process: Option<u32>,
    ) -> Result<Self, BenchError> {
        wait_until_ready(admin)?;
        let redis = own_redis.or_else(|| match &environment.broker {
            BrokerAddress::Redis(redis) => Some(redis.clone()),
            BrokerAddress::Memory | BrokerAddress::OtherRedis => None,
        });
        let publisher = match &redis {
            Some(redis) => Publisher::redis(redis, &environment.prefix)?,
            None => Publisher::admin(admin, environment.admin_key.as_deref())?,
        };
        Ok(Self { address, is_baseline: false, publisher, redis, admin: Some(admin), process, _child: None })
    }

    /// What its process has used; `None` when it is not known or not on this machine.
    pub(crate) fn account(&self) -> Option<Account> {
        Account::of(self.process?)
    }

    pub(crate) fn redis_usage(&self) -> Option<Usage> {
        self.redis.as_ref()?.usage()
    }

    /// One of the gateway's metrics by its full name; 0 when it was never counted.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let page = get(self.admin?, "/metrics").ok()?;
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(Some(0.0), |value| value.trim().parse().ok())
    }
}

/// Reads the log up to the lines that name both ports. A thread drains the rest, so that the gateway never waits for it.
fn read_ports(child: &OwnProcess) -> Result<(SocketAddr, SocketAddr), BenchError> {
    let Some(stderr) = child.take(|child| child.stderr.take()) else {
        return Err(BenchError::Server("the gateway has no log".to_owned()));
    };
    let (sender, lines) = mpsc::channel();
    std::thread::Builder::new().name("bench-log".to_owned()).spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Once both ports are known, nothing receives.
            let _ = sender.send(line);
        }
    })?;
    let begun = Instant::now();
    let (mut public, mut last) = (None, String::new());
    loop {
        let Ok(line) = lines.recv_timeout(START_TIMEOUT.saturating_sub(begun.elapsed())) else {
            return Err(BenchError::Server(format!("the gateway did not start: {last}")));
        };
        let after = |name: &str| line.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        public = public.or_else(|| after("public: listening on "));
        if let (Some(public), Some(admin)) = (public, after("admin: listening on ")) {
            return Ok((public, admin));
        }
        last = line;
    }
}

/// Waits until `/readyz` answers 200: before that a publication may reach nobody.
fn wait_until_ready(admin: SocketAddr) -> Result<(), BenchError> {
    let begun = Instant::now();
    loop {
        let answer = get(admin, "/readyz");
        if matches!(&answer, Ok(text) if text.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        if begun.elapsed() > START_TIMEOUT || (answer.is_err() && begun.elapsed() > START_TIMEOUT / 10) {
            let reason = answer.map_or_else(
                |error| error.to_string(),
                |text| text.lines().last().unwrap_or_default().to_owned(),
            );
            return Err(BenchError::Server(format!("the gateway at {admin} is not ready: {reason}")));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, START_TIMEOUT)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
