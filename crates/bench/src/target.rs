//! What is measured: a gateway of our own, one that runs already, or the floor.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::super::client::reachable;
use super::children::OwnProcess;
use super::floor;
use super::process::Account;
use super::publisher::Publisher;
use super::redis::{RedisAddress, Usage};
use crate::settings::Settings;

/// How long a gateway may take to start and to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server under load.
pub(super) struct Target {
    /// Where clients connect.
    pub(super) address: SocketAddr,
    /// Whether it is the floor.
    pub(super) is_floor: bool,
    /// Its Redis, where the generator can speak to it.
    pub(super) redis: Option<RedisAddress>,
    admin: Option<SocketAddr>,
    process: Option<u32>,
    publisher: Option<Publisher>,
    /// Ended with this.
    _child: Option<OwnProcess>,
}

impl Target {
    /// Starts a gateway with these arguments, and environment variables that yield to them.
    pub(super) fn start(
        settings: &Settings,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("run")
            .args(arguments)
            .args(["--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            // Its log says where it listens.
            .env("RUST_LOG", "info")
            .env("RUST_LOG_STYLE", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = OwnProcess::start(&mut command)?;
        let (public, admin) = listening(&child)?;
        Self::new(settings, public, admin, Some(child.id()), Some(child))
    }

    /// One that runs, where the settings say. Its process is named for the kernel's account of it.
    pub(super) fn running(settings: &Settings, process: Option<u32>) -> Result<Self, Failure> {
        if let Some(process) = process
            && Account::of(process).is_none()
        {
            return Err(Failure::Other(format!("there is no process {process} on this machine")));
        }
        let server = &settings.server;
        Self::new(settings, reachable(server.public_addr), reachable(server.admin_addr), process, None)
    }

    /// Starts the floor.
    pub(super) fn floor() -> Result<Self, Failure> {
        let (child, address, orders) = floor::start()?;
        let (process, child) = (Some(child.id()), Some(child));
        let publisher = Some(Publisher::floor(orders));
        Ok(Self { address, is_floor: true, redis: None, admin: None, process, publisher, _child: child })
    }

    fn new(
        settings: &Settings,
        address: SocketAddr,
        admin: SocketAddr,
        process: Option<u32>,
        child: Option<OwnProcess>,
    ) -> Result<Self, Failure> {
        wait_until_ready(admin)?;
        let redis = RedisAddress::of(&settings.broker);
        let publisher = match &redis {
            Some(redis) => Publisher::redis(redis, &settings.broker.prefix)?,
            None => Publisher::admin(admin, settings.admin.api_key.clone())?,
        };
        Ok(Self {
            address,
            is_floor: false,
            redis,
            admin: Some(admin),
            process,
            publisher: Some(publisher),
            _child: child,
        })
    }

    /// What its process has used; `None` when it is not known or not on this machine.
    pub(super) fn account(&self) -> Option<Account> {
        Account::of(self.process?)
    }

    /// What its Redis has used.
    pub(super) fn redis_usage(&self) -> Option<Usage> {
        self.redis.as_ref()?.usage()
    }

    /// One of the gateway's metrics by its full name; 0 when it was never counted.
    pub(super) fn metric(&self, name: &str) -> Option<f64> {
        let page = ask(self.admin?, "/metrics").ok()?;
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(Some(0.0), |value| value.trim().parse().ok())
    }

    /// The way to publish.
    pub(super) fn publisher(&mut self) -> Result<&mut Publisher, Failure> {
        self.publisher.as_mut().ok_or_else(|| Failure::Other("there is no way to publish".to_owned()))
    }
}

/// Reads the log up to the lines that name both ports; a thread passes over the rest, so that the gateway never waits.
fn listening(child: &OwnProcess) -> Result<(SocketAddr, SocketAddr), Failure> {
    let Some(stderr) = child.take(|child| child.stderr.take()) else {
        return Err(Failure::Other("the gateway has no log".to_owned()));
    };
    let (tell, told) = mpsc::channel();
    std::thread::Builder::new().name("bench-log".to_owned()).spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens any more once both ports are known.
            let _ = tell.send(line);
        }
    })?;
    let begun = Instant::now();
    let (mut public, mut last) = (None, String::new());
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let Ok(line) = told.recv_timeout(left) else {
            return Err(Failure::Other(format!("the gateway did not start: {last}")));
        };
        let after = |name: &str| line.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        public = public.or_else(|| after("public: listening on "));
        if let (Some(public), Some(admin)) = (public, after("admin: listening on ")) {
            return Ok((public, admin));
        }
        last = line;
    }
}

/// Until `/readyz` answers 200: before that a publication may reach nobody.
fn wait_until_ready(admin: SocketAddr) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let answer = ask(admin, "/readyz");
        if matches!(&answer, Ok(text) if text.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE || (answer.is_err() && begun.elapsed() > PATIENCE / 10) {
            let reason = answer.map_or_else(
                |error| error.to_string(),
                |text| text.lines().last().unwrap_or_default().to_owned(),
            );
            return Err(Failure::Other(format!("the gateway at {admin} is not ready: {reason}")));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn ask(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
