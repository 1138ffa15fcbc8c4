//! `storm`: all sockets are cut at once, messages are published meanwhile, and all come back at once.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::everybody;
use crate::BenchError;
use crate::run::{PATIENCE, Run};
use crate::swarm::{Order, Pace};
use crate::wire::{self, Stamp};

/// Durable messages before the cut, and again while everybody is away.
const MESSAGES: u64 = 5;
/// How many connect at a time: more than a gateway accepts at once, fewer than its queue has room for.
const IN_FLIGHT: usize = 256;

pub(crate) fn run(run: &mut Run<'_>) -> Result<(), BenchError> {
    run.connect_all()?;
    let sockets = run.sockets;
    // Everybody has a place from which to continue.
    publish(run, 1)?;
    expect(run, MESSAGES)?;
    run.swarm.tell(|| Order::Cut);
    while run.swarm.counts.ready.load(SeqCst) > 0 {
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    if !run.target.is_floor {
        publish(run, 2)?;
    }
    let (meter, cut) = (run.meter(), Instant::now());
    let before = Before::of(run);
    let in_flight = run.arguments.in_flight.unwrap_or(IN_FLIGHT);
    run.connect_these(0..sockets, Pace::AtOnce(in_flight))?;
    run.wait_until_ready(sockets)?;
    if run.target.is_floor {
        // It keeps nothing for those who are away.
        publish(run, 2)?;
    }
    expect(run, 2 * MESSAGES)?;
    let resumed = cut.elapsed();
    let used = run.since(&meter);
    note(run, used.cpu, resumed.as_secs_f64() * 1e3, &before);
    Ok(())
}

/// What had been counted before the storm.
struct Before {
    lost: usize,
    recovered: usize,
    not_recovered: usize,
}

impl Before {
    fn of(run: &Run<'_>) -> Self {
        let counts = &run.swarm.counts;
        Self {
            lost: counts.lost.load(SeqCst),
            recovered: counts.recovered.load(SeqCst),
            not_recovered: counts.not_recovered.load(SeqCst),
        }
    }
}

fn note(run: &mut Run<'_>, cpu: f64, resumed_ms: f64, before: &Before) {
    let back = run.swarm.report().connects;
    let now = Before::of(run);
    let (deliveries, sockets) = (run.deliveries(2), run.sockets as f64);
    let outcome = &mut run.outcome;
    outcome.compare("all_back_ms", "until all are back, ms", back.max_ms());
    outcome.compare("all_resumed_ms", "until all have what they missed, ms", resumed_ms);
    outcome.latencies("back", "back", back);
    for (key, label, count) in [
        ("recovered", "told that nothing is missing", now.recovered - before.recovered),
        ("not_recovered", "told that something may be missing", now.not_recovered - before.not_recovered),
        ("retries", "tried again", now.lost - before.lost),
    ] {
        outcome.plain(key, label, count as f64);
    }
    outcome.deliveries(deliveries, MESSAGES * run.sockets as u64);
    outcome.compare("cpu_us_per_return", "CPU for each return, µs", cpu * 1e6 / sockets);
}

fn publish(run: &mut Run<'_>, phase: u8) -> Result<(), BenchError> {
    for _ in 0..MESSAGES {
        let message = wire::message(Stamp { at_us: run.now_us(), phase }, run.arguments.message_bytes());
        let audience = everybody(run.sockets);
        run.target.publisher()?.add(&audience, &message, true);
    }
    run.target.publisher()?.flush()
}

/// Waits until every client has had so many messages in all.
fn expect(run: &mut Run<'_>, messages: u64) -> Result<(), BenchError> {
    let count = messages * run.sockets as u64;
    // What does not come is told as missing.
    let _ = run.swarm.counts.wait_for_deliveries(count, Instant::now() + PATIENCE);
    run.target.publisher()?.check()
}
