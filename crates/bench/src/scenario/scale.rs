//! `scale`: the life of a deployment of several replicas: connect, idle, a message to all, a killed replica, a drained
//! replica. Every client must get every message exactly once and resume without loss.

use std::time::{Duration, Instant};

use super::{add_durable_to_all, idle, resumptions, wait_for_messages};
use crate::BenchError;
use crate::clients::Pace;
use crate::load::PublishReport;
use crate::run::ScenarioRun;

/// The phases of the messages.
const TO_ALL: u8 = 1;
const KILLED: u8 = 2;
const DRAINED: u8 = 3;
const AFTERWARDS: u8 = 4;
/// Messages to all sockets, one after the other.
const MESSAGES: u64 = 3;
/// Simultaneous connects for each replica: with fewer, each process wakes for each step of one connect.
const IN_FLIGHT: usize = 16;
/// The number of clients of a replica.
const SESSIONS: &str = "gateway_sessions";
/// The maximum time of a drain: more than `drain.timeout`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(150);

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let alone = idle::cpu_without_sockets(run);
    let in_flight = run.arguments.in_flight.unwrap_or(IN_FLIGHT * run.target.servers.len());
    let used = run.connect_all(Pace::InFlight(in_flight))?;
    let sockets = run.arguments.sockets as f64;
    run.outcome.plain("connect_seconds", "until all are connected, s", used.seconds);
    run.outcome.plain("connects_per_second", "connects per second", sockets / used.seconds);
    idle::observe(run, alone)?;
    to_all(run)?;
    kill(run)?;
    drain(run)?;
    publish(run, AFTERWARDS)?;
    expect(run, AFTERWARDS, MESSAGES + 3)
}

/// One message at a time to all sockets.
fn to_all(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let (before, expected) = (run.usage(), MESSAGES * run.arguments.sockets as u64);
    for number in 1..=MESSAGES {
        publish(run, TO_ALL)?;
        wait_for_messages(run, number)?;
    }
    let used = run.used_since(&before);
    let (deliveries, latencies) = (run.deliveries(TO_ALL), run.clients.latencies(TO_ALL));
    let generator = used.generator.cpu * 1e6 / expected as f64;
    PublishReport { publications: MESSAGES, expected, deliveries, latencies, used }.record(&mut run.outcome);
    run.outcome.plain("generator_cpu_us_per_delivery", "CPU of the generator per delivery, µs", generator);
    Ok(())
}

/// Kills a replica and publishes while its clients are away.
fn kill(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let server = run.target.servers.remove(0);
    let returns = Returns::start(run, server.metric(SESSIONS));
    server.kill();
    publish(run, KILLED)?;
    let back = returns.wait_until_back(run)?;
    expect(run, KILLED, MESSAGES + 1)?;
    returns.record(run, "kill", "killed replica", back);
    Ok(())
}

/// Drains a replica and publishes when half of its clients have left.
fn drain(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let server = run.target.servers.remove(0);
    let returns = Returns::start(run, server.metric(SESSIONS));
    server.terminate()?;
    returns.wait_until_resumed(run, returns.clients / 2)?;
    publish(run, DRAINED)?;
    let back = returns.wait_until_back(run)?;
    expect(run, DRAINED, MESSAGES + 2)?;
    returns.record(run, "drain", "drained replica", back);
    if !server.wait_for_exit(DRAIN_TIMEOUT) {
        return Err(BenchError::Run("the drained replica did not end with exit code 0".to_owned()));
    }
    Ok(())
}

fn publish(run: &mut ScenarioRun<'_>, phase: u8) -> Result<(), BenchError> {
    let now_us = run.now_us();
    add_durable_to_all(run, phase, now_us);
    run.target.publisher.flush()
}

/// Waits until every client has this total number of messages, the last one with this phase.
fn expect(run: &mut ScenarioRun<'_>, phase: u8, messages: u64) -> Result<(), BenchError> {
    wait_for_messages(run, messages)?;
    run.outcome.wrong_deliveries += run.deliveries(phase).abs_diff(run.arguments.sockets as u64);
    Ok(())
}

/// The clients of an ended replica, which return to the others.
struct Returns {
    started_at: Instant,
    /// The number of these clients.
    clients: u64,
    /// The [`resumptions`] before.
    before: [u64; 3],
}

impl Returns {
    fn start(run: &ScenarioRun<'_>, clients: f64) -> Self {
        Self { started_at: Instant::now(), clients: clients as u64, before: resumptions(run) }
    }

    /// The change of [`resumptions`]: resumed without loss, with `"recovered":false`, and lost connections.
    fn changes(&self, run: &ScenarioRun<'_>) -> [u64; 3] {
        let now = resumptions(run);
        std::array::from_fn(|index| now[index] - self.before[index])
    }

    /// Waits until this number of the clients has resumed at another replica. Losses do not show who has left: an attempt
    /// to connect to a replica that has ended counts too.
    fn wait_until_resumed(&self, run: &ScenarioRun<'_>, clients: u64) -> Result<(), BenchError> {
        let [recovered, not_recovered, _] = self.before;
        run.clients.wait_until_resumed(recovered + not_recovered + clients)
    }

    /// Waits until all clients have resumed; returns the time since the start.
    fn wait_until_back(&self, run: &ScenarioRun<'_>) -> Result<Duration, BenchError> {
        self.wait_until_resumed(run, self.clients)?;
        run.clients.wait_until_ready(run.arguments.sockets)?;
        Ok(self.started_at.elapsed())
    }

    /// Records the figures of a replica that ended, when all of its clients have all messages.
    fn record(&self, run: &mut ScenarioRun<'_>, key: &str, replica: &str, back: Duration) {
        let repaired = self.started_at.elapsed();
        let [recovered, not_recovered, lost] = self.changes(run);
        let refused = lost.saturating_sub(self.clients);
        let outcome = &mut run.outcome;
        for (name, label, value) in [
            ("clients", "clients", self.clients as f64),
            ("back_seconds", "until all are back, s", back.as_secs_f64()),
            ("repaired_seconds", "until all have all messages, s", repaired.as_secs_f64()),
            ("recovered", "resumed without loss", recovered as f64),
            ("retries", "connection attempts repeated", refused as f64),
        ] {
            outcome.plain(&format!("{key}_{name}"), &format!("{replica}: {label}"), value);
        }
        // Each client that did not resume may have missed messages.
        outcome.wrong_deliveries += not_recovered + recovered.abs_diff(self.clients);
    }
}
