//! Redis and replicas fail at the same time, at random, and clients reconnect to any replica.
//!
//! All messages are durable and Redis keeps its data, so no history has a hole. Each client must receive every number
//! once and no gap.
//!
//! `FAULT_SEED=7 FAULT_RUNS=1 cargo test --test it random_faults_lose` repeats one run; `scripts/fault-runs` makes
//! many.
//!
//! - `faults`: the faults of a run, drawn from its seed
//! - `summary`: the results of the runs as a table

mod faults;
mod summary;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::redis_faults::WITH_DATA;
use super::*;
use faults::{ClientFaults, RedisFaults, ReplicaFaults};
use summary::{RunSummary, TABLE_HEAD, print};

/// How long faults are injected in one run.
const RUN: Duration = Duration::from_secs(8);
/// The number of runs without `FAULT_RUNS`.
const RUNS: u64 = 2;
const REPLICAS: usize = 3;

/// The time in which faults are injected, by its end.
#[derive(Clone, Copy)]
struct FaultWindow(Instant);

impl FaultWindow {
    fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// Waits for `time`, at most until the window ends.
    fn hold(self, time: Duration) {
        hold(time.min(self.0.saturating_duration_since(Instant::now())));
    }
}

/// The current address of each replica; a restarted replica has another port.
type Addresses = Mutex<Vec<std::net::SocketAddr>>;

/// Runs one seed. The faults depend only on the seed; their exact times also depend on the machine.
fn run(seed: u64) -> (RunSummary, String) {
    let pace = Duration::from_millis(1);
    let plan = Plan::new().replicas(REPLICAS).redis(&WITH_DATA);
    let mut run = plan.publishing(|publishing| publishing.pace = pace).start();
    let addresses = Mutex::new((0..REPLICAS).map(|replica| run.gateway_of(replica).public).collect());
    let window = FaultWindow(Instant::now() + RUN);
    std::thread::scope(|scope| {
        let Delivery { clients, client_proxies, replicas, redis, .. } = &mut run;
        scope.spawn(|| RedisFaults::new(seed, redis).run(window));
        scope.spawn(|| ReplicaFaults::new(seed, replicas, &addresses).run(window));
        scope.spawn(|| ClientFaults::new(seed, clients, client_proxies, &addresses).run(window));
    });
    // A replica may have restarted on another port after the clients were routed to it.
    (0..REPLICAS).for_each(|replica| run.route_clients(replica, replica));
    run.publish(5);
    run.publisher.pause();
    let verdicts = wait_until(&run, SOON, |verdicts| verdicts.are_valid() && verdicts.are_current());
    let summary = RunSummary::of(&run);
    // The summary does not count every kind of breach.
    let breaches = if verdicts.are_valid() && verdicts.are_current() && summary.is_clean() {
        String::new()
    } else {
        verdicts.describe()
    };
    (summary, breaches)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("FAULT_SEED and FAULT_RUNS are numbers"))
}

#[test]
fn random_faults_lose_and_duplicate_nothing_and_report_no_gap() {
    let first = number("FAULT_SEED", 1);
    let mut total = RunSummary::default();
    let mut failures = Vec::new();
    print(TABLE_HEAD);
    for seed in first..first + number("FAULT_RUNS", RUNS) {
        let (summary, breaches) = run(seed);
        print(&summary.row(&seed.to_string()));
        if !summary.is_clean() || !breaches.is_empty() {
            failures.push(format!("FAULT_SEED={seed}: {summary:?}\n{breaches}"));
        }
        total.add(&summary);
    }
    print(&total.row("all"));
    assert!(failures.is_empty(), "{} runs failed:\n{}", failures.len(), failures.join("\n"));
}
