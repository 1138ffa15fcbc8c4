//! Redis' clock, as far as it is known here.

use std::time::{Duration, Instant};

/// What Redis' clock showed when it was last read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockSample {
    redis_ms: u64,
    /// When the answer had arrived. Redis read its clock before that, so from here on it shows more.
    heard: Instant,
}

/// By how much the two machines' clocks may run apart: 1 in 1000 is twice the fastest correction that NTP
/// makes. Erring early costs nothing but a longer look into the history.
const DRIFT: u32 = 1000;

impl ClockSample {
    /// `redis_ms` came with an answer that had arrived at `heard`.
    pub(super) const fn new(redis_ms: u64, heard: Instant) -> Self {
        Self { redis_ms, heard }
    }

    /// Redis' clock at `now` in Unix milliseconds, or a little earlier; not later (unless it was set back
    /// since).
    pub(super) fn at(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.heard);
        let certain = elapsed.saturating_sub(elapsed / DRIFT).saturating_sub(Duration::from_millis(1));
        // u64 milliseconds are enough for 500 million years.
        self.redis_ms.saturating_add(certain.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_ahead_even_when_our_clock_runs_faster() {
        let heard = Instant::now();
        let sample = ClockSample::new(1_732_390_000_000, heard);
        assert_eq!(sample.at(heard), 1_732_390_000_000);
        assert_eq!(sample.at(heard + Duration::from_secs(100)), 1_732_390_000_000 + 100_000 - 101);
    }
}
