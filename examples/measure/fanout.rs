//! What a socket and a delivery cost, beside the floor: a loop that does nothing but write prepared frames to the same
//! number of sockets.

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::rc::Rc;

use emagine_gateway::protocol::channel::ChannelName;
use emagine_gateway::protocol::publication::Publication;
use emagine_gateway::protocol::{Variant, Version};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::DEADLINE;
use crate::client::{connect, identify};
use crate::process::{Gateway, Process, Redis};

/// The message of every publication: 128 bytes with its braces.
const MESSAGE_BYTES: usize = 128;

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

pub(crate) async fn measure(sockets: usize, messages: usize, is_deflated: bool) {
    println!("{sockets} sockets, {messages} messages of {MESSAGE_BYTES} bytes, one in flight");
    let floor = measure_floor(sockets, messages).await;
    let gateway = measure_gateway(sockets, messages, is_deflated).await;
    println!("floor:   {floor:.2} µs of CPU for each delivery");
    println!("gateway: {gateway:.2} µs of CPU for each delivery ({:.2} times the floor)", gateway / floor);
}

async fn measure_gateway(sockets: usize, messages: usize, is_deflated: bool) -> f64 {
    let redis = Redis::start();
    let compression = format!("server.compression={is_deflated}");
    let gateway = Gateway::start(&redis.url(), &[&compression]);
    let address = gateway.public;
    // Worker threads and their hubs exist before the count begins.
    drop(identify(address, 0, is_deflated).await);
    let before = gateway.process.resident_bytes();
    let mut streams = Vec::with_capacity(sockets);
    let started = gateway.process.cpu_seconds();
    for index in 0..sockets {
        streams.push(identify(address, index, is_deflated).await);
    }
    let connected = gateway.process.cpu_seconds() - started;
    let after = gateway.process.resident_bytes();
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
    let mut publisher = redis.connect().await;
    let (cpu, redis_cpu) = (gateway.process.cpu_seconds(), redis.process.cpu_seconds());
    let user = gateway.process.user_seconds();
    for _ in 0..messages {
        let publish = async { publisher.write_all(command.as_bytes()).await.unwrap() };
        received.more(sockets * frame_bytes, publish).await;
    }
    let deliveries = (sockets * messages) as f64;
    println!(
        "gateway: {:.2} µs of that are user time",
        (gateway.process.user_seconds() - user) * 1e6 / deliveries
    );
    println!(
        "Redis:   {:.2} µs of CPU for each publication",
        (redis.process.cpu_seconds() - redis_cpu) * 1e6 / messages as f64
    );
    (gateway.process.cpu_seconds() - cpu) * 1e6 / deliveries
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
pub(crate) fn floor(sockets: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut streams: Vec<_> = (0..sockets).map(|_| listener.accept().unwrap().0).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).unwrap());
    let frame = [b'x'; FLOOR_FRAME_BYTES];
    for _ in BufReader::with_capacity(1, std::io::stdin()).bytes() {
        streams.iter_mut().for_each(|stream| stream.write_all(&frame).unwrap());
    }
}
