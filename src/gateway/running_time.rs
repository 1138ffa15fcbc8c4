//! Measures the time in which this process ran, for deadlines that exclude the time while it was stopped. Pure.

use std::time::{Duration, Instant};

/// The most that one interval between two samples counts. A longer interval means that the process was stopped or the
/// machine was paused.
const MAX_GAP: Duration = Duration::from_secs(1);

/// Sums the intervals between samples. Callers take several samples per second.
#[derive(Debug)]
pub(super) struct RunningTime {
    last: Instant,
    sum: Duration,
}

impl RunningTime {
    pub(super) fn start(now: Instant) -> Self {
        Self { last: now, sum: Duration::ZERO }
    }

    /// Adds a sample; returns the time that the process has run since the start.
    pub(super) fn sample(&mut self, now: Instant) -> Duration {
        self.sum += now.saturating_duration_since(self.last).min(MAX_GAP);
        self.last = now;
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_counts_as_one_second_at_most() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut time = RunningTime::start(start);
        assert_eq!(time.sample(start + ms(10)), ms(10));
        assert_eq!(time.sample(start + ms(510)), ms(510));
        assert_eq!(time.sample(start + ms(60_510)), ms(1_510));
        assert_eq!(time.sample(start + ms(60_520)), ms(1_520));
        assert_eq!(time.sample(start), ms(1_520), "a clock never goes back");
    }
}
