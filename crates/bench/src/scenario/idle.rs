//! `idle`: identified sockets that only send heartbeats.

use std::time::{Duration, Instant};

use crate::BenchError;
use crate::clients::Pace;
use crate::outcome::{BenchOutcome, Curve};
use crate::progress::{Goal, ProgressLine};
use crate::run::{ScenarioRun, Usage};

/// The interval of memory samples.
const SAMPLE: Duration = Duration::from_secs(1);
/// The interval of heartbeat orders to the baseline. Heartbeats of one interval are sent together, which favours the
/// baseline.
const BEAT: Duration = Duration::from_millis(100);
/// The longest measurement of the process without sockets. Its periodic work repeats at least once a second.
const ALONE: Duration = Duration::from_secs(2);
const HEARTBEAT: &str = r#"{"op":10,"time":1579276740336}"#;

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let alone = cpu_without_sockets(run);
    run.connect_all(Pace::DEFAULT)?;
    observe(run, alone)
}

/// Measures connected clients that only send heartbeats. `alone`: the result of [`cpu_without_sockets`].
pub(super) fn observe(run: &mut ScenarioRun<'_>, alone: f64) -> Result<(), BenchError> {
    let whole = Duration::from_secs_f64(run.arguments.seconds);
    let progress = ProgressLine::start(run, "idle", Goal::Time(whole));
    let per_connection = run.outcome.value("rss_bytes_per_connection").unwrap_or(f64::NAN);
    let sockets = run.arguments.sockets as f64;
    let (heartbeats, before, started_at) = (run.heartbeats(), run.usage(), Instant::now());
    let mut points = vec![(0.0, per_connection / 1024.0)];
    let mut beats = 0;
    while started_at.elapsed() < whole {
        let step = if run.target.is_baseline { BEAT } else { SAMPLE };
        std::thread::park_timeout(whole.saturating_sub(started_at.elapsed()).min(step));
        if run.target.is_baseline {
            beats = beat(run, beats, started_at.elapsed())?;
        }
        let grown = run.target.process_usage().resident - before.process.resident;
        points.push((started_at.elapsed().as_secs_f64(), (per_connection + grown / sockets) / 1024.0));
    }
    let used = run.used_since(&before);
    drop(progress);
    let heartbeats = (run.heartbeats() - heartbeats) as f64;
    record(run, &used, heartbeats, alone);
    if run.arguments.replicas.is_some() {
        record_cores(&mut run.outcome, &used);
    }
    run.outcome.curve_unit = "RSS per connection, KiB";
    run.outcome.curves.push(Curve { name: "RSS".to_owned(), points });
    Ok(())
}

/// Records what a connection costs. `alone`: the result of [`cpu_without_sockets`].
fn record(run: &mut ScenarioRun<'_>, used: &Usage, heartbeats: f64, alone: f64) {
    let per_connection = run.outcome.value("rss_bytes_per_connection").unwrap_or(f64::NAN);
    let sockets = run.arguments.sockets as f64;
    let memory = per_connection + used.process.resident / sockets;
    let cpu = used.process.cpu * 1e6 / (sockets * used.seconds);
    // Without a heartbeat in the time there is no such figure.
    let exchange = (used.process.cpu - alone * used.seconds).max(0.0) * 1e6 / heartbeats;
    let (interval, outcome) = (run.heartbeat_interval.as_secs_f64(), &mut run.outcome);
    outcome.compare("rss_bytes_per_connection_at_end", "RSS per connection at the end, bytes", memory);
    outcome.compare("cpu_us_per_connection_second", "CPU per connection and second, µs", cpu);
    outcome.plain("cpu_us_per_second_without_sockets", "CPU per second without sockets, µs", alone * 1e6);
    outcome.compare("cpu_us_per_heartbeat", "CPU per heartbeat exchange, µs", exchange);
    outcome.plain("heartbeat_interval_seconds", "interval of heartbeats, s", interval);
    outcome.plain("heartbeats", "heartbeats answered", heartbeats);
}

/// Records how many cores the processes of several replicas use.
fn record_cores(outcome: &mut BenchOutcome, used: &Usage) {
    for (key, label, cpu) in [
        ("gateway", "the gateways", used.process.cpu),
        ("generator", "the generators", used.generator.cpu),
        ("redis", "Redis", used.redis_cpu),
    ] {
        outcome.plain(&format!("{key}_cores"), &format!("cores in use by {label}"), cpu / used.seconds);
    }
}

/// The CPU that the target uses in a second before any client connects. It is not part of a heartbeat's cost.
pub(super) fn cpu_without_sockets(run: &ScenarioRun<'_>) -> f64 {
    let time = Duration::from_secs_f64(run.arguments.seconds).min(ALONE);
    let before = run.usage();
    std::thread::park_timeout(time);
    let now = run.usage();
    now.process.since(before.process).cpu / (now.seconds - before.seconds)
}

/// Orders the baseline to send the heartbeats that a gateway would have sent by now. `sent` is their number so far;
/// returns the new number.
fn beat(run: &mut ScenarioRun<'_>, mut sent: usize, elapsed: Duration) -> Result<usize, BenchError> {
    let (sockets, interval) = (run.arguments.sockets, run.heartbeat_interval.as_secs_f64());
    let due = (sockets as f64 * elapsed.as_secs_f64() / interval) as usize;
    while sent < due {
        let first = sent % sockets;
        let end = sockets.min(first + due - sent);
        run.target.publisher.add_order(first..end, HEARTBEAT);
        sent += end - first;
    }
    run.target.publisher.flush()?;
    Ok(sent)
}
