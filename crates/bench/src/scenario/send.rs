//! `send`: all sockets send messages to the inbox in turn, while a worker deletes what it has read.

use crate::BenchError;
use crate::clients::Pace;
use crate::progress::{Goal, ProgressLine};
use crate::run::ScenarioRun;
use crate::wire::{self, Stamp};

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    // The baseline has no inbox, and that of the memory broker is emptied by nobody.
    let worker = run.target.start_inbox_worker()?;
    let load = run.load(1);
    let progress = ProgressLine::start(run, "sending", Goal::Time(load.time));
    let (before, sockets, channel) = (run.usage(), run.arguments.sockets, format!("{}:inbox", run.namespace));
    let mut sent = 0;
    run.publish_at_rate(load.time, load.rate.unwrap_or(1.0), |run, at_us| {
        let id = wire::send_id(Stamp { at_us, phase: load.phase }, sent);
        let message = wire::message(Stamp { at_us, phase: load.phase }, load.message_bytes);
        let text = format!(r#"{{"op":16,"id":"{id}","channel":"{channel}","message":{message}}}"#);
        run.clients.send_frame(sent as usize % sockets, wire::client_frame(&text));
        sent += 1;
    })?;
    run.clients.counts.wait_until_quiet(sent);
    let used = run.used_since(&before);
    drop(progress);

    let (answered, latencies) = (run.deliveries(load.phase), run.clients.latencies(load.phase));
    let most = worker.map(|worker| worker.stop()).transpose()?;
    let outcome = &mut run.outcome;
    let count = answered as f64;
    outcome.plain("sends", "messages sent", sent as f64);
    outcome.deliveries(answered, sent);
    outcome.compare("acknowledged_per_second", "messages acknowledged per second", count / used.seconds);
    outcome.latencies("latency", "latency of the acknowledgement", latencies);
    outcome.compare("cpu_us_per_send", "CPU per message, µs", used.process.cpu * 1e6 / count);
    outcome.cpu_parts("send", used.process, count);
    outcome.compare("cpu_percent", "CPU, % of a core", used.process.cpu * 100.0 / used.seconds);
    outcome.plain("redis_cpu_us_per_send", "Redis CPU per message, µs", used.redis_cpu * 1e6 / count);
    outcome.plain("redis_cpu_percent", "Redis CPU, % of a core", used.redis_cpu * 100.0 / used.seconds);
    outcome.plain("redis_bytes_per_send", "Redis memory per message, bytes", used.redis_memory / count);
    if let Some(most) = most {
        outcome.plain("inbox_entries_max", "entries in the inbox, at most", most as f64);
    }
    Ok(())
}
