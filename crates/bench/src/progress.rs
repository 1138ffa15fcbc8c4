//! A progress line on standard error, if that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clients::Counts;

const WIDTH: usize = 30;
/// Seldom, so that it does not disturb the measurement.
const PERIOD: Duration = Duration::from_millis(500);

/// When the bar is full.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// So many clients are Ready.
    Ready(usize),
    /// So much time has passed.
    Time(Duration),
}

/// A line that is drawn again every [`PERIOD`] until this is dropped.
pub(crate) struct Progress(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Begins to draw; does nothing where standard error is no terminal.
    pub(crate) fn start(label: String, whole: Goal, counts: &Arc<Counts>) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ended) = mpsc::channel();
        let (counts, begun) = (Arc::clone(counts), Instant::now());
        let thread = std::thread::spawn(move || {
            while ended.recv_timeout(PERIOD) == Err(mpsc::RecvTimeoutError::Timeout) {
                let share = match whole {
                    Goal::Ready(all) => counts.ready.load(SeqCst) as f64 / all.max(1) as f64,
                    Goal::Time(all) => begun.elapsed().as_secs_f64() / all.as_secs_f64().max(0.001),
                };
                let (ready, delivered) = (counts.ready.load(SeqCst), counts.delivered());
                let line = format!("{} {ready} sockets, {delivered} deliveries", bar(share));
                // Without a terminal there is nothing to do.
                let _ = write!(io::stderr(), "\r\x1b[K{label} {line}");
            }
            let _ = write!(io::stderr(), "\r\x1b[K");
        });
        Self(Some((end, thread)))
    }
}

impl Drop for Progress {
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
