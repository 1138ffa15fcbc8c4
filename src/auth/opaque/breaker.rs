//! Stops the calls to an issuer that fails, so that a backend that is down is not asked once for each client that
//! comes back.

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::backoff::Backoff;

/// The number of failures without a success after which the calls pause.
const MAX_FAILURES: u32 = 3;
/// The length of a pause: the shortest, then doubling up to the longest.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Counts failures in a row. After some, no call is made for a while, then one call with one token.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    /// The calls that the issuer answered and refused, since the last success.
    rejections: u32,
    state: BreakerState,
    backoff: Backoff,
    rng: StdRng,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BreakerState {
    /// Calls are made.
    Closed,
    /// No call is made until this time. The first call after it is the probe.
    Open { until: Instant },
    /// The probe has no answer yet. No other call is made.
    Probing,
}

/// How many calls may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    Any,
    OneToken,
    Nothing,
}

impl Breaker {
    pub(super) fn new(seed: u64) -> Self {
        #[allow(clippy::expect_used, reason = "both are constants")]
        let backoff = Backoff::new(MIN_PAUSE, MAX_PAUSE).expect("0 < min <= max");
        Self {
            failures: 0,
            rejections: 0,
            state: BreakerState::Closed,
            backoff,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Whether no call may begin before `now` is later.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        matches!(self.state, BreakerState::Open { until } if now < until)
    }

    /// Whether the last calls failed, and none has succeeded since.
    pub(super) fn is_tripped(&self) -> bool {
        self.state != BreakerState::Closed
    }

    /// Whether operators should know: the issuer is left alone, or refuses every call.
    pub(super) fn is_failing(&self) -> bool {
        self.is_tripped() || self.rejections >= MAX_FAILURES
    }

    pub(super) fn allowance(&self, now: Instant) -> Allowance {
        match self.state {
            BreakerState::Closed => Allowance::Any,
            BreakerState::Open { until } if until <= now => Allowance::OneToken,
            BreakerState::Open { .. } | BreakerState::Probing => Allowance::Nothing,
        }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        if self.is_tripped() {
            self.state = BreakerState::Probing;
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.rejections = 0;
        self.close();
    }

    /// The issuer answered that it refuses a call. That may be due to the token, which anyone can send. So the issuer is
    /// asked about the next tokens.
    pub(super) fn rejected(&mut self) {
        self.rejections = self.rejections.saturating_add(1);
        self.close();
    }

    fn close(&mut self) {
        self.failures = 0;
        self.backoff.reset();
        self.state = BreakerState::Closed;
    }

    /// A call failed. Returns whether a pause begins.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let trips = match self.state {
            BreakerState::Closed => self.failures >= MAX_FAILURES,
            BreakerState::Probing => true,
            // A call from before the pause.
            BreakerState::Open { .. } => false,
        };
        if trips {
            self.state = BreakerState::Open { until: now + self.backoff.next(&mut self.rng) };
        }
        trips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_trip_and_one_probe_follows() {
        let (mut breaker, now) = (Breaker::new(1), Instant::now());
        assert!(!breaker.failed(now) && !breaker.failed(now));
        breaker.succeeded();
        assert!(!breaker.failed(now) && !breaker.failed(now) && breaker.failed(now));
        assert!(breaker.is_open(now) && breaker.is_tripped());
        assert_eq!(breaker.allowance(now + MIN_PAUSE / 2), Allowance::Nothing);
        let later = now + MIN_PAUSE;
        assert!(!breaker.is_open(later));
        assert_eq!(breaker.allowance(later), Allowance::OneToken);
        breaker.begin();
        assert_eq!(breaker.allowance(later), Allowance::Nothing);
        assert!(breaker.failed(later), "a failed probe trips at once");
        breaker.succeeded();
        assert_eq!(breaker.allowance(later), Allowance::Any);
    }

    #[test]
    fn refused_calls_are_told_but_leave_no_issuer_alone() {
        let (mut breaker, now) = (Breaker::new(3), Instant::now());
        for _ in 0..MAX_FAILURES {
            assert!(!breaker.is_failing());
            breaker.rejected();
        }
        assert!(breaker.is_failing() && !breaker.is_tripped());
        assert_eq!(breaker.allowance(now), Allowance::Any);
        breaker.succeeded();
        assert!(!breaker.is_failing());
    }

    #[test]
    fn pauses_grow_to_five_seconds_at_most() {
        let (mut breaker, mut now) = (Breaker::new(2), Instant::now());
        for _ in 0..MAX_FAILURES {
            breaker.failed(now);
        }
        for _ in 0..50 {
            let start = now;
            while breaker.is_open(now) {
                now += Duration::from_millis(10);
            }
            assert!(now - start <= MAX_PAUSE + Duration::from_millis(10));
            breaker.begin();
            breaker.failed(now);
        }
    }
}
