//! `connect`: handshake and Identify, with real tokens if the settings contain the secret.

use crate::BenchError;
use crate::clients::{CONNECTING, Pace};
use crate::run::ScenarioRun;

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let pace = match (run.arguments.rate(), run.arguments.in_flight) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(in_flight)) => Pace::InFlight(in_flight),
        (None, None) => Pace::DEFAULT,
    };
    let used = run.connect_all(pace)?;
    let (connects, sockets) = (run.clients.latencies(CONNECTING), run.arguments.sockets as f64);
    let (cpu, memory) = (used.redis_cpu * 1e6 / sockets, used.redis_memory / sockets);
    let outcome = &mut run.outcome;
    outcome.compare("connects_per_second", "connects per second", sockets / used.seconds);
    outcome.latencies("connect", "connect", connects);
    outcome.plain("redis_cpu_us_per_connection", "Redis CPU per connection, µs", cpu);
    // `connect_all` has recorded it with --replicas.
    if run.arguments.replicas.is_none() {
        outcome.plain("redis_bytes_per_connection", "Redis memory per connection, bytes", memory);
    }
    Ok(())
}
