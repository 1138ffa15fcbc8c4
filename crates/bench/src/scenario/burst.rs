//! `burst`: the latency of messages to single users while a big message goes to all other clients.

use super::one;
use crate::BenchError;
use crate::clients::Pace;
use crate::load::{Load, PublishReport};
use crate::publisher::Recipients;
use crate::run::ScenarioRun;

/// The size of the small messages, whose latency is measured.
const SMALL_BYTES: usize = 128;
/// The phase of big messages, in any phase of the run.
const BIG: u8 = 4;

/// All clients except the watchers have one channel.
pub(crate) fn channels(namespace: &str, index: usize, sockets: usize) -> Vec<String> {
    if index < sockets { vec![crowd(namespace)] } else { Vec::new() }
}

fn crowd(namespace: &str) -> String {
    format!("{namespace}:crowd")
}

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (sockets, watchers) = (run.arguments.sockets, run.arguments.watchers());
    run.connect_range(sockets..sockets + watchers, Pace::InFlight(watchers))?;
    run.outcome.plain("watchers", "sockets that get small messages", watchers as f64);

    let (undisturbed, _) = phase(run, 1, None)?;
    let undisturbed_max_ms = undisturbed.latencies.max_ms();
    undisturbed.record(&mut run.outcome);

    let (disturbed, bursts) = phase(run, 2, Some(run.arguments.messages_per_burst()))?;
    record_big(run, &disturbed, bursts);
    let delay_ms = disturbed.latencies.max_ms() - undisturbed_max_ms;
    let outcome = &mut run.outcome;
    // The plot shows only the latency during big messages.
    outcome.curves.clear();
    outcome.latencies("disturbed", "latency during a big message", disturbed.latencies);
    outcome.plain("delay_by_burst_max_ms", "max above the undisturbed max, ms", delay_ms);

    if run.target.is_baseline {
        // The baseline has no queue that could affect later messages.
        return Ok(());
    }
    let (afterwards, _) = phase(run, 3, None)?;
    run.outcome.later_quantiles("afterwards", "latency afterwards", &afterwards);
    Ok(())
}

/// Publishes small messages to the watchers in turn. One of `messages_per_burst` is instead a big message to all other
/// clients. Also returns the number of big messages.
fn phase(
    run: &mut ScenarioRun<'_>,
    phase: u8,
    messages_per_burst: Option<u64>,
) -> Result<(PublishReport, u64), BenchError> {
    let (sockets, watchers) = (run.arguments.sockets, run.arguments.watchers());
    let small = Load { message_bytes: SMALL_BYTES, ..run.load(phase) };
    let big = Load { phase: BIG, ..run.load(phase) };
    let crowd = Recipients { channel: crowd(&run.namespace), members: 0..sockets };
    let mut bursts = 0;
    let published = run.publish_each(small, |number| match messages_per_burst {
        // In the middle of each interval, so small messages precede the first and follow the last.
        Some(every) if number % every == every / 2 => {
            bursts += 1;
            (crowd.clone(), big)
        }
        _ => (one(sockets + (number % watchers as u64) as usize), small),
    })?;
    Ok((published, bursts))
}

/// Records the figures of the big messages.
fn record_big(run: &mut ScenarioRun<'_>, disturbed: &PublishReport, bursts: u64) {
    let (deliveries, arrivals) = (run.deliveries(BIG), run.clients.latencies(BIG));
    let cpu = disturbed.used.process.cpu * 1e6 / deliveries as f64;
    let outcome = &mut run.outcome;
    outcome.plain("bursts", "big messages", bursts as f64);
    outcome.plain("burst_deliveries", "deliveries of big messages", deliveries as f64);
    outcome.wrong_deliveries += (disturbed.deliveries + deliveries).abs_diff(disturbed.expected);
    outcome.compare(
        "burst_p50_ms",
        "until half of the sockets have the big message, ms",
        arrivals.quantile_ms(0.5),
    );
    outcome.compare("burst_everywhere_ms", "until all sockets have it, at most, ms", arrivals.max_ms());
    outcome.compare("cpu_us_per_burst_delivery", "CPU per delivery of a big message, µs", cpu);
}
