//! Progress on standard error: a bar on a terminal, otherwise a line every few seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::run::ScenarioRun;

const WIDTH: usize = 30;
/// Long enough not to disturb the measurement.
const PERIOD: Duration = Duration::from_millis(500);
/// Without a terminal, lines are not overwritten, so there are fewer.
const PERIOD_OF_LINES: Duration = Duration::from_secs(5);

/// The condition for a full bar.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// This many clients are Ready.
    Ready(usize),
    /// This much time has passed.
    Time(Duration),
}

/// Redraws a line every [`PERIOD`], or writes one every [`PERIOD_OF_LINES`], until dropped.
pub(crate) struct ProgressLine(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl ProgressLine {
    pub(crate) fn start(run: &ScenarioRun<'_>, activity: &str, goal: Goal) -> Self {
        let (period, clear, end_of_line) = match io::stderr().is_terminal() {
            true => (PERIOD, "\r\x1b[K", ""),
            false => (PERIOD_OF_LINES, "", "\n"),
        };
        let server = if run.target.is_baseline { "baseline" } else { run.target.protocol.name() };
        let label = format!("{server}: {activity}");
        let (counts, started_at) = (Arc::clone(&run.clients.counts), Instant::now());
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(period) == Err(mpsc::RecvTimeoutError::Timeout) {
                let (ready, delivered) = (counts.ready.load(SeqCst), counts.delivered());
                let bar = bar(match goal {
                    Goal::Ready(all) => ready as f64 / all.max(1) as f64,
                    Goal::Time(all) => started_at.elapsed().as_secs_f64() / all.as_secs_f64().max(0.001),
                });
                let line =
                    format!("{clear}{label} {bar} {ready} sockets, {delivered} deliveries{end_of_line}");
                // Nothing to do if standard error is closed.
                let _ = io::stderr().write_all(line.as_bytes());
            }
            let _ = io::stderr().write_all(clear.as_bytes());
        });
        Self(Some((end, thread)))
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

fn bar(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    let full = (share * WIDTH as f64) as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(full), ".".repeat(WIDTH - full), share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_a_fixed_width() {
        for share in [-1.0, 0.0, 0.5, 1.0, 7.0] {
            assert_eq!(bar(share).len(), WIDTH + 8, "{share}");
        }
        assert!(bar(7.0).ends_with("100 %"));
    }
}
