//! Many clients resume at once on a channel with a large history. The cost of a read for Redis must depend on what a
//! client may receive, not on what is stored, and a read must not delay other channels.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use redis::{Connection, cmd};
use serde_json::json;

use super::*;
use crate::support::client::{Client, Version};

const CLIENTS: usize = 40;
const MESSAGES: usize = 64;
const MESSAGE_BYTES: usize = 1_000_000;
/// The memory that Redis may use in addition while the clients resume, including its output buffers.
const MAX_GROWTH_BYTES: usize = 100_000_000;
/// The latency of another channel while the clients resume. The bound is generous: without load it is below 1 ms.
const MAX_NEIGHBOUR_LATENCY: Duration = Duration::from_secs(1);
const LARGE: &str = "public:large";
const SMALL: &str = "public:small";

struct Crowd {
    gateways: [TestGateway; 2],
    redis: RedisServer,
    /// The positions of the large messages.
    positions: Vec<String>,
}

/// The result of a run.
struct Resumed {
    /// The number of clients that received everything they missed.
    recovered: usize,
    /// The highest latency on another channel.
    worst: Duration,
}

impl Crowd {
    #[track_caller]
    fn start(max_outbound_bytes: &str) -> Self {
        let redis = RedisServer::start();
        let plan = TestGateway::redis(&redis)
            .with("broker.probe_interval", "100ms")
            // A delay on a busy machine must not count as a probe that Redis was too busy to answer.
            .with("broker.probe_timeout", "5s")
            .with("session.max_outbound_bytes", max_outbound_bytes)
            .with("session.write_timeout", "1m")
            .with("channels.public_namespaces", "public");
        let gateways = [(); 2].map(|()| plan.spawn());
        gateways.iter().for_each(TestGateway::wait_ready);
        let mut backend = redis.client();
        let message = format!("\"{}\"", "x".repeat(MESSAGE_BYTES - 2));
        let positions = (0..MESSAGES).map(|_| publish(&mut backend, LARGE, &message)).collect();
        Self { gateways, redis, positions }
    }

    /// How often the replicas have lost their links.
    fn link_losses(&self) -> f64 {
        let metrics = self.gateways.iter().flat_map(TestGateway::metrics);
        metrics
            .filter(|(name, _)| name.starts_with("gateway_redis_link_losses_total"))
            .map(|(_, count)| count)
            .sum()
    }

