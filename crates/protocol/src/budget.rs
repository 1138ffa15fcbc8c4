//! How much a client may do in a time: a token bucket.

use std::time::{Duration, Instant};

/// A token bucket that holds one period's worth and fills evenly. It starts full, so a period's worth may come at
/// once. It is kept as the time at which it is full again, which is all that there is to know.
#[derive(Debug, Clone, Default)]
pub struct Budget {
    full_at: Option<Instant>,
}

impl Budget {
    /// Takes one token, or says that there is none. `per_period` 0 means no limit.
    pub fn take(&mut self, per_period: u32, period: Duration, now: Instant) -> bool {
        if per_period == 0 {
            return true;
        }
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + period / per_period;
        if full_at - now > period {
            return false;
        }
        self.full_at = Some(full_at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn allows_a_minute_s_worth_at_once_and_then_an_even_flow() {
        let start = Instant::now();
        let mut budget = Budget::default();
        assert!((0..60).all(|_| budget.take(60, MINUTE, start)));
        assert!(!budget.take(60, MINUTE, start));
        assert!(!budget.take(60, MINUTE, start + Duration::from_millis(900)));
        assert!(budget.take(60, MINUTE, start + Duration::from_millis(1_100)));
        assert!(!budget.take(60, MINUTE, start + Duration::from_millis(1_200)));
        let rested = start + Duration::from_secs(3_600);
        assert!((0..60).all(|_| budget.take(60, MINUTE, rested)), "never more than full");
        assert!(!budget.take(60, MINUTE, rested));
    }

    #[test]
    fn a_period_that_does_not_divide_evenly_still_holds_its_number() {
        let start = Instant::now();
        for many in [1, 3, 7, 2_000, u32::MAX] {
            let mut budget = Budget::default();
            let wanted = many.min(10_000);
            assert!((0..wanted).all(|_| budget.take(many, Duration::from_secs(1), start)), "{many}");
            assert!(many != wanted || !budget.take(many, Duration::from_secs(1), start), "{many}");
        }
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let mut budget = Budget::default();
        assert!((0..10_000).all(|_| budget.take(0, MINUTE, start)));
    }

    #[test]
    fn it_costs_a_socket_sixteen_bytes() {
        assert!(size_of::<Budget>() <= 16);
    }
}
