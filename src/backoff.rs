//! Exponential back-off with jitter.

use std::time::Duration;

use rand::{Rng, RngExt as _};

/// Draws waits between `min` and a ceiling that doubles with each wait. The jitter keeps replicas that lost the same
/// server from reconnecting at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
}

/// The bounds of a back-off are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid back-off bounds: 0 < min <= max is required, but min is {min:?} and max is {max:?}")]
pub struct BadBounds {
    /// The requested shortest wait.
    pub min: Duration,
    /// The requested longest wait.
    pub max: Duration,
}

impl Backoff {
    /// A back-off whose waits are between `min` and `max`. A `min` of zero is refused, because it would allow a busy
    /// loop.
    pub fn new(min: Duration, max: Duration) -> Result<Self, BadBounds> {
        if min.is_zero() || min > max {
            return Err(BadBounds { min, max });
        }
        Ok(Self { min, max, ceiling: min })
    }

    /// A back-off of its own, from the same shortest wait up to `factor` times that wait.
    pub fn up_to_times(&self, factor: u32) -> Self {
        Self { min: self.min, max: self.min.saturating_mul(factor).min(self.max), ceiling: self.min }
    }

    /// Draws the next wait. The first wait, also after [`reset`](Self::reset), is exactly `min`.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let wait = rng.random_range(self.min..=self.ceiling);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.max);
        wait
    }

    /// Resets the ceiling to `min`. Call after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn every_wait_is_within_its_bounds_and_the_ceiling_doubles() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(MIN, MAX).unwrap();
            let mut ceiling = MIN;
            for _ in 0..20 {
                let wait = backoff.next(&mut rng);
                assert!((MIN..=ceiling).contains(&wait), "{wait:?} is not within {MIN:?}..={ceiling:?}");
                ceiling = (ceiling * 2).min(MAX);
            }
        }
    }

    #[test]
    fn later_waits_are_spread_over_the_whole_range() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut backoff = Backoff::new(MIN, MAX).unwrap();
        let waits: Vec<_> = (0..200).map(|_| backoff.next(&mut rng)).collect();
        assert!(waits[10..].iter().any(|wait| *wait < MAX / 4));
        assert!(waits[10..].iter().any(|wait| *wait > MAX * 3 / 4));
    }

    #[test]
    fn a_reset_starts_again_at_the_shortest_wait() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(MIN, MAX).unwrap();
        for _ in 0..10 {
            backoff.next(&mut rng);
        }
        backoff.reset();
        assert_eq!(backoff.next(&mut rng), MIN);
    }

    #[test]
    fn refuses_bounds_that_allow_a_busy_loop() {
        assert!(Backoff::new(Duration::ZERO, MAX).is_err());
        assert!(Backoff::new(MAX, MIN).is_err());
        assert!(Backoff::new(Duration::MAX, Duration::MAX).is_ok());
    }
}