    /// Lets all clients resume at once; `had` returns how many messages a client already has. Returns once each client
    /// has received what it missed, or `"recovered":false`.
    #[track_caller]
    fn resume_all(&self, had: impl Fn(usize) -> usize + Sync) -> Resumed {
        let mut backend = self.redis.client();
        let (used, losses) = (memory(&mut backend, "used_memory"), self.link_losses());
        let mut neighbour = Client::connect(self.gateways[0].public, Version::V2).answering_heartbeats();
        neighbour.send_text(&json!({"op": 1, "token": "7", "channels": [{"channel": SMALL}]}).to_string());
        neighbour.expect_ready();
        let before = Latencies::measure(&mut backend, &mut neighbour, || true);
        let (barrier, is_over) = (Barrier::new(CLIENTS + 1), AtomicBool::new(false));
        let (recovered, not_ready) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let meanwhile = std::thread::scope(|scope| {
            let crowd: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (barrier, recovered, had) = (&barrier, &recovered, had(number));
                    scope.spawn(move || {
                        recovered.fetch_add(self.resume(number, had, barrier), Ordering::SeqCst)
                    })
                })
                .collect();
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let missing = self.gateways.iter().filter(|gateway| gateway.readyz().0 != 200).count();
                    not_ready.fetch_add(missing, Ordering::SeqCst);
                    hold(Duration::from_millis(20));
                }
            });
            barrier.wait();
            let is_served = || crowd.iter().all(ScopedJoinHandle::is_finished);
            let meanwhile = Latencies::measure(&mut backend, &mut neighbour, is_served);
            let ended: Vec<_> = crowd.into_iter().map(|client| client.join().is_ok()).collect();
            is_over.store(true, Ordering::SeqCst);
            assert!(ended.into_iter().all(|is_ok| is_ok), "a client got no answer");
            meanwhile
        });
        let growth = memory(&mut backend, "used_memory_peak").saturating_sub(used);
        let report = format!(
            "Redis grew by {} MB, {} probes failed, the latency of another channel was {meanwhile:?}, before {before:?}",
            growth / 1_000_000,
            not_ready.load(Ordering::SeqCst)
        );
        assert_eq!(self.link_losses(), losses, "a link was lost: {report}");
        assert!(growth < MAX_GROWTH_BYTES && not_ready.into_inner() == 0, "{report}");
        print_report(&report);
        Resumed { recovered: recovered.into_inner(), worst: meanwhile.worst }
    }

    /// Resumes one client. Returns 1 if it received what it missed, else 0.
    fn resume(&self, number: usize, had: usize, barrier: &Barrier) -> usize {
        let mut client =
            Client::connect(self.gateways[number % 2].public, Version::V2).answering_heartbeats();
        let since = &self.positions[had - 1];
        barrier.wait();
        let channels = json!([{"channel": LARGE, "since": since}]);
        client.send_text(&json!({"op": 1, "token": "42", "channels": channels}).to_string());
        let ready = client.expect_ready();
        let channels = ready["channels"].as_array().unwrap();
        let mut answer = channels.iter().find(|channel| channel["channel"] == LARGE).unwrap().clone();
        while answer["state"] == "recovering" {
            let frame = client.next_json();
            if frame["op"] == 6 && frame["channel"] == LARGE {
                answer = frame;
            }
        }
        if answer["recovered"] != true {
            return 0;
        }
        let mut missed = self.positions[had..].iter().peekable();
        while let Some(position) = missed.peek() {
            let frame = client.next_json();
            if frame["channel"] == LARGE {
                assert_eq!((&frame["op"], &frame["position"]), (&json!(3), &json!(position)));
                missed.next();
            }
        }
        1
    }
}

fn publish(backend: &mut Connection, channel: &str, message: &str) -> String {
    cmd("FCALL")
        .arg("gateway_publish")
        .arg(1)
        .arg(format!("gateway:{channel}"))
        .arg(message)
        .query(backend)
        .unwrap()
}

/// A value of `INFO memory`. The peak is exact, because Redis updates it after each command.
fn memory(backend: &mut Connection, name: &str) -> usize {
    let info: redis::InfoDict = cmd("INFO").arg("memory").query(backend).unwrap();
    info.get(name).unwrap()
}

/// The times from publishing a message on another channel to receiving it.
#[derive(Debug)]
struct Latencies {
    #[allow(dead_code, reason = "only the debug output reads it")]
    median: Duration,
    worst: Duration,
}

impl Latencies {
    /// Measures at least ten messages, and more until `is_over` returns true.
    fn measure(backend: &mut Connection, neighbour: &mut Client, is_over: impl Fn() -> bool) -> Self {
        let mut latencies = Vec::new();
        while latencies.len() < 10 || !is_over() {
            let (number, start) = (latencies.len(), Instant::now());
            publish(backend, SMALL, &number.to_string());
            while neighbour.next_json()["message"] != number {}
            latencies.push(start.elapsed());
        }
        latencies.sort();
        Self { median: latencies[latencies.len() / 2], worst: latencies[latencies.len() - 1] }
    }
}

#[allow(clippy::print_stderr, reason = "the figures serve to compare two versions")]
fn print_report(report: &str) {
    eprintln!("{report}");
}

#[test]
fn clients_that_missed_too_much_cost_redis_little() {
    // One message is larger than what a client may recover.
    let crowd = Crowd::start("1048576");
    let Resumed { recovered, worst } = crowd.resume_all(|number| 1 + number % 8);
    assert_eq!(recovered, 0);
    assert!(worst < MAX_NEIGHBOUR_LATENCY, "the latency of another channel was {worst:?}");
}

#[test]
fn clients_that_recover_megabytes_cost_redis_little() {
    // Each client misses four to seven messages and may recover eight.
    let crowd = Crowd::start("16777216");
    assert_eq!(crowd.resume_all(|number| MESSAGES - 4 - number % 4).recovered, CLIENTS);
}
