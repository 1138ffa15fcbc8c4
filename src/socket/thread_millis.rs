//! The times of deadlines, and which of them share a wake-up.

/// A time in milliseconds since the deadlines of the thread began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ThreadMillis(pub(super) u64);

/// A deadline is noticed late by at most this part of the time until it. With a 256th, the first heartbeat of a socket,
/// which comes after a random part of the interval, shared its wake-up with few others: 90 instead of 55 µs of CPU.
const PARTS: u64 = 16;
/// A deadline is noticed late by less than this, in milliseconds. It must be a power of two. Of 10 000 heartbeats in 45
/// seconds, 28 share a tick of this length.
const MAX_STEP: u64 = 128;

impl ThreadMillis {
    /// The deadline of a socket that has none.
    pub(super) const NEVER: Self = Self(u64::MAX);

    /// When this deadline is noticed if it is armed at `now`. The ticks of longer deadlines are further apart, so that
    /// long deadlines share ticks, and short ones are nearly exact.
    pub(super) fn to_tick(self, now: Self) -> Self {
        let longest = (self.0.saturating_sub(now.0) / PARTS).clamp(1, MAX_STEP);
        Self(self.0.next_multiple_of(1 << longest.ilog2()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_noticed_late_by_less_than_a_16th() {
        for (after, late) in
            [(0, 1), (10, 1), (31, 1), (32, 2), (1_000, 32), (2_047, 64), (2_048, 128), (45_000, 128)]
        {
            for now in [0, 1_003, 77_777_777] {
                let tick = ThreadMillis(now + after).to_tick(ThreadMillis(now)).0;
                assert!((0..late).contains(&(tick - now - after)), "{after} ms after {now}: {tick}");
                assert_eq!(tick % late, 0, "{after} ms after {now}");
            }
        }
    }

    #[test]
    fn a_deadline_of_years_is_noticed_late_by_less_than_128_ms() {
        let year = 365 * 24 * 3_600 * 1_000;
        let tick = ThreadMillis(year + 1).to_tick(ThreadMillis(0));
        assert_eq!(tick.0, (year + 1).next_multiple_of(128));
        assert_eq!(ThreadMillis(5).to_tick(ThreadMillis(year)), ThreadMillis(5), "an overdue deadline");
    }
}
