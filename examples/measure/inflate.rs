//! Measures the cost of receiving compressed messages, compared with the same messages uncompressed.

use protocol::deflate::deflate;
use rand::Rng as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::DEADLINE;
use crate::client::{Frames, frame, identify};
use crate::process::Gateway;

/// How many clients send. Each client sends its next message when the previous one has been answered.
const CLIENTS: usize = 10;
/// How many sockets hold an incomplete message.
const OPEN_MESSAGES: usize = 1_000;
/// The default of `session.max_message_bytes`.
const MAX_MESSAGE_BYTES: usize = 65_536;

/// A heartbeat, which the gateway answers, with an extra member, which it ignores.
fn heartbeat(padding: &str) -> Vec<u8> {
    format!(r#"{{"op":10,"time":1579276740336,"more":"{padding}"}}"#).into_bytes()
}

pub(crate) async fn measure(messages: usize) {
    let room = MAX_MESSAGE_BYTES - heartbeat("").len();
    let words = "the quick brown fox jumps over the lazy dog; ".repeat(MAX_MESSAGE_BYTES / 40);
    let mut random = vec![0; room];
    rand::rng().fill_bytes(&mut random);
    let random: String = random.iter().map(|byte| char::from(b'0' + byte % 64).to_string()).collect();
    let random = random.replace('\\', "-");
    println!("CPU per message received and answered, {CLIENTS} clients, one message in flight each:");
    for (name, message, count) in [
        ("a heartbeat", br#"{"op":10,"time":1579276740336}"#.to_vec(), messages),
        ("200 bytes of text", heartbeat(&words[..158]), messages),
        ("64 KiB of repetitive text", heartbeat(&words[..room]), messages / 10),
        ("64 KiB of random characters", heartbeat(&random), messages / 10),
        ("64 KiB of one character", heartbeat(&"x".repeat(room)), messages / 10),
    ] {
        measure_cpu(name, &message, count).await;
    }
    println!("RSS per socket with an incomplete message, {OPEN_MESSAGES} sockets:");
    let large = heartbeat(&words[..room]);
    let partial = &large[..60_000];
    for (name, first, payload) in [
        ("one byte, plain", 0x01, b"{".to_vec()),
        ("one byte, compressed", 0x41, deflate(b"{").to_vec()),
        ("60 000 bytes, plain", 0x01, partial.to_vec()),
        ("60 000 bytes, compressed", 0x41, deflate(partial).to_vec()),
    ] {
        measure_memory(name, first, &payload).await;
    }
}

async fn measure_cpu(name: &str, message: &[u8], count: usize) {
    let (plain, deflated) = (frame(0x81, message), frame(0xC1, &deflate(message)));
    let gateway = start();
    let mut costs = [0.0; 2];
    for (wire, cost) in [&plain, &deflated].into_iter().zip(&mut costs) {
        // Warms threads, buffers and caches before the measurement.
        run_clients(&gateway, wire, count / 10).await;
        let before = gateway.process.cpu_seconds();
        run_clients(&gateway, wire, count).await;
        *cost = (gateway.process.cpu_seconds() - before) * 1e6 / count as f64;
    }
    println!(
        "  {name}: {:.1} µs plain ({} bytes), {:.1} µs compressed ({} bytes)",
        costs[0],
        plain.len(),
        costs[1],
        deflated.len()
    );
}

fn start() -> Gateway {
    Gateway::start("memory:", &["server.compression=true", "session.message_timeout=10m"])
}

/// Sends the message `count` times in total, from all clients concurrently.
async fn run_clients(gateway: &Gateway, wire: &[u8], count: usize) {
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let stream = identify(gateway.public, index, true).await;
        clients.push(spawn_local(run_client(stream, wire.to_vec(), count / CLIENTS)));
    }
    for client in clients {
        client.await.unwrap();
    }
}

async fn run_client(mut stream: TcpStream, wire: Vec<u8>, count: usize) {
    let mut frames = Frames::default();
    for _ in 0..count {
        stream.write_all(&wire).await.unwrap();
        let mut is_answered = false;
        while !is_answered {
            let on_frame = |payload: &[u8]| is_answered |= payload.starts_with(br#"{"op":11"#);
            assert!(timeout(DEADLINE, frames.read(&stream, on_frame)).await.unwrap(), "a client was closed");
        }
    }
}

async fn measure_memory(name: &str, first: u8, payload: &[u8]) {
    let gateway = start();
    let mut streams = Vec::new();
    for index in 0..OPEN_MESSAGES {
        streams.push(identify(gateway.public, index, true).await);
    }
    let before = gateway.process.resident_bytes();
    let wire = frame(first, payload);
    for stream in &mut streams {
        stream.write_all(&wire).await.unwrap();
    }
    // Nothing reports when the gateway has read everything, so this waits until memory has not grown for a second.
    let mut after = before;
    loop {
        sleep(std::time::Duration::from_secs(1)).await;
        let now = gateway.process.resident_bytes();
        if now <= after {
            break;
        }
        after = now;
    }
    println!(
        "  {name}: {:.1} KiB for {} bytes sent; peak {:.1} MiB in total",
        (after - before) / OPEN_MESSAGES as f64 / 1_024.0,
        wire.len(),
        gateway.process.peak_bytes() / 1_048_576.0
    );
}
