//! What others notice, and what the process holds, while one reader in a hundred is stalled.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

use crate::client::{Frames, frame, identify, identify_narrowly};
use crate::process::{Gateway, Redis};

/// The rate of the fan-out does not depend on how fast it is taken: an open loop.
const MESSAGES_PER_SECOND: u32 = 10;
const MESSAGE_BYTES: usize = 1_024;
/// `session.outbound_bytes`, the default.
const BOUND: f64 = 1_048_576.0;
/// How long things settle before a phase, and are waited for after it.
const PAUSE: Duration = Duration::from_secs(3);
/// The number of a phase whose messages are not counted.
const UNCOUNTED: usize = 0;

/// What the readers and the publisher share.
struct Shared {
    begun: Instant,
    phase: Cell<usize>,
    published: [Cell<usize>; 4],
    /// Latencies in microseconds, by phase.
    latencies: [RefCell<Vec<u32>>; 4],
    /// How often a stalled socket was cut and came back.
    returns: Cell<usize>,
}

/// Runs both variants: stalled readers that stay, and those that the default settings end.
pub(crate) async fn measure(sockets: usize, seconds: u64) {
    println!(
        "{sockets} sockets that read, {} that do not; {MESSAGES_PER_SECOND} messages a second of {MESSAGE_BYTES} bytes to all; \
         {seconds} s for each figure",
        sockets / 100
    );
    println!("stalled readers stay (session.write_timeout=10m):");
    run(sockets, seconds, &["session.write_timeout=10m"]).await;
    println!("stalled readers are ended and come back (defaults):");
    run(sockets, seconds, &[]).await;
}

async fn run(sockets: usize, seconds: u64, settings: &[&str]) {
    let redis = Redis::start();
    let gateway = Gateway::start(&redis.url(), settings);
    let shared = Rc::new(Shared {
        begun: Instant::now(),
        phase: Cell::new(UNCOUNTED),
        published: Default::default(),
        latencies: Default::default(),
        returns: Cell::new(0),
    });
    for index in 0..sockets {
        let stream = identify(gateway.public, index, false).await;
        tokio::task::spawn_local(read_on(stream, Rc::clone(&shared)));
    }
    let publisher = tokio::task::spawn_local(publish(redis.connect().await, Rc::clone(&shared)));
    phase(&shared, 1, seconds, &gateway).await;
    let before = gateway.process.resident_bytes();
    let count = sockets / 100;
    let stalled: Vec<_> = (0..count)
        .map(|index| tokio::task::spawn_local(stall(gateway.public, sockets + index, Rc::clone(&shared))))
        .collect();
    let (resident, queued) = phase(&shared, 2, seconds, &gateway).await;
    let (closes, returns) =
        (gateway.metric("gateway_closes_total{code=\"4008\"}").await, shared.returns.get());
    stalled.iter().for_each(tokio::task::JoinHandle::abort);
    phase(&shared, 3, seconds, &gateway).await;
    publisher.abort();

    for (name, number) in [("undisturbed", 1), ("with stalled", 2), ("afterwards", 3)] {
        report(name, &shared, number, sockets);
    }
    let p99 = |number: usize| f64::from(percentile(&shared.latencies[number].borrow(), 99));
    println!("  p99 with stalled readers: {:.2} times the undisturbed", p99(2) / p99(1));
    println!(
        "  RSS grew by at most {:.2} MiB; {count} times session.outbound_bytes are {:.0} MiB; at most {:.2} MiB waited",
        (resident - before) / BOUND,
        count as f64,
        queued / BOUND,
    );
    println!("  {closes} were closed with 4008, {returns} times one came back");
}

/// Lets things settle, then counts for so many seconds. Returns the most memory and the most bytes waiting meanwhile.
async fn phase(shared: &Shared, number: usize, seconds: u64, gateway: &Gateway) -> (f64, f64) {
    let (mut resident, mut queued) = (0.0_f64, 0.0_f64);
    sleep(PAUSE).await;
    shared.phase.set(number);
    for _ in 0..seconds {
        sleep(Duration::from_secs(1)).await;
        resident = resident.max(gateway.process.resident_bytes());
        queued = queued.max(gateway.metric("gateway_outbound_queued_bytes").await);
    }
    shared.phase.set(UNCOUNTED);
    sleep(PAUSE).await;
    (resident, queued)
}

/// Publishes at fixed times. A message carries the time at which it was due, so that what holds up the publisher
/// counts as well.
async fn publish(stream: TcpStream, shared: Rc<Shared>) {
    let (mut answers, mut commands) = stream.into_split();
    tokio::task::spawn_local(async move {
        let mut buffer = [0; 1_024];
        while answers.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
    let filling = "x".repeat(MESSAGE_BYTES - 48);
    for number in 1.. {
        let due = Duration::from_secs(1) / MESSAGES_PER_SECOND * number;
        sleep_until((shared.begun + due).into()).await;
        let (phase, at) = (shared.phase.get(), due.as_micros());
        let message = format!(r#"{{"phase":{phase},"at":"{at:016}","filling":"{filling}"}}"#);
        let command =
            format!("*3\r\n$7\r\nPUBLISH\r\n$11\r\ngateway:all\r\n${}\r\n{message}\r\n", message.len());
        commands.write_all(command.as_bytes()).await.unwrap();
        shared.published[phase].set(shared.published[phase].get() + 1);
    }
}

/// A reader that keeps up. Takes the time of every message.
async fn read_on(stream: TcpStream, shared: Rc<Shared>) {
    let mut frames = Frames::default();
    let take = |payload: &[u8]| {
        let Some(rest) = payload.strip_prefix(br#"{"op":3,"message":{"phase":"#) else { return };
        let phase = usize::from(rest[0] - b'0');
        let at: u64 = std::str::from_utf8(&rest[8..24]).unwrap().parse().unwrap();
        let latency = shared.begun.elapsed().as_micros() as u64 - at;
        shared.latencies[phase].borrow_mut().push(latency as u32);
    };
    // One that is closed is missed in the number of deliveries.
    while frames.read(&stream, take).await {}
}

/// A reader that reads nothing once it is Ready; when it has been cut it comes back. A kernel whose window is closed
/// may pass over a reset, so it says something now and then that needs no answer, and is told then.
async fn stall(address: SocketAddr, index: usize, shared: Rc<Shared>) {
    loop {
        let stream = identify_narrowly(address, index).await;
        while stream.take_error().unwrap().is_none() {
            sleep(Duration::from_secs(1)).await;
            let _ = stream.try_write(&frame(0x8A, b""));
        }
        shared.returns.set(shared.returns.get() + 1);
    }
}

fn report(name: &str, shared: &Shared, phase: usize, sockets: usize) {
    let mut latencies = shared.latencies[phase].borrow_mut();
    latencies.sort_unstable();
    let expected = shared.published[phase].get() * sockets;
    let ms = |percent| f64::from(percentile(&latencies, percent)) / 1_000.0;
    println!(
        "  {name:12} p50 {:6.2} ms, p99 {:6.2} ms, max {:6.2} ms; {} deliveries of {expected}",
        ms(50),
        ms(99),
        ms(100),
        latencies.len()
    );
}

/// Of sorted figures.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
