//! A seeded simulation of clients, replicas and a lossy broker in virtual time.
//!
//! The simulation runs the production code of conversations, session ports, hub core, link core and inbox. Only their
//! environment is simulated: Redis, connections, queues, and the order of events. A seed determines a whole run; a
//! failure names its seed.
//!
//! `SIMULATION_SEED=42 cargo test simulation` repeats one run and prints its trace. `SIMULATION_RUNS=100000` sets the
//! number of runs. With both variables, the runs start at that seed.
//!
//! - `run`: one run. `plan`: its parameters, drawn from the seed by `rng`. `faults`: injected faults.
//! - `sessions`, `client`: sessions and their clients. `replica`, `link`, `hub`, `connection`: the server side.
//! - `redis`, `cluster`: the masters of Redis, and which of them owns each channel.
//! - `record`: all publications. `checker`: compares them with the messages of a client.
//! - `sends`, `inbox`: messages for the inbox. `reports`: compares the users that a hub reports with its sessions.

mod checker;
mod client;
mod cluster;
mod connection;
mod faults;
mod hub;
mod inbox;
mod link;
mod plan;
mod record;
mod redis;
mod replica;
mod reports;
mod rng;
mod run;
mod sends;
mod sessions;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use self::plan::PlantedBug;
use self::run::SimulationRun;
use crate::metrics::Metrics;
use protocol::conversation::Rules;
use protocol::heartbeat::HeartbeatRules;
use protocol::namespace_rules::{ChannelRules, NamespaceRules};

/// The default number of runs.
const RUNS: u64 = 4_000;
/// The default first seed.
const FIRST_SEED: u64 = 1;

#[test]
fn nothing_comes_twice_out_of_order_or_goes_missing_silently() {
    let (seed, runs) = (number("SIMULATION_SEED"), number("SIMULATION_RUNS"));
    if let (Some(seed), None) = (seed, runs) {
        let mut trace = Vec::new();
        let outcome = run(seed, PlantedBug::None, Some(&mut trace));
        print(&trace);
        outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        return;
    }
    let first = seed.unwrap_or(FIRST_SEED);
    if let Some((seed, failure)) = first_failure(first, runs.unwrap_or(RUNS), PlantedBug::None, |_| true) {
        let mut trace = Vec::new();
        let _ = run(seed, PlantedBug::None, Some(&mut trace));
        print(&trace);
        panic!("{failure}\nSIMULATION_SEED={seed} repeats it");
    }
}

#[test]
fn checker_finds_a_skipped_repair() {
    assert_found(PlantedBug::SkippedRepair, &["never came", "is missing before"]);
}

#[test]
fn checker_finds_a_move_that_forgets_the_cursor() {
    assert_found(PlantedBug::ForgottenCursor, &["never came", "is missing before"]);
}

#[test]
fn checker_finds_a_session_that_goes_live_too_early() {
    assert_found(PlantedBug::EarlyGoLive, &["without a subscription"]);
}

#[test]
fn checker_finds_an_overflow_without_a_gap() {
    assert_found(PlantedBug::UnreportedOverflow, &["never came", "is missing before"]);
}

#[test]
fn checker_finds_reads_abandoned_with_the_link() {
    assert_found(PlantedBug::AbandonedReads, &["does not resume"]);
}

#[test]
fn checker_finds_a_cut_that_is_too_early() {
    assert_found(PlantedBug::EarlyCut, &["is missing before", "never came"]);
}

#[test]
fn checker_finds_an_unreported_recovery() {
    assert_found(PlantedBug::UnreportedRecovery, &["never came"]);
}

#[test]
fn checker_finds_a_forgotten_refusal() {
    assert_found(PlantedBug::ForgottenRefusal, &["never came"]);
}

#[test]
fn checker_finds_a_signal_that_comes_back() {
    assert_found(PlantedBug::EchoedSignal, &["a signal of the session itself"]);
}

#[test]
fn checker_finds_a_stale_read_of_the_last_messages() {
    assert_found(PlantedBug::StaleLast, &["is missing before"]);
    assert_found(PlantedBug::StaleLast, &["of the last"]);
    assert_found(PlantedBug::AbandonedReads, &["of the last"]);
}

#[test]
fn checker_finds_a_stale_position() {
    assert_found(PlantedBug::StalePosition, &["comes after"]);
}

#[test]
fn checker_finds_a_forgotten_report_of_a_user() {
    assert_found(PlantedBug::ForgottenReport, &["is reported online again"]);
    assert_found(PlantedBug::ForgottenReport, &["is reported online, not offline"]);
}

