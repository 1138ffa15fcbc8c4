//! Counts by key, such as an address or a user.

use std::collections::HashMap;
use std::hash::Hash;

use crate::shrink;
#[cfg(test)]
pub(crate) use crate::shrink::MIN_CAPACITY;

/// A count for each key.
#[derive(Debug)]
pub(crate) struct KeyCounts<K> {
    /// No entry has a count of 0.
    counts: HashMap<K, u32>,
}

impl<K> Default for KeyCounts<K> {
    fn default() -> Self {
        Self { counts: HashMap::new() }
    }
}

impl<K: Eq + Hash> KeyCounts<K> {
    /// Whether the count of this key is below `cap`.
    pub(crate) fn has_room(&self, key: &K, cap: u32) -> bool {
        self.counts.get(key).is_none_or(|&count| count < cap)
    }

    /// Adds one to the count of this key.
    pub(crate) fn add(&mut self, key: K) {
        *self.counts.entry(key).or_default() += 1;
    }

    /// Subtracts one from the count of this key.
    pub(crate) fn remove(&mut self, key: &K) {
        let Some(count) = self.counts.get_mut(key) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(key);
            shrink::map(&mut self.counts);
        }
    }

    /// How many keys have an entry.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.counts.len()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.counts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_count_takes_no_memory() {
        let mut counts = KeyCounts::default();
        for key in 0..10_000 {
            counts.add(key);
        }
        for key in 0..10_000 {
            assert!(!counts.has_room(&key, 1) && counts.has_room(&key, 2));
            counts.remove(&key);
        }
        assert_eq!(counts.keys(), 0);
        assert!(counts.capacity() <= 2 * MIN_CAPACITY, "{}", counts.capacity());
    }
}
