//! Decides which replicas must answer a command. Pure.

use std::collections::BTreeMap;

/// A replica in the set of processes without a lease is cut off or dead. Its sessions may be open for this long, in
/// milliseconds. The same as `LOST_FOR_MS` of gateway_presence.lua.
pub(in crate::broker) const LOST_FOR_MS: u64 = 60_000;
/// The name in `missing` for each replica that received a command and whose name is not known.
pub(in crate::broker) const UNNAMED: &str = "unnamed";

/// The replicas that must answer a command.
#[derive(Debug)]
pub(in crate::broker) struct Awaited {
    /// The replicas with a lease when the command was sent, and those that lost theirs. `true`: it has a lease.
    named: BTreeMap<String, bool>,
    /// How many replicas received the command. 0: the leases say who must answer.
    receivers: usize,
}

impl Awaited {
    /// `processes`: each replica and when its lease lapses, by Redis' clock. `own`: this replica. If it has no lease,
    /// the leases do not name the replicas that must answer, and only `receivers` counts.
    pub(in crate::broker) fn new(
        processes: &[(String, u64)],
        now_ms: u64,
        own: &str,
        receivers: usize,
    ) -> Self {
        let recent = processes.iter().filter(|(_, lapses)| lapses.saturating_add(LOST_FOR_MS) > now_ms);
        let named: BTreeMap<_, _> = recent.map(|(name, lapses)| (name.clone(), *lapses > now_ms)).collect();
        let has_own = named.get(own).copied().unwrap_or(false);
        Self { named, receivers: if has_own { 0 } else { receivers } }
    }

    /// The set of processes was read again: a replica that is not in it any more has ended properly, and one without a
    /// lease is not waited for.
    pub(in crate::broker) fn update(&mut self, processes: &[(String, u64)], now_ms: u64) {
        let lapses: BTreeMap<_, _> =
            processes.iter().map(|(name, lapses)| (name.as_str(), *lapses)).collect();
        self.named.retain(|name, has_lease| match lapses.get(name.as_str()) {
            None => false,
            Some(lapses) => {
                *has_lease = *lapses > now_ms;
                true
            }
        });
    }

    /// Whether an answer is to be waited for, if these replicas have answered.
    pub(in crate::broker) fn is_waiting<T>(&self, answers: &BTreeMap<String, T>) -> bool {
        let unanswered = || self.named.iter().filter(|(name, _)| !answers.contains_key(*name));
        let lost = unanswered().filter(|(_, has_lease)| !**has_lease).count();
        unanswered().any(|(_, has_lease)| *has_lease) || answers.len() + lost < self.receivers
    }

    /// The replicas that have not answered.
    pub(in crate::broker) fn missing<T>(&self, answers: &BTreeMap<String, T>) -> Vec<String> {
        let named = self.named.keys().filter(|name| !answers.contains_key(*name));
        let mut missing: Vec<_> = named.cloned().collect();
        let unnamed = self.receivers.saturating_sub(answers.len() + missing.len());
        missing.extend(std::iter::repeat_n(UNNAMED.to_owned(), unnamed));
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn processes(all: &[(&str, u64)]) -> Vec<(String, u64)> {
        all.iter().map(|(name, lapses)| ((*name).to_owned(), *lapses)).collect()
    }

    fn answers(names: &[&str]) -> BTreeMap<String, ()> {
        names.iter().map(|name| ((*name).to_owned(), ())).collect()
    }

    #[test]
    fn all_replicas_with_a_lease_must_answer() {
        let known = processes(&[("a", NOW + 1), ("b", NOW + 5_000)]);
        let awaited = Awaited::new(&known, NOW, "a", 7);
        assert!(awaited.is_waiting(&answers(&[])) && awaited.is_waiting(&answers(&["a"])));
        assert!(!awaited.is_waiting(&answers(&["a", "b"])));
        assert_eq!(awaited.missing(&answers(&["a", "c"])), ["b"]);
    }

    #[test]
    fn a_lost_replica_is_missing_at_once_for_a_minute() {
        let known = processes(&[("a", NOW + 1), ("b", NOW), ("c", NOW - LOST_FOR_MS)]);
        let awaited = Awaited::new(&known, NOW, "a", 2);
        assert!(!awaited.is_waiting(&answers(&["a"])));
        assert_eq!(awaited.missing(&answers(&["a"])), ["b"]);
        assert!(awaited.missing(&answers(&["a", "b"])).is_empty(), "it came back in time");
    }

    #[test]
    fn a_replica_that_ends_properly_is_not_missing() {
        let mut awaited =
            Awaited::new(&processes(&[("a", NOW + 1), ("b", NOW + 1), ("c", NOW + 1)]), NOW, "a", 3);
        awaited.update(&processes(&[("a", NOW + 9), ("c", NOW + 1), ("new", NOW + 9)]), NOW + 1);
        assert!(!awaited.is_waiting(&answers(&["a"])), "b is gone, and the lease of c has lapsed");
        assert_eq!(awaited.missing(&answers(&["a"])), ["c"]);
    }

    #[test]
    fn without_leases_the_receivers_count() {
        let awaited = Awaited::new(&[], NOW, "a", 3);
        assert!(awaited.is_waiting(&answers(&["a", "b"])));
        assert!(!awaited.is_waiting(&answers(&["a", "b", "c"])));
        assert_eq!(awaited.missing(&answers(&["a"])), ["unnamed", "unnamed"]);
        let awaited = Awaited::new(&processes(&[("b", NOW)]), NOW, "a", 3);
        assert!(!awaited.is_waiting(&answers(&["a", "c"])));
        assert_eq!(awaited.missing(&answers(&["a"])), ["b", "unnamed"]);
    }
}
