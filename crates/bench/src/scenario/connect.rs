//! `connect`: handshake and Identify, with real tokens where the settings know their secret.

use crate::BenchError;
use crate::run::Run;
use crate::swarm::Pace;

/// How many are on their way at a time unless told otherwise.
const IN_FLIGHT: usize = 64;

pub(crate) fn run(run: &mut Run<'_>) -> Result<(), BenchError> {
    let pace = match run.arguments.rate() {
        Some(rate) => Pace::Rate(rate),
        None => Pace::InFlight(run.arguments.in_flight.unwrap_or(IN_FLIGHT)),
    };
    let (used, resident) = run.connect(pace)?;
    let connects = run.swarm.report().connects;
    let sockets = run.sockets as f64;
    let outcome = &mut run.outcome;
    outcome.compare("connects_per_second", "connects in a second", sockets / used.seconds);
    outcome.latencies("connect", "connect", connects);
    outcome.compare("cpu_us_per_connect", "CPU for each connect and Identify, µs", used.cpu * 1e6 / sockets);
    outcome.plain("cpu_user_us_per_connect", "  of that in user space", used.user * 1e6 / sockets);
    outcome.plain("cpu_system_us_per_connect", "  of that in the kernel", used.system * 1e6 / sockets);
    outcome.compare("rss_bytes_per_connection", "RSS for each connection, bytes", resident / sockets);
    outcome.plain(
        "redis_cpu_us_per_connection",
        "Redis' CPU for each connection, µs",
        used.redis * 1e6 / sockets,
    );
    outcome.plain(
        "redis_bytes_per_connection",
        "Redis' memory for each connection, bytes",
        used.redis_memory / sockets,
    );
    Ok(())
}
