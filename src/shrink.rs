//! Decides when a table, and a thread, gives unused memory back.
//!
//! Tables of the standard library keep the memory of their largest size, and the allocator keeps what a thread has freed
//! until the thread allocates again. After many sockets have left, that would be most of the memory of the process.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use slab::Slab;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// A table with room for at most this many entries does not shrink.
pub(crate) const MIN_CAPACITY: usize = 256;
/// A table shrinks when less than this share of its room is used.
const MIN_USED: usize = 8;
/// How long a thread waits before it gives memory back. What belongs to the last sockets is freed meanwhile.
const GIVE_BACK_AFTER: Duration = Duration::from_millis(500);

thread_local! {
    static WILL_GIVE_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Has this thread give back the memory that it has freed, soon and at most twice a second. Call when a table that
/// has an entry for each socket or channel has shrunk.
pub(crate) fn give_back_soon() {
    let Ok(runtime) = Handle::try_current() else { return };
    if !WILL_GIVE_BACK.replace(true) {
        runtime.spawn(async {
            sleep(GIVE_BACK_AFTER).await;
            WILL_GIVE_BACK.set(false);
            allocator::give_back();
        });
    }
}

/// Shrinks a map that is mostly unused. Call after an entry was removed. The map keeps room for twice its entries, so
/// that it shrinks rarely: its number of entries has to halve again. Returns whether it shrank.
pub(crate) fn map<K: Eq + Hash, V, H: BuildHasher>(map: &mut HashMap<K, V, H>) -> bool {
    let shrinks = is_mostly_unused(map.len(), map.capacity());
    if shrinks {
        map.shrink_to(2 * map.len());
    }
    shrinks
}

/// Shrinks a queue that is mostly unused, as [`map`] does.
pub(crate) fn queue<T>(queue: &mut VecDeque<T>) {
    if is_mostly_unused(queue.len(), queue.capacity()) {
        queue.shrink_to(2 * queue.len());
    }
}

/// Removes the unused end of a slab that is mostly unused. Call after an entry was removed. The time is proportional to
/// the slab, so it happens at powers of two only. Returns whether it happened.
pub(crate) fn slab<T>(slab: &mut Slab<T>) -> bool {
    let entries = slab.len();
    let shrinks = is_mostly_unused(entries, slab.capacity()) && (entries == 0 || entries.is_power_of_two());
    if shrinks {
        slab.shrink_to_fit();
    }
    shrinks
}

/// Removes the empty end of a list of slots that is mostly unused, as [`slab()`] does. `used`: the number of used slots.
pub(crate) fn slots<T>(slots: &mut Vec<Option<T>>, used: usize) {
    if is_mostly_unused(used, slots.capacity()) && (used == 0 || used.is_power_of_two()) {
        let end = slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        slots.truncate(end);
        slots.shrink_to_fit();
    }
}

fn is_mostly_unused(entries: usize, capacity: usize) -> bool {
    capacity > MIN_CAPACITY.max(MIN_USED * entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_shrinks_when_most_entries_are_gone() {
        let mut numbers: HashMap<_, _> = (0..10_000).map(|number| (number, ())).collect();
        let shrinks = (0..9_970).filter(|number| {
            numbers.remove(number);
            map(&mut numbers)
        });
        assert!((1..10).contains(&shrinks.count()));
        assert_eq!(numbers.len(), 30);
        assert!(numbers.capacity() <= MIN_CAPACITY, "{}", numbers.capacity());
    }

    #[test]
    fn an_empty_slab_gives_its_memory_back() {
        let mut numbers: Slab<_> = (0..10_000).map(|number| (number, number)).collect();
        for number in 0..10_000 {
            numbers.remove(number);
            slab(&mut numbers);
        }
        assert!(numbers.capacity() <= MIN_CAPACITY, "{}", numbers.capacity());
        assert_eq!(numbers.insert(7), 0);
    }

    #[test]
    fn a_slab_keeps_the_keys_of_its_entries() {
        let mut numbers: Slab<_> = (0..10_000).map(|number| (number, number)).collect();
        for number in (0..10_000).filter(|number| number % 100 != 50) {
            numbers.remove(number);
            slab(&mut numbers);
        }
        assert!(numbers.iter().all(|(key, number)| key == *number));
        assert_eq!(numbers.len(), 100);
    }
}
