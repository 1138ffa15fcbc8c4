//! `idle`: sockets that are identified and say nothing but their heartbeats.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::outcome::Curve;
use crate::progress::{Progress, Whole};
use crate::run::Run;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
/// How often the floor is told to send heartbeats: those that are due together go together, which is to its good.
const BEAT: Duration = Duration::from_millis(100);

pub(crate) fn run(run: &mut Run<'_>) -> Result<(), BenchError> {
    run.connect_all()?;
    let whole = Duration::from_secs_f64(run.arguments.seconds);
    let progress = Progress::start(format!("{}: idle", run.name()), Whole::Time(whole), &run.swarm.counts);
    let per_connection = run.outcome.value("rss_bytes_per_connection").unwrap_or(f64::NAN);
    let (resident, sockets) = (run.resident(), run.sockets as f64);
    let heartbeats = run.swarm.counts.heartbeats.load(SeqCst);
    let (meter, begun) = (run.meter(), Instant::now());
    let mut points = vec![(0.0, per_connection / 1024.0)];
    let mut beats = Beats { sent: 0 };
    while begun.elapsed() < whole {
        let step = if run.target.is_floor { BEAT } else { SAMPLE };
        std::thread::park_timeout(whole.saturating_sub(begun.elapsed()).min(step));
        beats.until(begun.elapsed(), run)?;
        let grown = run.resident() - resident;
        points.push((begun.elapsed().as_secs_f64(), (per_connection + grown / sockets) / 1024.0));
    }
    let used = run.since(&meter);
    drop(progress);
    let grown = (run.resident() - resident) / sockets;
    let heartbeats = run.swarm.counts.heartbeats.load(SeqCst) - heartbeats;
    let outcome = &mut run.outcome;
    outcome.compare(
        "rss_bytes_per_connection_at_end",
        "RSS for each connection at the end, bytes",
        per_connection + grown,
    );
    outcome.compare(
        "cpu_us_per_connection_second",
        "CPU for each connection in a second, µs",
        used.cpu * 1e6 / (sockets * used.seconds),
    );
    outcome.plain("heartbeats", "heartbeats answered", heartbeats as f64);
    outcome.curves_show = "RSS for each connection, KiB";
    outcome.curves.push(Curve { name: "RSS".to_owned(), points });
    Ok(())
}

/// The heartbeats that the floor is told to send: as many as a gateway sends.
struct Beats {
    sent: usize,
}

impl Beats {
    fn until(&mut self, elapsed: Duration, run: &mut Run<'_>) -> Result<(), BenchError> {
        if !run.target.is_floor {
            return Ok(());
        }
        let (sockets, interval) = (run.sockets, run.heartbeat_interval.as_secs_f64());
        let due = (sockets as f64 * elapsed.as_secs_f64() / interval) as usize;
        let publisher = run.target.publisher()?;
        while self.sent < due {
            let first = self.sent % sockets;
            let end = sockets.min(first + due - self.sent);
            publisher.add_heartbeat(first..end);
            self.sent += end - first;
        }
        publisher.flush()
    }
}
