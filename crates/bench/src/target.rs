//! The measured server: gateways started by the generator, a running gateway, the baseline, or another server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::children::ChildProcess;
use crate::inbox_worker::InboxWorker;
use crate::other_server::{OtherServer, Protocol};
use crate::process::ResourceUsage;
use crate::publisher::Publisher;
use crate::redis::OwnRedis;
use crate::{BenchError, BrokerAddress, Environment, RedisAddress, baseline};

/// The maximum time until a gateway is ready.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The measured server: one process, or several replicas of a gateway.
pub(crate) struct Target {
    pub(crate) servers: Vec<MeasuredServer>,
    pub(crate) is_baseline: bool,
    pub(crate) protocol: Protocol,
    pub(crate) publisher: Publisher,
    /// The servers: none, one, or the masters of a cluster.
    redis: Vec<RedisAddress>,
    /// The prefix of the gateway's keys in Redis.
    prefix: String,
}

/// A process of the measured server.
pub(crate) struct MeasuredServer {
    pub(crate) address: SocketAddr,
    admin: Option<SocketAddr>,
    process: Option<u32>,
    /// Ended when dropped.
    child: Option<ChildProcess>,
}

/// A started gateway that may not listen yet, and its log.
struct StartingGateway(ChildProcess, Option<ChildStderr>);

impl StartingGateway {
    /// Starts a gateway with these environment variables, connected to `redis` if given.
    fn spawn(
        environment: &Environment,
        redis: Option<&OwnRedis>,
        variables: &[(String, String)],
    ) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("run")
            .args(&environment.run_arguments)
            .args(redis.iter().flat_map(|redis| ["--broker-url".to_owned(), redis.url.clone()]))
            .args(["--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .envs(variables.iter().cloned())
            // `read_ports` reads the ports from the log.
            .env("RUST_LOG", "info")
            .env("RUST_LOG_STYLE", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (child, (.., log)) = ChildProcess::start(&mut command)?;
        Ok(Self(child, log))
    }

    fn wait_until_ready(self) -> Result<MeasuredServer, BenchError> {
        let Self(child, log) = self;
        let (address, admin) = read_ports(log)?;
        wait_until_ready(admin)?;
        Ok(MeasuredServer { address, admin: Some(admin), process: Some(child.0), child: Some(child) })
    }
}

impl Target {
    /// Starts this number of gateways with these environment variables, connected to `redis` if given.
    pub(crate) fn start(
        environment: &Environment,
        redis: Option<&OwnRedis>,
        variables: &[(String, String)],
        replicas: usize,
    ) -> Result<Self, BenchError> {
        // All start at the same time.
        let starting: Vec<_> = (0..replicas)
            .map(|_| StartingGateway::spawn(environment, redis, variables))
            .collect::<Result<_, _>>()?;
        let servers =
            starting.into_iter().map(StartingGateway::wait_until_ready).collect::<Result<_, _>>()?;
        let is_cluster = redis.is_some_and(OwnRedis::is_cluster);
        let redis = redis.map(|redis| &*redis.addresses).unwrap_or_default();
        Self::gateways(environment, redis, servers, is_cluster)
    }

    /// Uses a running gateway. `process`: its process id, to measure its resources.
    pub(crate) fn running(environment: &Environment, process: Option<u32>) -> Result<Self, BenchError> {
        if let Some(process) = process
            && ResourceUsage::of(process).is_none()
        {
            return Err(BenchError::Server(format!("process {process} does not exist on this machine")));
        }
        let (address, admin) = (environment.public_addr, environment.admin_addr);
        wait_until_ready(admin)?;
        let server = MeasuredServer { address, admin: Some(admin), process, child: None };
        Self::gateways(environment, &[], vec![server], false)
    }

    pub(crate) fn baseline() -> Result<Self, BenchError> {
        let (child, address, orders) = baseline::start()?;
        let server = MeasuredServer { address, admin: None, process: Some(child.0), child: Some(child) };
        Ok(Self {
            servers: vec![server],
            is_baseline: true,
            protocol: Protocol::Gateway,
            publisher: Publisher::baseline(orders),
            redis: Vec::new(),
            prefix: String::new(),
        })
    }

    /// Starts another server with this Redis.
    pub(crate) fn other(
        other: &OtherServer,
        redis: &OwnRedis,
        secret: &str,
        heartbeat_interval: Duration,
        http_connections: usize,
    ) -> Result<Self, BenchError> {
        let running = other.start(redis, secret, heartbeat_interval, http_connections)?;
        let process = Some(running.child.0);
        let server =
            MeasuredServer { address: running.address, admin: None, process, child: Some(running.child) };
        Ok(Self {
            servers: vec![server],
            is_baseline: false,
            protocol: Protocol::Other(other.product),
            publisher: running.publisher,
            redis: redis.addresses.clone(),
            prefix: String::new(),
        })
    }

    fn gateways(
        environment: &Environment,
        own_redis: &[RedisAddress],
        servers: Vec<MeasuredServer>,
        is_cluster: bool,
    ) -> Result<Self, BenchError> {
        let redis = match &environment.broker {
            BrokerAddress::Redis(redis) => vec![redis.clone()],
            BrokerAddress::Memory | BrokerAddress::OtherRedis => own_redis.to_vec(),
        };
        let admin = servers.iter().find_map(|server| server.admin);
        let publisher = match admin {
            Some(admin) if redis.is_empty() => Publisher::admin(admin, environment.admin_key.as_deref(), 1),
            _ => Publisher::redis(&redis, is_cluster, &environment.prefix)?,
        };
        Ok(Self {
            servers,
            is_baseline: false,
            protocol: Protocol::Gateway,
            publisher,
            redis,
            prefix: environment.prefix.clone(),
        })
    }

    /// The ids of the target's processes, as far as they are known.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.servers.iter().filter_map(|server| server.process).collect()
    }

    /// Publishes to the admin port from now on, also where there is a Redis.
    pub(crate) fn publish_over_http(
        &mut self,
        environment: &Environment,
        connections: usize,
    ) -> Result<(), BenchError> {
        let (Some(admin), false) =
            (self.servers.first().and_then(|server| server.admin), self.redis.is_empty())
        else {
            return Err(BenchError::Arguments("--publish-http compares with Redis: name one".to_owned()));
        };
        self.publisher = Publisher::admin(admin, environment.admin_key.as_deref(), connections);
        Ok(())
    }

    /// Starts a worker of the inbox, if there is a Redis.
    pub(crate) fn start_inbox_worker(&self) -> Result<Option<InboxWorker>, BenchError> {
        let start = |redis| InboxWorker::start(redis, format!("{}:inbox", self.prefix));
        self.redis.first().map(start).transpose()
    }

    /// The resources of the target's processes together; NaN if unknown or on another machine.
    pub(crate) fn process_usage(&self) -> ResourceUsage {
        ResourceUsage::of_all(&self.processes())
    }

    /// The resources of each of its Redis servers, see [`RedisAddress::usage`].
    pub(crate) fn redis_usage(&self) -> Vec<[f64; 2]> {
        self.redis.iter().map(|redis| redis.usage().unwrap_or([f64::NAN; 2])).collect()
    }

    /// The sum of a metric over all gateways; NaN if one does not answer.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.servers.iter().map(|server| server.metric(name)).sum()
    }
}

