//! `signal`: some sockets of a room send signals to all others, while single users get messages.

use super::one;
use crate::BenchError;
use crate::clients::Pace;
use crate::load::{Load, PublishReport};
use crate::outcome::BenchOutcome;
use crate::run::ScenarioRun;

/// The phase of messages during signals.
const DISTURBED: u8 = 3;
/// Messages per second, to single users.
const MESSAGE_RATE: f64 = 50.0;
const MESSAGE_BYTES: usize = 128;

/// All clients are in one room.
pub(crate) fn channels(namespace: &str) -> Vec<String> {
    vec![room(namespace)]
}

fn room(namespace: &str) -> String {
    format!("{namespace}:room")
}

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (sockets, typists) = (run.arguments.sockets, run.arguments.typists());
    run.outcome.plain("typists", "sockets that send signals", typists as f64);

    let messages = Load { rate: Some(MESSAGE_RATE), message_bytes: MESSAGE_BYTES, ..run.load(2) };
    let undisturbed = run.publish(messages, |number| one(number as usize % sockets))?;
    run.outcome.later_quantiles("message", "message latency without signals", &undisturbed);

    let signals = run.load(1);
    let every = (signals.rate.unwrap_or(MESSAGE_RATE) / MESSAGE_RATE).round().max(1.0) as u64;
    let disturbing = Load { phase: DISTURBED, ..messages };
    let (channel, mut number) = (room(&run.namespace), 0);
    let report = run.send_signals(signals, typists, &channel, |run, at_us| {
        number += 1;
        if number % every == 0 {
            run.publish_one(&one(number as usize % sockets), disturbing, at_us);
        }
    })?;
    let disturbed = run.clients.latencies(DISTURBED);
    run.outcome.quantiles("message_disturbed", "message latency during signals", &disturbed);
    record(report, &mut run.outcome);
    Ok(())
}

fn record(report: PublishReport, outcome: &mut BenchOutcome) {
    let PublishReport { publications, expected, deliveries, latencies, used } = report;
    let count = deliveries as f64;
    let redis = used.redis_cpu * 1e6 / publications as f64;
    outcome.plain("signals", "signals", publications as f64);
    // A newer signal may replace an older one, and nothing repeats a dropped one.
    outcome.plain("delivered_percent", "signals delivered, % of all", count * 100.0 / expected as f64);
    outcome.compare("deliveries_per_second", "signals delivered per second", count / used.seconds);
    outcome.latencies("latency", "signal latency", latencies);
    outcome.compare("cpu_us_per_delivery", "CPU per delivered signal, µs", used.process.cpu * 1e6 / count);
    outcome.cpu_parts("delivery", used.process, count);
    outcome.compare("cpu_percent", "CPU, % of a core", used.process.cpu * 100.0 / used.seconds);
    outcome.plain("redis_cpu_us_per_signal", "Redis CPU per signal, µs", redis);
}
