//! `storm`: all sockets disconnect at once, messages are published, and all clients return at once.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::{add_durable_to_all, record_resumptions, resumptions, wait_for_messages};
use crate::BenchError;
use crate::clients::{CONNECTING, Pace};
use crate::run::ScenarioRun;

/// The number of durable messages before the disconnect, and again while all clients are away.
const MESSAGES: u64 = 5;
/// Simultaneous connects: more than a gateway accepts at once, but fewer than its accept queue holds.
const IN_FLIGHT: usize = 256;

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    // Gives every client a position to resume from.
    publish(run, 1)?;
    wait_for_messages(run, MESSAGES)?;
    run.clients.disconnect();
    while run.clients.counts.ready.load(SeqCst) > 0 {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    if !run.target.is_baseline {
        publish(run, 2)?;
    }
    let (usage, cut, before) = (run.usage(), Instant::now(), resumptions(run));
    let in_flight = run.arguments.in_flight.unwrap_or(IN_FLIGHT);
    run.connect_range(0..run.arguments.sockets, Pace::AtOnce(in_flight))?;
    if run.target.is_baseline {
        // The baseline keeps no messages for clients that are away.
        publish(run, 2)?;
    }
    wait_for_messages(run, 2 * MESSAGES)?;
    let resumed = cut.elapsed();
    let used = run.used_since(&usage);
    record(run, used.process.cpu, resumed, before);
    Ok(())
}

fn record(run: &mut ScenarioRun<'_>, cpu: f64, resumed: Duration, before: [u64; 3]) {
    let (back, now) = (run.clients.latencies(CONNECTING), resumptions(run));
    let (deliveries, sockets) = (run.deliveries(2), run.arguments.sockets);
    let outcome = &mut run.outcome;
    outcome.compare("all_back_ms", "until all clients are back, ms", back.max_ms());
    outcome.compare(
        "all_resumed_ms",
        "until all clients have the missed messages, ms",
        resumed.as_secs_f64() * 1e3,
    );
    outcome.latencies("back", "return", back);
    record_resumptions(outcome, before, now);
    outcome.deliveries(deliveries, MESSAGES * sockets as u64);
    outcome.compare("cpu_us_per_return", "CPU per return, µs", cpu * 1e6 / sockets as f64);
}

fn publish(run: &mut ScenarioRun<'_>, phase: u8) -> Result<(), BenchError> {
    for _ in 0..MESSAGES {
        let now_us = run.now_us();
        add_durable_to_all(run, phase, now_us);
    }
    run.target.publisher.flush()
}