impl MeasuredServer {
    /// The value of a metric of the gateway; 0 if the page has no such sample, NaN without a page.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let Some(Ok(page)) = self.admin.map(|admin| get(admin, "/metrics")) else { return f64::NAN };
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(0.0, |value| value.trim().parse().unwrap_or(f64::NAN))
    }

    /// Kills the process, as a crash does.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Asks the process to end, as a process manager does.
    pub(crate) fn terminate(&self) -> Result<(), BenchError> {
        let command = format!("kill -TERM {}", self.process.unwrap_or_default());
        let status = Command::new("sh").args(["-c", &command]).status()?;
        status.success().then_some(()).ok_or_else(|| BenchError::Run(format!("{command} failed")))
    }

    /// Waits until the process has ended; whether it did, with exit code 0.
    pub(crate) fn wait_for_exit(&self, timeout: Duration) -> bool {
        self.child.as_ref().is_some_and(|child| child.wait(timeout))
    }
}

/// Reads the log up to the lines with both ports. A thread drains the rest, so the gateway does not block on the pipe.
fn read_ports(log: Option<ChildStderr>) -> Result<(SocketAddr, SocketAddr), BenchError> {
    let mut lines = log.map(BufReader::new).into_iter().flat_map(BufReader::lines).map_while(Result::ok);
    let (mut public, mut last) = (None, String::new());
    for line in lines.by_ref() {
        let after = |name: &str| line.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        public = public.or_else(|| after("public: listening on "));
        if let (Some(public), Some(admin)) = (public, after("admin: listening on ")) {
            std::thread::Builder::new().name("bench-log".to_owned()).spawn(|| lines.for_each(drop))?;
            return Ok((public, admin));
        }
        last = line;
    }
    Err(BenchError::Server(format!("the gateway did not start: {last}")))
}

/// Waits until `/readyz` answers 200; earlier publications might not be delivered.
fn wait_until_ready(admin: SocketAddr) -> Result<(), BenchError> {
    let started_at = Instant::now();
    loop {
        let (timeout, reason) = match get(admin, "/readyz") {
            Ok(text) if text.starts_with("HTTP/1.1 200") => return Ok(()),
            Ok(text) => (START_TIMEOUT, text.lines().last().unwrap_or_default().to_owned()),
            Err(error) => (START_TIMEOUT / 10, error.to_string()),
        };
        if started_at.elapsed() > timeout {
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
