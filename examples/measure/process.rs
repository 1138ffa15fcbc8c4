//! The processes that are measured, and the kernel's accounts of them.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A Redis of our own.
pub(crate) struct Redis {
    pub(crate) process: Process,
    port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: apt-get install redis-server");
        Self { process: Process(child), port }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }
}

/// A gateway of our own, whose heartbeats are an hour apart.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) public: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    pub(crate) fn start(broker: &str, settings: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap().with_file_name("../emagine-gateway"))
            .args(["run", "--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--broker-url", broker])
            .args(["--set", "session.heartbeat_interval=1h", "--set", "session.heartbeat_grace=1h"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("build the gateway first: cargo build --release");
        let (public, admin) = listening_addresses(&mut child);
        Self { process: Process(child), public, admin }
    }

    /// One of its metrics by its full name; 0 when it was never counted.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// A process of ours, ended when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    fn stat(&self) -> Vec<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // Behind the name, which is in parentheses, field 3 of proc(5) comes first.
        stat.rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect()
    }

    /// The kernel counts in hundredths of a second.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.stat();
        (stat[11] + stat[12]) / 100.0
    }

    pub(crate) fn user_seconds(&self) -> f64 {
        self.stat()[11] / 100.0
    }

    /// The memory that it has now.
    pub(crate) fn resident_bytes(&self) -> f64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it has had.
    pub(crate) fn peak_bytes(&self) -> f64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Reads the gateway's log up to the lines that name its ports, and passes the rest over.
fn listening_addresses(gateway: &mut Child) -> (SocketAddr, SocketAddr) {
    let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let mut address = |port: &str| loop {
        let line = lines.next().expect("the gateway has ended").unwrap();
        if let Some((_, rest)) = line.split_once(port) {
            break rest.split_whitespace().next().unwrap().parse().unwrap();
        }
    };
    let addresses = (address("public: listening on "), address("admin: listening on "));
    std::thread::spawn(move || lines.for_each(drop));
    addresses
}
