//! `connect`: handshake and Identify, with real tokens if the settings hold their secret.

use crate::BenchError;
use crate::clients::Pace;
use crate::run::Run;

/// How many clients connect at a time by default.
const IN_FLIGHT: usize = 64;

pub(crate) fn run(run: &mut Run<'_>) -> Result<(), BenchError> {
    let pace = match run.arguments.rate() {
        Some(rate) => Pace::Rate(rate),
        None => Pace::InFlight(run.arguments.in_flight.unwrap_or(IN_FLIGHT)),
    };
    let (used, resident) = run.connect(pace)?;
    let connects = run.clients.report().connects;
    let sockets = run.sockets as f64;
    let outcome = &mut run.outcome;
    outcome.compare("connects_per_second", "connects in a second", sockets / used.seconds);
    outcome.latencies("connect", "connect", connects);
    outcome.note_connect_cpu(used.cpu * 1e6 / sockets);
    outcome.plain("cpu_user_us_per_connect", "  of that in user space", used.user * 1e6 / sockets);
    outcome.plain("cpu_system_us_per_connect", "  of that in the kernel", used.system * 1e6 / sockets);
    outcome.note_memory(resident / sockets);
    let (cpu, memory) = (used.redis * 1e6 / sockets, used.redis_memory / sockets);
    outcome.plain("redis_cpu_us_per_connection", "Redis' CPU for each connection, µs", cpu);
    outcome.plain("redis_bytes_per_connection", "Redis' memory for each connection, bytes", memory);
    Ok(())
}
