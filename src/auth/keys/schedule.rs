//! Decides when to fetch a key set. Reads no clock: every method gets the time since the start.

use std::time::Duration;

/// The least time between two fetches because of an unknown `kid`. Anyone can send an unknown `kid`.
const EXTRA_FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// The delay after the first of several failures; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest delay after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// When to fetch next.
#[derive(Debug)]
pub(in crate::auth) struct FetchSchedule {
    interval: Duration,
    next: Duration,
    is_fetching: bool,
    /// The time of the last extra fetch.
    last_extra: Option<Duration>,
    failures: u32,
}

impl FetchSchedule {
    /// The first fetch is due at once.
    pub(in crate::auth) const fn new(interval: Duration) -> Self {
        Self { interval, next: Duration::ZERO, is_fetching: false, last_extra: None, failures: 0 }
    }

    /// The time of the next fetch. `None`: a fetch is running.
    pub(in crate::auth) fn next(&self) -> Option<Duration> {
        (!self.is_fetching).then_some(self.next)
    }

    /// A token has an unknown `kid`. Returns whether a fetch is running or due now, for which the token can wait.
    pub(in crate::auth) fn unknown_key(&mut self, now: Duration) -> bool {
        if self.is_fetching || self.next <= now {
            return true;
        }
        if self.last_extra.is_some_and(|last| now < last.saturating_add(EXTRA_FETCH_INTERVAL)) {
            return false;
        }
        self.last_extra = Some(now);
        self.next = now;
        true
    }

    /// A fetch starts.
    pub(in crate::auth) const fn started(&mut self) {
        self.is_fetching = true;
    }

    /// The fetch has ended. `jitter` from 0 to 1 spreads the fetches of several replicas.
    pub(in crate::auth) fn ended(&mut self, now: Duration, is_loaded: bool, jitter: f64) {
        self.is_fetching = false;
        let delay = if is_loaded {
            self.failures = 0;
            self.interval
        } else {
            let doubled = FIRST_RETRY.saturating_mul(1 << self.failures.min(10));
            self.failures = self.failures.saturating_add(1);
            doubled.min(LONGEST_RETRY).min(self.interval)
        };
        self.next = now.saturating_add(delay.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn loaded(interval: u64) -> FetchSchedule {
        let mut schedule = FetchSchedule::new(at(interval));
        assert_eq!(schedule.next(), Some(at(0)));
        schedule.started();
        assert_eq!(schedule.next(), None);
        schedule.ended(at(0), true, MIDDLE);
        schedule
    }

    #[test]
    fn fetches_follow_the_interval_with_jitter() {
        let mut schedule = loaded(600);
        assert_eq!(schedule.next(), Some(at(600)));
        for (jitter, next) in [(0.0, 540), (1.0, 660)] {
            schedule.started();
            schedule.ended(at(0), true, jitter);
            assert_eq!(schedule.next(), Some(at(next)), "{jitter}");
        }
    }

    #[test]
    fn failures_are_retried_with_growing_delays() {
        let mut schedule = loaded(600);
        for delay in [1, 2, 4, 8, 16, 32, 60, 60] {
            schedule.started();
            schedule.ended(at(1000), false, MIDDLE);
            assert_eq!(schedule.next(), Some(at(1000 + delay)));
        }
        schedule.started();
        schedule.ended(at(1000), true, MIDDLE);
        assert_eq!(schedule.next(), Some(at(1600)));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_in_thirty_seconds() {
        let mut schedule = loaded(3600);
        let mut fetches = Vec::new();
        for tenth in 100..1300 {
            let now = Duration::from_millis(tenth * 100);
            if schedule.unknown_key(now) {
                assert_eq!(schedule.next(), Some(now));
                schedule.started();
                assert!(schedule.unknown_key(now), "a token waits for the running fetch");
                schedule.ended(now, true, MIDDLE);
                fetches.push(now.as_secs());
            }
        }
        assert_eq!(fetches, [10, 40, 70, 100]);
    }

    #[test]
    fn an_unknown_key_does_not_delay_the_next_fetch() {
        let mut schedule = loaded(3600);
        assert!(schedule.unknown_key(at(10)));
        schedule.started();
        schedule.ended(at(10), false, MIDDLE);
        assert_eq!(schedule.next(), Some(at(11)));
        assert!(!schedule.unknown_key(at(10)), "the fetch of this time has failed");
        assert!(schedule.unknown_key(at(11)), "the retry is due");
    }
}
