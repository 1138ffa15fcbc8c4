//! Runs the real gateway as a child process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Refused, Version};
use super::deadline::{eventually, eventually_eq};
use super::http::{self, Answer};
use super::process::{Ended, Process, SOON, run};
use super::redis_server::RedisServer;

/// A gateway on two free ports, with two workers. Dropping it checks that no state is left, unless the test failed.
pub(crate) struct TestGateway {
    process: Process,
    /// The public port, for clients.
    pub(crate) public: SocketAddr,
    /// The admin port, for operators and backends.
    pub(crate) admin: SocketAddr,
    arguments: Vec<String>,
}

/// The settings and the environment of a gateway to be started.
#[derive(Clone)]
pub(crate) struct Plan {
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
    files: Option<u32>,
}

impl Plan {
    /// Adds a setting.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Connects the gateway to `server`.
    pub(crate) fn redis(self, server: &RedisServer) -> Self {
        self.with("broker.url", &server.url())
    }

    /// Adds an environment variable.
    pub(crate) fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Limits the number of open files.
    pub(crate) fn files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// Mints a token with the secret of such a gateway.
    #[track_caller]
    pub(crate) fn mint(&self, arguments: &[&str]) -> String {
        let own = arguments.iter().map(|&argument| argument.to_owned());
        let command: Vec<_> = self.arguments.iter().cloned().chain(["token".to_owned()]).chain(own).collect();
        let ended = run(&command);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        ended.out.trim_end().to_owned()
    }

    /// Starts the gateway and waits until it listens on both ports.
    #[track_caller]
    pub(crate) fn spawn(&self) -> TestGateway {
        let mut process = match self.files {
            None => Process::start(&self.arguments, &self.environment),
            Some(files) => Process::start_with_files(files, &self.arguments, &self.environment),
        };
        let mut listening = |port| {
            let address = process.wait_for_stderr(&format!("{port}: listening on "));
            address.split([' ', '"']).next().unwrap().parse().unwrap()
        };
        let (public, admin) = (listening("public"), listening("admin"));
        TestGateway { process, public, admin, arguments: self.arguments.clone() }
    }
}

impl TestGateway {
    /// Starts a gateway with the development profile.
    #[track_caller]
    pub(crate) fn spawn() -> Self {
        Self::plan().spawn()
    }

    /// Plans a gateway with one setting.
    pub(crate) fn with(key: &str, value: &str) -> Plan {
        Self::plan().with(key, value)
    }

    /// Plans a gateway that uses this Redis.
    pub(crate) fn redis(server: &RedisServer) -> Plan {
        Self::plan().redis(server)
    }

    /// Plans a gateway with the development profile.
    pub(crate) fn plan() -> Plan {
        Plan { arguments: Vec::new(), environment: Vec::new(), files: None }
            .with("server.public_addr", "127.0.0.1:0")
            .with("server.admin_addr", "127.0.0.1:0")
            .with("server.workers", "2")
            // A machine that runs all tests at once may stall for longer than the default timeout.
            .with("broker.probe_timeout", "10s")
    }

