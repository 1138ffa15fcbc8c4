//! The scenarios, one file each.

mod burst;
mod connect;
mod fanout;
mod idle;
mod jitter;
mod mixed;
mod scale;
mod send;
mod signal;
mod slow;
mod storm;
mod unicast;
mod waves;

use std::sync::atomic::Ordering::SeqCst;

use crate::BenchError;
use crate::arguments::{BenchArgs, Scenario};
use crate::outcome::BenchOutcome;
use crate::publisher::Recipients;
use crate::run::ScenarioRun;
use crate::wire::{self, Stamp};

/// A prime, so the recipients of consecutive messages are rarely neighbours in memory.
const STRIDE: u64 = 7_919;

/// The channels of a client.
pub(crate) fn channels(arguments: &BenchArgs, namespace: &str, index: usize) -> Vec<String> {
    match (arguments.scenario, arguments.channels) {
        (_, Some(count)) => fanout::channels(namespace, index, arguments.sockets, count),
        (Scenario::Burst, _) => burst::channels(namespace, index, arguments.sockets),
        (Scenario::Mixed, _) => mixed::channels(namespace, index, arguments.sockets),
        (Scenario::Signal, _) => signal::channels(namespace, index, arguments.sockets),
        _ => Vec::new(),
    }
}

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    match run.arguments.scenario {
        Scenario::Idle => idle::run(run),
        Scenario::Connect => connect::run(run),
        Scenario::Fanout => fanout::run(run),
        Scenario::Unicast => unicast::run(run),
        Scenario::Mixed => mixed::run(run),
        Scenario::Storm => storm::run(run),
        Scenario::Jitter => jitter::run(run),
        Scenario::Waves => waves::run(run),
        Scenario::Slow => slow::run(run),
        Scenario::Burst => burst::run(run),
        Scenario::Signal => signal::run(run),
        Scenario::Send => send::run(run),
        Scenario::Scale => scale::run(run),
        Scenario::BaselineServer => Ok(()),
    }
}

/// The channel `all`, with all clients.
fn all(sockets: usize) -> Recipients {
    Recipients { channel: "all".to_owned(), members: 0..sockets }
}

/// Adds a durable message to all clients to the next batch. `at_us`: its due time.
fn add_durable_to_all(run: &mut ScenarioRun<'_>, phase: u8, at_us: u64) {
    let message = wire::message(Stamp { at_us, phase }, run.arguments.message_bytes());
    run.target.publisher.add(&all(run.arguments.sockets), &message, true);
}

/// Waits until every client has this total number of messages, or until no more arrive: the scenario compares the
/// numbers of deliveries.
fn wait_for_messages(run: &ScenarioRun<'_>, messages: u64) -> Result<(), BenchError> {
    let _ = run.clients.counts.wait_for_deliveries(messages * run.arguments.sockets as u64);
    run.target.publisher.check()
}

/// Clients resumed without loss, clients with `"recovered":false`, and lost connections.
fn resumptions(run: &ScenarioRun<'_>) -> [u64; 3] {
    let counts = &run.clients.counts;
    [&counts.recovered, &counts.not_recovered, &counts.lost].map(|count| count.load(SeqCst))
}

/// Records the change of [`resumptions`].
fn record_resumptions(outcome: &mut BenchOutcome, before: [u64; 3], now: [u64; 3]) {
    for (index, (key, label)) in [
        ("recovered", "resumed without loss"),
        ("not_recovered", "resumed with \"recovered\":false"),
        ("retries", "connection attempts repeated"),
    ]
    .into_iter()
    .enumerate()
    {
        outcome.plain(key, label, (now[index] - before[index]) as f64);
    }
}

/// The user id of a client.
pub(crate) fn user(index: usize) -> String {
    format!("u{index}")
}

/// The channel of a client's user.
fn one(index: usize) -> Recipients {
    Recipients { channel: format!("user:{}", user(index)), members: index..index + 1 }
}
