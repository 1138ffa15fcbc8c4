//! `slow`: the latency of reading clients while other clients stall.

use std::sync::atomic::Ordering::SeqCst;

use super::all;
use crate::BenchError;
use crate::clients::Pace;
use crate::run::ScenarioRun;

const QUEUED: &str = "gateway_outbound_queued_bytes";
const CLOSED: &str = "gateway_websocket_closes_total{code=\"4008\"}";

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (sockets, stalled) = (run.arguments.sockets, run.arguments.stalled_readers());
    let published = run.publish(run.load(1), |_| all(sockets))?;
    let undisturbed = published.latencies.quantile_ms(0.99);
    published.record(&mut run.outcome);
    if run.target.is_baseline {
        // The baseline has no queue, so it would wait for the stalled readers.
        return Ok(());
    }
    let resident = run.target.process_usage().resident;
    let readers = sockets..sockets + stalled;
    let own = readers.clone();
    run.clients.send(move |worker| worker.stall(&own));
    run.connect_range(readers.clone(), Pace::InFlight(stalled))?;

    let published = run.publish(run.load(2), |_| all(sockets))?;
    let (queued, closed) = (run.target.metric(QUEUED), run.target.metric(CLOSED));
    let grown = run.target.process_usage().resident - resident;
    let returns = run.clients.counts.lost.load(SeqCst);
    let ratio = published.latencies.quantile_ms(0.99) / undisturbed;
    let outcome = &mut run.outcome;
    outcome.plain("stalled_readers", "stalled readers", stalled as f64);
    outcome.later_quantiles("stalled", "latency with stalled readers", &published);
    outcome.plain("stalled_to_undisturbed_p99", "p99 with stalled readers ÷ p99 without", ratio);
    outcome.plain("rss_growth_bytes", "RSS growth, bytes", grown);
    outcome.plain("queued_bytes", "bytes queued at the end", queued);
    outcome.plain("closed_4008", "sockets closed with 4008", closed);
    outcome.plain("returns", "stalled readers closed and reconnected", returns as f64);

    run.clients.send(move |worker| worker.remove(&readers));
    let published = run.publish(run.load(3), |_| all(sockets))?;
    run.outcome.later_quantiles("afterwards", "latency afterwards", &published);
    Ok(())
}
