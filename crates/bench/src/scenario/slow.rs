//! `slow`: what those who read notice while others do not.

use std::sync::atomic::Ordering::SeqCst;

use super::everybody;
use crate::BenchError;
use crate::run::Run;
use crate::swarm::{Order, Pace};

const QUEUED: &str = "gateway_outbound_queued_bytes";
const CLOSED: &str = "gateway_closes_total{code=\"4008\"}";

pub(crate) fn run(run: &mut Run<'_>) -> Result<(), BenchError> {
    run.connect_all()?;
    let (sockets, stalled) = (run.sockets, run.arguments.stalled_readers());
    let load = run.load(1);
    let published = run.publish(load, |_| everybody(sockets))?;
    let undisturbed = published.latencies.quantile_ms(0.99);
    published.note(&mut run.outcome);
    if run.target.is_floor {
        // Without a queue it would wait for whoever does not read.
        return Ok(());
    }
    let resident = run.resident();
    run.swarm.tell(|| Order::Stall(sockets..sockets + stalled));
    run.connect_these(sockets..sockets + stalled, Pace::InFlight(stalled))?;
    run.wait_until_ready(sockets + stalled)?;

    let load = run.load(2);
    let published = run.publish(load, |_| everybody(sockets))?;
    let queued = run.target.metric(QUEUED);
    let (grown, closed) = (run.resident() - resident, run.target.metric(CLOSED));
    let returns = run.swarm.counts.lost.load(SeqCst);
    let outcome = &mut run.outcome;
    outcome.plain("stalled_readers", "stalled readers", stalled as f64);
    outcome.quantiles("stalled", "latency with stalled readers", &published.latencies);
    outcome.plain(
        "stalled_to_undisturbed_p99",
        "p99 with stalled readers to p99 without",
        published.latencies.quantile_ms(0.99) / undisturbed,
    );
    outcome.plain("rss_growth_bytes", "RSS grew by, bytes", grown);
    outcome.plain("queued_bytes", "bytes that waited at the end", queued.unwrap_or(f64::NAN));
    outcome.plain("closed_4008", "closed with 4008", closed.unwrap_or(f64::NAN));
    outcome.plain("returns", "stalled readers cut and back", returns as f64);
    outcome.wrong_deliveries += published.deliveries.abs_diff(published.expected);

    run.swarm.tell(|| Order::Leave(sockets..sockets + stalled));
    let load = run.load(3);
    let published = run.publish(load, |_| everybody(sockets))?;
    run.outcome.quantiles("afterwards", "latency afterwards", &published.latencies);
    run.outcome.wrong_deliveries += published.deliveries.abs_diff(published.expected);
    Ok(())
}
