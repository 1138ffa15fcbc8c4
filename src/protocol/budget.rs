//! How much a client may say: a token bucket.

use std::time::Instant;

/// A token bucket that holds a minute's worth and fills evenly. It starts full, so a client may say a
/// minute's worth at once.
#[derive(Debug, Clone)]
pub struct Budget {
    per_minute: u32,
    tokens: f32,
    filled_at: Instant,
}

impl Budget {
    /// A full bucket. `per_minute` 0 means no limit.
    pub fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute, tokens: per_minute as f32, filled_at: now }
    }

    /// Takes one token, or says that there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.per_minute == 0 {
            return true;
        }
        let capacity = self.per_minute as f32;
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f32();
        self.tokens = (self.tokens + elapsed * capacity / 60.0).min(capacity);
        self.filled_at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn allows_a_minute_s_worth_at_once_and_then_an_even_flow() {
        let start = Instant::now();
        let mut budget = Budget::new(60, start);
        assert!((0..60).all(|_| budget.take(start)));
        assert!(!budget.take(start));
        assert!(!budget.take(start + Duration::from_millis(900)));
        assert!(budget.take(start + Duration::from_millis(1_100)));
        assert!(!budget.take(start + Duration::from_millis(1_200)));
        let rested = start + Duration::from_secs(3_600);
        assert!((0..60).all(|_| budget.take(rested)), "never more than full");
        assert!(!budget.take(rested));
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let mut budget = Budget::new(0, start);
        assert!((0..10_000).all(|_| budget.take(start)));
    }
}
