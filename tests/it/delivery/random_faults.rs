//! Redis and replicas fail at random, at the same time, and clients come back to any replica.
//!
//! Every channel carries durable messages only and Redis keeps its data, so each history is whole. A client must hear
//! every number once, and must not hear of a gap.
//!
//! `FAULT_SEED=7 FAULT_RUNS=1 cargo test --test it random_faults_lose` repeats one run; `scripts/fault-runs` makes many.

mod faults;
mod tally;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::redis_faults::WITH_DATA;
use super::*;
use faults::{OfClients, OfRedis, OfReplicas};
use tally::{HEAD, Tally, print};

/// How long things fail in one run.
const RUN: Duration = Duration::from_secs(8);
/// Runs of an ordinary test.
const RUNS: u64 = 2;
const REPLICAS: usize = 3;

/// Everything that fails lasts until this instant.
#[derive(Clone, Copy)]
struct Until(Instant);

impl Until {
    fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// Waits, but no longer than things fail.
    fn hold(self, time: Duration) {
        hold(time.min(self.0.saturating_duration_since(Instant::now())));
    }
}

/// Where clients may go: replicas come back on other ports.
type Addresses = Mutex<Vec<std::net::SocketAddr>>;

/// One run. Its faults depend on the seed alone; when they strike depends on the machine, too.
fn run(seed: u64) -> (Tally, String) {
    let pace = Duration::from_millis(1);
    let plan = Plan::new().replicas(REPLICAS).redis(&WITH_DATA);
    let mut run = plan.publishing(|publishing| publishing.pace = pace).start();
    let addresses = Mutex::new((0..REPLICAS).map(|replica| run.gateway_of(replica).public).collect());
    let until = Until(Instant::now() + RUN);
    std::thread::scope(|scope| {
        let Delivery { clients, doors, replicas, redis, .. } = &mut run;
        scope.spawn(|| OfRedis::new(seed, redis).run(until));
        scope.spawn(|| OfReplicas::new(seed, replicas, &addresses).run(until));
        scope.spawn(|| OfClients::new(seed, clients, doors, &addresses).run(until));
    });
    // The last replica may have come back on its new port after the clients were led there.
    (0..REPLICAS).for_each(|replica| run.lead(replica, replica));
    run.publish(5);
    run.publisher.pause();
    let verdicts = wait_until(&run, SOON, |verdicts| verdicts.are_well() && verdicts.are_current());
    let tally = Tally::of(&run);
    // Another breach than those that are counted is a failure of the run, too.
    let breaches = if verdicts.are_well() && verdicts.are_current() && tally.is_clean() {
        String::new()
    } else {
        verdicts.describe()
    };
    (tally, breaches)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("FAULT_SEED and FAULT_RUNS are numbers"))
}

#[test]
fn random_faults_lose_and_duplicate_nothing_and_report_no_gap() {
    let first = number("FAULT_SEED", 1);
    let mut total = Tally::default();
    let mut failures = Vec::new();
    print(HEAD);
    for seed in first..first + number("FAULT_RUNS", RUNS) {
        let (tally, breaches) = run(seed);
        print(&tally.row(&seed.to_string()));
        if !tally.is_clean() || !breaches.is_empty() {
            failures.push(format!("FAULT_SEED={seed}: {tally:?}\n{breaches}"));
        }
        total.add(&tally);
    }
    print(&total.row("all"));
    assert!(failures.is_empty(), "{} runs failed:\n{}", failures.len(), failures.join("\n"));
}
