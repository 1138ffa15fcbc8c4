//! Converts times of Redis' clock to this process' clock. Pure; callers pass the time.
//!
//! An answer to `TIME` bounds the difference of the two clocks: Redis read its clock after the request was sent and
//! before the answer arrived. Many answers bound it well, also over a slow connection.

use std::time::{Duration, Instant};

/// By how much two clocks diverge at most: 200 µs in a second, which includes a clock that is being adjusted slowly.
const DRIFT_PER_MILLION: i64 = 200;

/// The estimated difference of the clocks.
#[derive(Debug)]
pub(in crate::broker) struct RedisClock {
    /// The beginning of this process' times.
    origin: Instant,
    bounds: Option<Bounds>,
}

/// The bounds of "Redis' time minus the time since `origin`", in microseconds.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: i64,
    most: i64,
    /// When they were measured, since `origin`.
    at_us: i64,
}

impl RedisClock {
    pub(in crate::broker) fn new(origin: Instant) -> Self {
        Self { origin, bounds: None }
    }

    /// `TIME` was sent and answered at these times, with `redis_us` in Unix microseconds.
    pub(in crate::broker) fn measured(&mut self, sent: Instant, answered: Instant, redis_us: u64) {
        let redis_us = i64::try_from(redis_us).unwrap_or(i64::MAX);
        let (sent, answered) = (self.since_origin(sent), self.since_origin(answered));
        let new = Bounds {
            least: redis_us.saturating_sub(answered),
            most: redis_us.saturating_sub(sent),
            at_us: answered,
        };
        let narrowed = self.bounds.and_then(|old| old.narrowed_by(&new));
        // If both cannot be true, one of the clocks was set, and only the new one counts.
        self.bounds = Some(narrowed.unwrap_or(new));
    }

    /// The Unix time in milliseconds that Redis' clock shows at `at`; 0 before the first measurement.
    pub(in crate::broker) fn redis_ms(&self, at: Instant) -> u64 {
        let Some(bounds) = self.bounds else { return 0 };
        u64::try_from(self.since_origin(at).saturating_add(bounds.middle()) / 1000).unwrap_or(0)
    }

    /// When Redis' clock showed this Unix time in milliseconds, but not after `latest`: an event that is known has
    /// happened. Never before `origin`, because the process did not exist.
    pub(in crate::broker) fn local(&self, redis_ms: u64, latest: Instant) -> Instant {
        let Some(bounds) = self.bounds else { return latest };
        // The end of the millisecond, so that a session that was opened in it counts as older.
        let redis_us = i64::try_from(redis_ms.saturating_add(1).saturating_mul(1000)).unwrap_or(i64::MAX);
        let since_origin = u64::try_from(redis_us.saturating_sub(bounds.middle())).unwrap_or(0);
        let at = self.origin.checked_add(Duration::from_micros(since_origin));
        at.map_or(latest, |at| at.min(latest))
    }

    fn since_origin(&self, at: Instant) -> i64 {
        let micros = at.saturating_duration_since(self.origin).as_micros();
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

impl Bounds {
    fn middle(&self) -> i64 {
        self.least.midpoint(self.most)
    }

    /// What both say together; `None` if they contradict each other.
    fn narrowed_by(&self, new: &Self) -> Option<Self> {
        let passed = new.at_us.saturating_sub(self.at_us).max(0);
        let drift = passed.saturating_mul(DRIFT_PER_MILLION) / 1_000_000 + 1;
        let least = new.least.max(self.least.saturating_sub(drift));
        let most = new.most.min(self.most.saturating_add(drift));
        (least <= most).then_some(Self { least, most, at_us: new.at_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX_MS: u64 = 1_764_423_000_000;

    fn after(origin: Instant, ms: u64) -> Instant {
        origin + Duration::from_millis(ms)
    }

    /// Redis' clock is `UNIX_MS` at the origin. It is read `there` ms after the request is sent.
    fn measure(clock: &mut RedisClock, origin: Instant, sent: u64, there: u64, back: u64) {
        let redis_us = (UNIX_MS + sent + there) * 1000;
        clock.measured(after(origin, sent), after(origin, sent + there + back), redis_us);
    }

    #[test]
    fn times_are_converted_over_an_even_delay() {
        let origin = Instant::now();
        let mut clock = RedisClock::new(origin);
        measure(&mut clock, origin, 10, 100, 100);
        let now = after(origin, 10_000);
        assert_eq!(clock.redis_ms(after(origin, 500)), UNIX_MS + 500);
        assert_eq!(clock.local(UNIX_MS + 500, now), after(origin, 501));
    }

    #[test]
    fn the_fastest_answer_counts_over_an_uneven_connection() {
        let origin = Instant::now();
        let mut clock = RedisClock::new(origin);
        for (sent, there, back) in [(10, 400, 1), (500, 1, 1), (1_000, 1, 300), (2_000, 300, 0)] {
            measure(&mut clock, origin, sent, there, back);
        }
        let local = clock.local(UNIX_MS + 500, after(origin, 10_000));
        assert!(local >= after(origin, 500) && local <= after(origin, 502), "{:?}", local - origin);
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let origin = Instant::now();
        let mut clock = RedisClock::new(origin);
        measure(&mut clock, origin, 0, 1, 1);
        let back = (UNIX_MS - 3_600_000 + 61_000) * 1000;
        clock.measured(after(origin, 60_999), after(origin, 61_001), back);
        assert_eq!(clock.redis_ms(after(origin, 61_000)), UNIX_MS - 3_600_000 + 61_000);
        // Ids do not go back with the clock: they are ahead of it, but no event is in the future.
        let heard = after(origin, 62_000);
        assert_eq!(clock.local(UNIX_MS + 61_500, heard), heard);
    }

    #[test]
    fn without_a_measurement_an_event_is_new() {
        let now = Instant::now();
        assert_eq!(RedisClock::new(now).local(UNIX_MS, now), now);
    }
}
