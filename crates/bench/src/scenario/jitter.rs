//! `jitter`: every client is offline for a while, again and again, while durable messages are published. It is the
//! test that AnyCable publishes for clients with a bad network.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{add_durable_to_all, record_resumptions, resumptions, wait_for_messages};
use crate::BenchError;
use crate::clients::{CONNECTING, Pace};
use crate::process::ResourceUsage;
use crate::progress::{Goal, ProgressLine};
use crate::run::ScenarioRun;
use crate::worker::{AbsenceCounts, AbsencePlan, REPLAY_PHASE};

/// The phase of the message that gives every client a position to resume from.
const FIRST: u8 = 1;
/// The phase of the measured messages.
const MEASURED: u8 = 2;
/// How often the end of the absences is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    run.connect_all(Pace::DEFAULT)?;
    let (whole, now_us) = (Duration::from_secs_f64(run.arguments.seconds), run.now_us());
    add_durable_to_all(run, FIRST, now_us);
    run.target.publisher.flush()?;
    wait_for_messages(run, 1)?;

    let progress = ProgressLine::start(run, "jitter", Goal::Time(whole));
    let (usage, before) = (run.usage(), resumptions(run));
    run.clients.begin_absences(plan(run));
    let rate = run.arguments.rate().unwrap_or(1.0);
    run.publish_at_rate(whole, rate, |run, at_us| {
        // Counted before it is written: a client that returns now has not had it.
        run.clients.counts.published.fetch_add(1, SeqCst);
        add_durable_to_all(run, MEASURED, at_us);
    })?;
    let published = run.clients.counts.published.load(SeqCst);
    while run.clients.absence_counts(published).pending > 0 {
        std::thread::park_timeout(CHECK_INTERVAL);
    }
    run.clients.wait_until_ready(run.arguments.sockets)?;
    wait_for_messages(run, published + 1)?;
    drop(progress);
    let used = run.used_since(&usage);
    record(run, published, before);
    record_costs(run, used.process, used.seconds);
    Ok(())
}

/// The absences of the arguments. They begin with the first measured message.
fn plan(run: &ScenarioRun<'_>) -> AbsencePlan {
    let (arguments, start_us) = (run.arguments, run.now_us());
    let micros = |seconds: f64| (seconds * 1e6) as u64;
    AbsencePlan {
        start_us,
        end_us: start_us + micros(arguments.seconds),
        period_us: micros(arguments.offline_every),
        offline_us: micros(arguments.offline),
        clients: arguments.sockets,
    }
}

/// Records what was published, missed and delivered, and when.
fn record(run: &mut ScenarioRun<'_>, published: u64, before: [u64; 3]) {
    let AbsenceCounts { absences, missed, wrong, .. } = run.clients.absence_counts(published);
    let [latencies, back, replay] =
        [MEASURED, CONNECTING, REPLAY_PHASE].map(|phase| run.clients.latencies(phase));
    let (deliveries, expected) = (run.deliveries(MEASURED), published * run.arguments.sockets as u64);
    let resumed = resumptions(run);
    let outcome = &mut run.outcome;
    outcome.plain("publications", "durable messages published", published as f64);
    outcome.plain("deliveries", "deliveries", deliveries as f64);
    outcome.plain("deliveries_expected", "deliveries expected", expected as f64);
    outcome.wrong_deliveries += wrong;
    let percent = (expected.saturating_sub(wrong)) as f64 / expected as f64 * 100.0;
    outcome.plain("delivered_percent", "delivered exactly once, in order, %", percent);
    outcome.plain("absences", "absences", absences as f64);
    outcome.plain("missed", "messages missed during absences", missed as f64);
    record_resumptions(outcome, before, resumed);
    outcome.quantiles("back", "from being back to Ready", &back);
    outcome.quantiles("replay", "from being back to the last missed message", &replay);
    outcome.latencies("latency", "from publishing to delivery", latencies);
}

/// Records the CPU and the memory of the target.
fn record_costs(run: &mut ScenarioRun<'_>, used: ResourceUsage, seconds: f64) {
    let per_connection = run.outcome.value("rss_bytes_per_connection").unwrap_or(f64::NAN);
    let memory = per_connection + used.resident / run.arguments.sockets as f64;
    let outcome = &mut run.outcome;
    outcome.plain("rss_bytes_per_connection_at_end", "RSS per connection at the end, bytes", memory);
    outcome.plain("cpu_ms_per_second", "CPU per second, ms", used.cpu * 1e3 / seconds);
}
