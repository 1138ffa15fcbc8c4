//! Rate limits: a token bucket, and a token bucket for each of many keys.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A token bucket that holds the tokens of one period and refills evenly. It starts full, so the tokens of one period
/// may be used at once. The time at which the bucket is full again is its whole state.
#[derive(Debug, Clone, Default)]
pub struct Budget {
    full_at: Option<Instant>,
}

impl Budget {
    /// Takes one token. Returns false if there is none. `per_period` 0 means no limit.
    pub fn try_acquire(&mut self, per_period: u32, period: Duration, now: Instant) -> bool {
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

    /// Takes one token even if there is none: what it pays for has happened. The debt is at most the tokens of one
    /// period.
    pub fn charge(&mut self, per_period: u32, period: Duration, now: Instant) {
        if per_period != 0 {
            let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + period / per_period;
            self.full_at = Some(full_at.min(now + 2 * period));
        }
    }

    /// Whether [`Budget::try_acquire`] would succeed. Takes nothing.
    pub fn has_room(&self, per_period: u32, period: Duration, now: Instant) -> bool {
        self.clone().try_acquire(per_period, period, now)
    }

    /// Whether the bucket is in the same state as a new one.
    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// The minimum number of keys before full budgets are removed.
const MIN_KEYS: usize = 1_024;

/// A [`Budget`] for each key, all with the same rate. Full budgets are removed whenever the number of keys has doubled,
/// so that unused keys take no memory.
#[derive(Debug)]
pub struct Budgets<K> {
    per_period: u32,
    period: Duration,
    budgets: HashMap<K, Budget>,
    /// At this number of keys the full budgets are removed.
    remove_at: usize,
}

impl<K: Eq + Hash> Budgets<K> {
    /// Creates budgets with `per_period` tokens for each key; 0 means no limit, and no state is kept.
    pub fn new(per_period: u32, period: Duration) -> Self {
        Self { per_period, period, budgets: HashMap::new(), remove_at: MIN_KEYS }
    }

    /// Whether [`Budgets::try_acquire`] would succeed. Takes nothing.
    pub fn has_room(&self, key: &K, now: Instant) -> bool {
        self.budgets.get(key).is_none_or(|budget| budget.has_room(self.per_period, self.period, now))
    }

    /// Takes one token of this key. Returns false if there is none.
    pub fn try_acquire(&mut self, key: K, now: Instant) -> bool {
        let (per_period, period) = (self.per_period, self.period);
        per_period == 0 || self.entry(key, now).try_acquire(per_period, period, now)
    }

    /// Takes one token of this key even if there is none, as [`Budget::charge`] does.
    pub fn charge(&mut self, key: K, now: Instant) {
        let (per_period, period) = (self.per_period, self.period);
        if per_period != 0 {
            self.entry(key, now).charge(per_period, period, now);
        }
    }

    fn entry(&mut self, key: K, now: Instant) -> &mut Budget {
        if self.budgets.len() >= self.remove_at {
            self.remove_full(now);
        }
        self.budgets.entry(key).or_default()
    }

    /// The number of keys that have an entry.
    pub fn keys(&self) -> usize {
        self.budgets.len()
    }

    fn remove_full(&mut self, now: Instant) {
        self.budgets.retain(|_, budget| !budget.is_full(now));
        self.remove_at = MIN_KEYS.max(2 * self.budgets.len());
        self.budgets.shrink_to(self.remove_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn allows_one_period_at_once_and_then_an_even_rate() {
        let start = Instant::now();
        let mut budget = Budget::default();
        assert!((0..60).all(|_| budget.try_acquire(60, MINUTE, start)));
        assert!(!budget.try_acquire(60, MINUTE, start));
        assert!(!budget.try_acquire(60, MINUTE, start + Duration::from_millis(900)));
        assert!(budget.try_acquire(60, MINUTE, start + Duration::from_millis(1_100)));
        assert!(!budget.try_acquire(60, MINUTE, start + Duration::from_millis(1_200)));
        let refilled = start + Duration::from_secs(3_600);
        assert!((0..60).all(|_| budget.try_acquire(60, MINUTE, refilled)), "refilled");
        assert!(!budget.try_acquire(60, MINUTE, refilled), "never more than full");
    }

    #[test]
    fn an_uneven_period_still_holds_its_number_of_tokens() {
        let start = Instant::now();
        for many in [1, 3, 7, 2_000, u32::MAX] {
            let mut budget = Budget::default();
            let expected = many.min(10_000);
            assert!((0..expected).all(|_| budget.try_acquire(many, Duration::from_secs(1), start)), "{many}");
            assert!(many != expected || !budget.try_acquire(many, Duration::from_secs(1), start), "{many}");
        }
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let mut budget = Budget::default();
        assert!((0..10_000).all(|_| budget.try_acquire(0, MINUTE, start)));
    }

    #[test]
    fn each_key_has_its_own_budget() {
        let start = Instant::now();
        let mut budgets = Budgets::new(2, MINUTE);
        assert!(budgets.try_acquire("a", start) && budgets.try_acquire("a", start));
        assert!(!budgets.has_room(&"a", start) && !budgets.try_acquire("a", start));
        assert!(budgets.has_room(&"b", start) && budgets.try_acquire("b", start));
        assert!(budgets.has_room(&"b", start), "has_room takes nothing");
        assert!(budgets.try_acquire("a", start + MINUTE / 2));
        assert!(!budgets.try_acquire("a", start + MINUTE / 2));
    }

    #[test]
    fn a_debt_of_one_period_at_most_is_paid_back() {
        let start = Instant::now();
        let mut budgets = Budgets::new(60, MINUTE);
        (0..90).for_each(|_| budgets.charge("a", start));
        assert!(!budgets.has_room(&"a", start + MINUTE / 2));
        assert!(budgets.has_room(&"a", start + MINUTE / 2 + Duration::from_secs(1)));
        (0..1000).for_each(|_| budgets.charge("b", start));
        assert!(!budgets.has_room(&"b", start + MINUTE));
        assert!(budgets.has_room(&"b", start + MINUTE + Duration::from_secs(1)));
        let mut unlimited = Budgets::new(0, MINUTE);
        unlimited.charge("a", start);
        assert_eq!(unlimited.keys(), 0);
    }

    #[test]
    fn keys_with_a_full_budget_are_removed() {
        let start = Instant::now();
        let mut budgets = Budgets::new(60, MINUTE);
        for key in 0..100_000 {
            // A thousand new keys a second. The budget of each is full again one second later.
            assert!(budgets.try_acquire(key, start + key * Duration::from_millis(1)));
            assert!(budgets.keys() <= 2 * 1_024 + 1, "{} keys", budgets.keys());
        }
    }

    #[test]
    fn no_limit_keeps_no_key() {
        let mut budgets = Budgets::new(0, MINUTE);
        assert!((0..10_000).all(|key| budgets.try_acquire(key, Instant::now())));
        assert_eq!(budgets.keys(), 0);
    }

    #[test]
    fn a_budget_takes_sixteen_bytes() {
        assert!(size_of::<Budget>() <= 16);
    }
}
