//! Measures what a socket and a delivery cost the gateway, beside the floor: a loop that does nothing but write
//! prepared frames to the same number of sockets.
//!
//! `make measure` builds and runs it. It starts a Redis and a gateway of its own, opens sockets, and reads the
//! kernel's accounts of the processes (`/proc/<pid>`), so it runs on Linux only. Figures and how they were
//! taken are in `docs/performance.md`.
//!
//! Usage: `measure [SOCKETS [MESSAGES [deflate]]]`, 1000 and 200 by default. With `deflate` every client negotiates
//! permessage-deflate, and messages go out compressed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: it may stop where it fails"
)]

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use emagine_gateway::protocol::channel::ChannelName;
use emagine_gateway::protocol::publication::Publication;
use emagine_gateway::protocol::{Variant, Version};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// The message of every publication: 128 bytes with its braces.
const MESSAGE_BYTES: usize = 128;
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "floor") {
        return floor(arguments[2].parse().unwrap());
    }
    let number = |index: usize, default| arguments.get(index).map_or(default, |text| text.parse().unwrap());
    let (sockets, messages) = (number(1, 1_000), number(2, 200));
    let is_deflated = arguments.get(3).is_some_and(|argument| argument == "deflate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        println!("{sockets} sockets, {messages} messages of {MESSAGE_BYTES} bytes, one in flight");
        let floor = measure_floor(sockets, messages).await;
        let gateway = measure_gateway(sockets, messages, is_deflated).await;
        println!("floor:   {floor:.2} µs of CPU for each delivery");
        println!(
            "gateway: {gateway:.2} µs of CPU for each delivery ({:.2} times the floor)",
            gateway / floor
        );
    });
}

/// What all sockets have received, in bytes.
#[derive(Clone, Default)]
struct Received(Rc<(Cell<usize>, Cell<usize>, Notify)>);

impl Received {
    fn add(&self, bytes: usize) {
        let (received, awaited, reached) = &*self.0;
        received.set(received.get() + bytes);
        if received.get() >= awaited.get() {
            reached.notify_one();
        }
    }

    /// Waits until `bytes` more than now have come; call it before they are sent.
    async fn more(&self, bytes: usize, send: impl Future<Output = ()>) {
        let (received, awaited, reached) = &*self.0;
        awaited.set(received.get() + bytes);
        send.await;
        while received.get() < awaited.get() {
            timeout(DEADLINE, reached.notified()).await.expect("not everything has arrived");
        }
    }
}

