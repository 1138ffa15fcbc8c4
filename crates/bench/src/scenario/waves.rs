//! `waves`: all clients connect at once, identify and leave, several times: the memory that the process keeps.

use std::time::{Duration, Instant};

use crate::BenchError;
use crate::clients::Pace;
use crate::outcome::Curve;
use crate::run::ScenarioRun;

/// How often all clients come and leave.
const WAVES: usize = 8;
/// Simultaneous connects. Each handshake needs buffers, so more of them make a higher peak of memory.
const IN_FLIGHT: usize = 1_024;
/// The time after a wave until memory is measured, and the longer one after the last wave: an allocator returns freed
/// memory with a delay.
const SETTLE: Duration = Duration::from_millis(300);
const QUIET: Duration = Duration::from_secs(2);
/// How long the gateway may take to close the sockets of a wave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECTIONS: &str = "gateway_connections";

pub(crate) fn run(run: &mut ScenarioRun<'_>) -> Result<(), BenchError> {
    let sockets = run.arguments.sockets;
    let in_flight = run.arguments.in_flight.unwrap_or(IN_FLIGHT);
    // A first connection creates threads, hubs and their first allocations.
    run.connect_range(0..1, Pace::InFlight(1))?;
    leave(run)?;
    let before = run.target.process_usage().resident;
    let (mut points, mut peak) = (vec![(0.0, before / 1_048_576.0)], before);
    for wave in 1..=WAVES {
        run.connect_range(0..sockets, Pace::InFlight(in_flight))?;
        peak = peak.max(run.target.process_usage().resident);
        leave(run)?;
        let after = run.target.process_usage().resident;
        run.outcome.plain(&format!("rss_after_wave_{wave}"), &format!("RSS after wave {wave}, bytes"), after);
        points.push((wave as f64, after / 1_048_576.0));
    }
    std::thread::park_timeout(QUIET);
    let after = run.target.process_usage().resident;
    let outcome = &mut run.outcome;
    outcome.plain("rss_before", "RSS before the first wave, bytes", before);
    outcome.plain("rss_peak", "RSS with all sockets, bytes", peak);
    outcome.plain("rss_after_to_before", "RSS after the last wave ÷ before the first", after / before);
    outcome.curve_unit = "RSS, MiB";
    outcome.curves.push(Curve { name: "RSS after a wave".to_owned(), points });
    Ok(())
}

/// Disconnects all clients, and waits until the gateway has closed their sockets.
fn leave(run: &ScenarioRun<'_>) -> Result<(), BenchError> {
    run.clients.disconnect();
    let since = Instant::now();
    while !run.target.is_baseline && run.target.metric(CONNECTIONS) > 0.0 {
        if since.elapsed() > LEAVE_TIMEOUT {
            return Err(BenchError::Run("the gateway did not close all sockets".to_owned()));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    std::thread::park_timeout(SETTLE);
    Ok(())
}