    /// Connects a version 1 client.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.public, Version::V1)
    }

    /// Connects a version 2 client.
    #[track_caller]
    pub(crate) fn connect_v2(&self) -> Client {
        Client::connect(self.public, Version::V2)
    }

    /// Connects a client to a path; the query selects the version.
    pub(crate) fn try_connect(&self, path: &str) -> Result<Client, Refused> {
        let version = if path.contains("v=2") { Version::V2 } else { Version::V1 };
        Client::try_connect(self.public, path, version)
    }

    /// Connects a version 1 client and identifies it as `user`, whose id is its token.
    #[track_caller]
    pub(crate) fn ready_client(&self, user: &str) -> Client {
        let mut client = self.connect();
        client.identify(user);
        client.expect_text(&format!(r#"{{"op":2,"user":"{user}"}}"#));
        client
    }

    /// Publishes over HTTP.
    #[track_caller]
    pub(crate) fn publish(&self, channel: &str, json: &str) {
        let answer = self.post("/v1/publish", &format!(r#"{{"channel":"{channel}","message":{json}}}"#));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Publishes durably over HTTP; returns the position.
    #[track_caller]
    pub(crate) fn publish_durably(&self, channel: &str, json: &str) -> String {
        let body = format!(r#"{{"channel":"{channel}","durable":true,"message":{json}}}"#);
        let answer = self.post("/v1/publish", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["position"].as_str().unwrap().to_owned()
    }

    /// Sends a POST request to the admin port.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        http::request(self.admin, &format!("POST {path} HTTP/1.1\nconnection: close"), body)
    }

    /// Sends a GET request to the admin port.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::request(self.admin, &format!("GET {path} HTTP/1.1\nconnection: close"), "")
    }

    /// Returns the status of `/readyz` and the reasons for not being ready.
    #[track_caller]
    pub(crate) fn readyz(&self) -> (u16, Vec<String>) {
        let answer = self.get("/readyz");
        let reasons: Vec<String> = serde_json::from_value(answer.json()["reasons"].clone()).unwrap();
        assert_eq!(answer.json()["ready"], Value::Bool(answer.status == 200));
        assert_eq!(reasons.is_empty(), answer.status == 200, "{reasons:?}");
        (answer.status, reasons)
    }

    /// Waits until the gateway is ready.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        eventually_eq(SOON, &(200, vec![]), || self.readyz());
    }

    /// Waits until the gateway is not ready for a reason that contains `text`.
    #[track_caller]
    pub(crate) fn wait_not_ready(&self, text: &str) {
        eventually(SOON, || {
            let (status, reasons) = self.readyz();
            (status == 503 && reasons.iter().any(|reason| reason.contains(text))).then_some(())
        });
    }

    /// Reads every metric by its full name with labels.
    #[track_caller]
    pub(crate) fn metrics(&self) -> HashMap<String, f64> {
        let page = self.get("/metrics").body;
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Reads one metric by its name without the prefix; 0 if it does not exist.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> i64 {
        self.metrics().get(&format!("gateway_{name}")).map_or(0, |value| *value as i64)
    }

    /// The number of sockets closed with this code.
    #[track_caller]
    pub(crate) fn closes(&self, code: u16) -> i64 {
        self.metric(&format!("websocket_closes_total{{code=\"{code}\"}}"))
    }

    /// The number of publications dropped for this reason.
    #[track_caller]
    pub(crate) fn dropped(&self, reason: &str) -> i64 {
        self.metric(&format!("publications_dropped_total{{reason=\"{reason}\"}}"))
    }

    /// Waits until a metric has this value.
    #[track_caller]
    pub(crate) fn wait_metric(&self, name: &str, value: i64) {
        eventually_eq(SOON, &value, || self.metric(name));
    }

    /// Waits until a metric is above this value.
    #[track_caller]
    pub(crate) fn wait_metric_above(&self, name: &str, value: i64) {
        eventually(SOON, || (self.metric(name) > value).then_some(()));
    }

    /// Waits until no client and no state of a client is left.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        const ALL: [&str; 8] = [
            "handshakes",
            "connections",
            "sessions",
            "subscriptions",
            "channels",
            "users",
            "outbound_queued_bytes",
            "hub_inbox_bytes",
        ];
        eventually_eq(SOON, &ALL.map(|name| (name, 0)), || {
            let metrics = self.metrics();
            ALL.map(|name| (name, metrics[&format!("gateway_{name}")] as i64))
        });
    }

    /// Runs another command of the binary with this gateway's settings and addresses.
    #[track_caller]
    pub(crate) fn command(&self, arguments: &[&str]) -> Ended {
        run(&self.command_line(arguments))
    }

    /// Starts a command as [`command`](Self::command) does, without waiting for its end.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Process {
        Process::start(&self.command_line(arguments), &[])
    }

    fn command_line(&self, arguments: &[&str]) -> Vec<String> {
        let addresses =
            [format!("server.public_addr={}", self.public), format!("server.admin_addr={}", self.admin)];
        let addresses = addresses.into_iter().flat_map(|setting| ["--set".to_owned(), setting]);
        let own = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments.iter().cloned().chain(addresses).chain(own).collect()
    }

    /// Mints a token with this gateway's secret.
    #[track_caller]
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        Plan { arguments: self.arguments.clone(), environment: Vec::new(), files: None }.mint(arguments)
    }

    /// Starts an orderly shutdown.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// The number of open files and sockets.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn open_files(&self) -> usize {
        self.process.open_files()
    }

    /// The ids of the threads with this name.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn threads(&self, name: &str) -> Vec<i32> {
        self.process.threads(name)
    }

    /// The peak memory of the process so far, in KiB.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }

    /// Waits for the process to exit.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> Ended {
        self.process.wait()
    }

    /// Waits until a line of the log contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        self.process.wait_for_stderr(text);
    }

    /// Stops reading the log until the guard is dropped.
    pub(crate) fn block_log_reader(&self) -> MutexGuard<'_, Vec<String>> {
        self.process.block_stderr_reader()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.process.err()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&self.log());
        } else if !self.process.has_ended() {
            self.assert_empty();
        }
    }
}

#[allow(clippy::print_stderr, reason = "the log helps to understand a failure")]
fn show(log: &str) {
    eprintln!("--- the gateway's log:\n{log}---");
}

/// Formats a duration as the settings expect it.
pub(crate) fn ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