/// One client: reads for ever into a small buffer and counts.
async fn read_on(stream: TcpStream, received: Received) {
    let mut buffer = [0; 2_048];
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => received.add(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn connect(address: SocketAddr, index: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Several source addresses: one has fewer than 30 000 ports.
    let source = Ipv4Addr::new(127, 0, 0, 2 + (index / 10_000) as u8);
    socket.bind((source, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Connects and sends the handshake and Identify in one write; reads until Ready has come.
async fn identify(address: SocketAddr, index: usize, is_deflated: bool) -> TcpStream {
    let mut stream = connect(address, index).await;
    let identify = format!(r#"{{"op":1,"token":"{index}"}}"#);
    let mut bytes =
        b"GET /gateway HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            .to_vec();
    if is_deflated {
        bytes.extend(b"Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend([0x81, 0x80 | identify.len() as u8, 0, 0, 0, 0]);
    bytes.extend(identify.bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut seen = Vec::new();
    while !seen.windows(7).any(|window| window == b"\"op\":2,") {
        stream.readable().await.unwrap();
        let mut buffer = [0; 1_024];
        match stream.try_read(&mut buffer) {
            Ok(length) if length > 0 => seen.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("no Ready: {other:?}"),
        }
    }
    stream
}

async fn measure_gateway(sockets: usize, messages: usize, is_deflated: bool) -> f64 {
    let redis_port = free_port();
    let redis = Process(
        Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &redis_port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is needed: apt-get install redis-server"),
    );
    let mut gateway = Process(
        Command::new(std::env::current_exe().unwrap().with_file_name("../emagine-gateway"))
            .args(["run", "--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--broker-url", &format!("redis://127.0.0.1:{redis_port}")])
            .args(["--set", "session.heartbeat_interval=1h", "--set", "session.heartbeat_grace=1h"])
            .args(["--set", &format!("server.compression={is_deflated}")])
            .env("RUST_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("build the gateway first: cargo build --release"),
    );
    let address = listening_address(&mut gateway.0);
    // Worker threads and their hubs exist before the count begins.
    drop(identify(address, 0, is_deflated).await);
    let before = gateway.resident_bytes();
    let mut streams = Vec::with_capacity(sockets);
    let started = gateway.cpu_seconds();
    for index in 0..sockets {
        streams.push(identify(address, index, is_deflated).await);
    }
    let connected = gateway.cpu_seconds() - started;
    let after = gateway.resident_bytes();
    println!(
        "gateway: {:.2} KiB of RSS for each idle identified socket",
        (after - before) / sockets as f64 / 1024.0
    );
    println!("gateway: {:.0} µs of CPU for each connect and Identify", connected * 1e6 / sockets as f64);

    let received = Received::default();
    for stream in streams {
        tokio::task::spawn_local(read_on(stream, received.clone()));
    }
    let message = format!("{{\"text\":\"{}\"}}", "x".repeat(MESSAGE_BYTES - 11));
    let publication = Publication::decode(ChannelName::all(), message.as_bytes(), 1_000).unwrap();
    let frame_bytes = publication.frame(Variant { version: Version::V1, is_deflated }).len();
    let command = format!("*3\r\n$7\r\nPUBLISH\r\n$11\r\ngateway:all\r\n${}\r\n{message}\r\n", message.len());
    let mut publisher = TcpStream::connect(("127.0.0.1", redis_port)).await.unwrap();
    let (cpu, redis_cpu) = (gateway.cpu_seconds(), redis.cpu_seconds());
    let user = gateway.user_seconds();
    for _ in 0..messages {
        let publish = async { publisher.write_all(command.as_bytes()).await.unwrap() };
        received.more(sockets * frame_bytes, publish).await;
    }
    let deliveries = (sockets * messages) as f64;
    println!("gateway: {:.2} µs of that are user time", (gateway.user_seconds() - user) * 1e6 / deliveries);
    println!(
        "Redis:   {:.2} µs of CPU for each publication",
        (redis.cpu_seconds() - redis_cpu) * 1e6 / messages as f64
    );
    (gateway.cpu_seconds() - cpu) * 1e6 / deliveries
}

async fn measure_floor(sockets: usize, messages: usize) -> f64 {
    let mut server = Process(
        Command::new(std::env::current_exe().unwrap())
            .args(["floor", &sockets.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().parse().unwrap();
    let received = Received::default();
    for index in 0..sockets {
        let stream = connect(address, index).await;
        tokio::task::spawn_local(read_on(stream, received.clone()));
    }
    let mut orders = server.0.stdin.take().unwrap();
    let cpu = server.cpu_seconds();
    for _ in 0..messages {
        let order = async { orders.write_all(b"!").unwrap() };
        received.more(sockets * FLOOR_FRAME_BYTES, order).await;
    }
    (server.cpu_seconds() - cpu) * 1e6 / (sockets * messages) as f64
}

/// As long as the gateway's frame for the same message.
const FLOOR_FRAME_BYTES: usize = MESSAGE_BYTES + 19 + 4;

/// The floor: accepts so many sockets, and writes one frame to each for every byte on standard input.
fn floor(sockets: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut streams: Vec<_> = (0..sockets).map(|_| listener.accept().unwrap().0).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).unwrap());
    let frame = [b'x'; FLOOR_FRAME_BYTES];
    for _ in BufReader::with_capacity(1, std::io::stdin()).bytes() {
        streams.iter_mut().for_each(|stream| stream.write_all(&frame).unwrap());
    }
}

/// A process of ours, ended when dropped.
struct Process(Child);

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
    fn cpu_seconds(&self) -> f64 {
        let stat = self.stat();
        (stat[11] + stat[12]) / 100.0
    }

    fn user_seconds(&self) -> f64 {
        self.stat()[11] / 100.0
    }

    fn resident_bytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
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

/// Reads the gateway's log up to the line that names its public port, and passes the rest over.
fn listening_address(gateway: &mut Child) -> SocketAddr {
    let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("the gateway has ended").unwrap();
        if let Some((_, rest)) = line.split_once("public: listening on ") {
            break rest.split_whitespace().next().unwrap().parse().unwrap();
        }
    };
    std::thread::spawn(move || lines.for_each(drop));
    address
}
