//! Runs a real Redis for one test.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use super::certificates::{Authority, Certificate};
use super::deadline::eventually;
use super::ports::Port;

/// Arguments with which a server loads its data so slowly that only [`RedisServer::finish_loading`] ends it, and with
/// which `DEBUG POPULATE` adds keys.
pub(crate) const LOADING_SLOWLY: [&str; 6] = [
    "--enable-debug-command",
    "yes",
    "--loading-process-events-interval-bytes",
    "1024",
    "--key-load-delay",
    "500",
];

/// The distance from the port of a cluster's node to the port of its bus.
pub(crate) const BUS_OFFSET: u16 = 10_000;

/// The file with what the server prints. A failed start shows it.
const LOG: &str = "redis-server.log";

const START_DEADLINE: Duration = Duration::from_secs(10);

/// The absolute path of the program to start instead of the `redis-server` in the `PATH`. `scripts/engines` sets it.
const PROGRAM: &str = "GATEWAY_TEST_REDIS_SERVER";

/// A `redis-server` on a free port, in its own directory, without persistence. Killed on drop.
pub(crate) struct RedisServer {
    port: Port,
    /// Further ports of the server: with TLS, and that of a cluster's bus.
    more_ports: Vec<Port>,
    dir: TempDir,
    arguments: Vec<String>,
    password: Option<String>,
    /// The argument after the settings file; `None` starts without a settings file.
    mode: Option<&'static str>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments of `redis-server`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::reserve(arguments);
        server.restart();
        server
    }

    /// Starts a server that also accepts TLS, with a self-signed certificate. Returns the TLS port.
    pub(crate) fn start_with_tls() -> (Self, u16) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = Certificate { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() };
        let (mut server, port) = Self::reserve_tls(&certificate, &certificate.certificate, "no");
        server.restart();
        (server, port)
    }

    /// Starts a server that also accepts TLS and requires client certificates; `authority` signs both sides. Returns
    /// the TLS port.
    pub(crate) fn start_with_authority(authority: &Authority) -> (Self, u16) {
        let (mut server, port) = Self::reserve_with_authority(authority);
        server.restart();
        (server, port)
    }

    /// Prepares the same server without starting it.
    pub(crate) fn reserve_with_authority(authority: &Authority) -> (Self, u16) {
        Self::reserve_tls(&authority.issue(), &authority.pem, "yes")
    }

    fn reserve_tls(own: &Certificate, authority: &str, asks_clients: &str) -> (Self, u16) {
        let tls_port = Port::any();
        let port = tls_port.number().to_string();
        let arguments = ["--tls-port", &port, "--tls-auth-clients", asks_clients, "--tls-replication", "yes"];
        let files =
            ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"];
        let mut server = Self::reserve(&[&arguments[..], &files[..]].concat());
        for (name, pem) in [("cert.pem", &*own.certificate), ("key.pem", &own.key), ("ca.pem", authority)] {
            fs::write(server.file(name), pem).unwrap();
        }
        let number = tls_port.number();
        server.more_ports.push(tls_port);
        (server, number)
    }

    /// Prepares a server without starting it; its port is already known.
    pub(crate) fn reserve(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let password = password_of(&arguments);
        let (port, dir) = (Port::any(), TempDir::new().unwrap());
        Self { port, more_ports: Vec::new(), dir, arguments, password, mode: None, child: None }
    }

    /// Changes the further arguments of `redis-server` from the next start on.
    pub(crate) fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&argument| argument.into()).collect();
    }

    /// Prepares a node of a cluster. With `tls`, it also accepts TLS with the certificate and the authority in PEM.
    /// Returns the TLS port.
    pub(crate) fn reserve_node(arguments: &[&str], tls: Option<(&Certificate, &str)>) -> (Self, Option<u16>) {
        let (mut server, tls_port) = match tls {
            None => (Self::reserve(arguments), None),
            Some((certificate, authority)) => {
                let (mut server, port) = Self::reserve_tls(certificate, authority, "no");
                server.arguments.extend(arguments.iter().map(|&argument| argument.into()));
                server.arguments.extend(["--tls-cluster", "yes"].map(str::to_owned));
                server.password = password_of(&server.arguments);
                (server, Some(port))
            }
        };
        let [port, bus] = Port::any_two(BUS_OFFSET);
        server.arguments.extend(["--cluster-port".to_owned(), bus.number().to_string()]);
        server.port = port;
        server.more_ports.push(bus);
        (server, tls_port)
    }

    /// Makes the server read `redis.conf` in its directory, followed by the argument `mode`.
    pub(crate) fn with_settings_file(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The port without TLS.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// The path of a file in the server's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The URL, without a password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// The address that the server listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// The URL with a password.
    pub(crate) fn url_with(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}", self.port())
    }

    /// The password of the default user.
    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Opens a blocking connection for the test itself.
    pub(crate) fn client(&self) -> redis::Connection {
        self.try_client().unwrap()
    }

    /// Opens a connection to a server that may be down.
    #[allow(clippy::disallowed_methods, reason = "a test's own connection may block")]
    pub(crate) fn try_client(&self) -> redis::RedisResult<redis::Connection> {
        let url = self.password.as_ref().map_or_else(|| self.url(), |password| self.url_with(password));
        redis::Client::open(url)?.get_connection()
    }

    /// Kills the server, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts or restarts the server on its port and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.launch();
        self.wait_up();
    }

    /// Starts or restarts the server without waiting for it.
    pub(crate) fn launch(&mut self) {
        self.kill();
        self.child = Some(self.spawn());
    }

    /// Waits until the server answers.
    #[track_caller]
    pub(crate) fn wait_up(&mut self) {
        let ended = eventually(START_DEADLINE, || {
            let child = self.child.as_mut().expect("launched");
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Some(status));
            }
            TcpStream::connect(self.address()).ok()?;
            redis::cmd("PING").exec(&mut self.try_client().ok()?).ok().map(|()| None)
        });
        if let Some(status) = ended {
            panic!(
                "redis-server ended with {status}: {}",
                fs::read_to_string(self.file(LOG)).unwrap_or_default()
            );
        }
        self.assert_own();
    }

    /// Another server may have taken the port after it was found free.
    #[track_caller]
    fn assert_own(&self) {
        let info: redis::RedisResult<String> = redis::cmd("INFO").arg("server").query(&mut self.client());
        let id = format!("process_id:{}\r", self.child.as_ref().unwrap().id());
        assert!(info.is_ok_and(|info| info.contains(&id)), "another server has the port {}", self.port());
    }

    /// Starts the server with [`LOADING_SLOWLY`], and waits until it answers that it is loading its data.
    pub(crate) fn start_loading(&mut self) {
        self.launch();
        eventually(START_DEADLINE, || {
            let answer = redis::cmd("PING").exec(&mut self.try_client().ok()?);
            answer.is_err_and(|error| error.code() == Some("LOADING")).then_some(())
        });
    }

    /// Lets a server that [loads its data](Self::start_loading) do so at once, and waits until it has.
    pub(crate) fn finish_loading(&self) {
        let mut client = self.client();
        redis::cmd("CONFIG").arg("SET").arg("key-load-delay").arg(0).exec(&mut client).unwrap();
        eventually(START_DEADLINE, || redis::cmd("PING").exec(&mut client).ok());
    }

    /// Whether the server has been started and not killed.
    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Freezes the server: its sockets stay open and it answers nothing.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Resumes the server after [`stop`](Self::stop).
    pub(crate) fn cont(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn spawn(&self) -> Child {
        let port = self.port().to_string();
        let log = File::options().create(true).append(true).open(self.file(LOG)).unwrap();
        let program = env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("redis-server"));
        let spawned = Command::new(&program)
            .args(self.mode.map(|_| "redis.conf"))
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .args(self.mode)
            .current_dir(self.dir.path())
            .stdout(log)
            .spawn();
        match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("these tests need redis-server: `apt-get install redis-server` (`make test` does it)")
            }
            Err(error) => panic!("{} did not start: {error}", program.display()),
        }
    }
}

fn password_of(arguments: &[String]) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == "--requirepass")?;
    Some(arguments[at + 1].clone())
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
