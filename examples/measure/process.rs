//! Starts the measured process, and reads its CPU time and memory from the kernel.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A gateway with a heartbeat every hour, so that heartbeats do not disturb the measurement.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) public: SocketAddr,
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
            .expect("cannot start the gateway; build it with cargo build --release");
        let public = listening_address(&mut child);
        Self { process: Process(child), public }
    }
}

/// A child process. Dropping it kills the process.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    fn stat(&self) -> Vec<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // The text after the name in parentheses begins with field 3 of proc(5).
        stat.rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect()
    }

    /// User and system time. The kernel counts hundredths of a second.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = self.stat();
        (stat[11] + stat[12]) / 100.0
    }

    /// The resident memory now.
    pub(crate) fn resident_bytes(&self) -> f64 {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory so far.
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

/// Reads the gateway's log up to the line with its public address. A thread discards the rest of the log.
fn listening_address(gateway: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the gateway ended before it listened").unwrap();
        if let Some((_, rest)) = line.split_once("public: listening on ") {
            break rest.split_whitespace().next().unwrap().parse().unwrap();
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    address
}