#[test]
fn checker_finds_a_forgotten_report_of_a_channel() {
    assert_found(PlantedBug::ForgottenVacancy, &["is reported occupied again"]);
    assert_found(PlantedBug::ForgottenVacancy, &["is reported occupied, not vacated"]);
}

#[test]
fn checker_finds_a_forgotten_report_of_a_member() {
    assert_found(PlantedBug::ForgottenMember, &["is reported a member again"]);
    assert_found(PlantedBug::ForgottenMember, &["is reported a member, not no member"]);
}

#[test]
fn checker_finds_a_message_that_is_stored_twice() {
    assert_found(PlantedBug::ForgottenReceipt, &["is stored twice"]);
}

#[test]
fn checker_finds_an_acknowledgement_before_redis_has_the_message() {
    assert_found(PlantedBug::EarlyAcknowledgement, &["is acknowledged and was never stored"]);
}

#[test]
fn checker_finds_a_message_that_overtakes_a_failed_one() {
    assert_found(PlantedBug::OvertakenMessage, &["is stored after message"]);
}

/// The checker must report one of these failures within [`RUNS`] runs. Other failures do not count: a planted bug may
/// break several promises.
fn assert_found(planted_bug: PlantedBug, expected: &[&str]) {
    let is_expected = |failure: &str| expected.iter().any(|text| failure.contains(text));
    assert!(
        first_failure(FIRST_SEED, RUNS, planted_bug, is_expected).is_some(),
        "the checker did not find {planted_bug:?}"
    );
}

/// The expected failure with the lowest seed, independent of the speed of the threads.
fn first_failure(
    first: u64,
    runs: u64,
    planted_bug: PlantedBug,
    is_expected: impl Fn(&str) -> bool + Sync,
) -> Option<(u64, String)> {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let failed = AtomicU64::new(u64::MAX);
    let failures: BTreeMap<u64, String> = thread::scope(|scope| {
        let share = |own: u64| {
            let (failed, is_expected) = (&failed, &is_expected);
            scope.spawn(move || {
                for seed in (first + own..first + runs).step_by(threads as usize) {
                    if failed.load(Ordering::Relaxed) < seed {
                        break;
                    }
                    if let Err(failure) = run(seed, planted_bug, None)
                        && is_expected(&failure)
                    {
                        failed.fetch_min(seed, Ordering::Relaxed);
                        return Some((seed, failure));
                    }
                }
                None
            })
        };
        let threads: Vec<_> = (0..threads).map(share).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    failures.into_iter().next()
}

/// Executes one run. A panic is a failure.
fn run(seed: u64, planted_bug: PlantedBug, trace: Option<&mut Vec<String>>) -> Result<(), String> {
    thread_local! {
        // Creating them takes longer than a run.
        static SHARED: (Metrics, Arc<Rules>) = (Metrics::default(), Arc::new(rules()));
    }
    SHARED.with(|(metrics, rules)| {
        let mut current = SimulationRun::new(seed, planted_bug, metrics, rules, trace.is_some());
        let outcome = catch_unwind(AssertUnwindSafe(|| current.execute()));
        if let (Some(into), Some(trace)) = (trace, current.trace.take()) {
            *into = trace;
        }
        outcome.unwrap_or_else(|_| Err("the run panicked".to_owned()))
    })
}

fn rules() -> Rules {
    Rules {
        // Longer than any run: no client misses a heartbeat.
        heartbeat: HeartbeatRules {
            interval: Duration::from_secs(1 << 30),
            grace: Duration::from_secs(1 << 30),
        },
        identify_timeout: Duration::from_secs(1 << 30),
        max_message_bytes: 65_536,
        messages_per_minute: 0,
        max_subscriptions: 0,
        max_listed_channels: usize::MAX,
        sends_per_minute: 0,
        signals_per_minute: 0,
        signal_interval: Duration::ZERO,
        max_send_bytes: 32_768,
        namespaces: NamespaceRules::new(
            ChannelRules { max_last: 10, ..ChannelRules::default() },
            [(
                "room".into(),
                ChannelRules { is_public: true, send: true, max_last: 10, ..ChannelRules::default() },
            )],
        ),
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

#[allow(clippy::print_stderr, reason = "the trace is for the developer")]
fn print(trace: &[String]) {
    trace.iter().for_each(|line| eprintln!("{line}"));
}
