//! The owners of slots as redirections name them.
//!
//! The nodes of a cluster learn of a moved slot one after the other, so their majority may still name the old owner. The
//! old owner itself knows that it has given the slot away: it answers `MOVED`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::map::{NodeAddress, SlotMap};
use super::slot::Slot;

/// All nodes agree by then.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The latest redirection of each slot, until the map of the slots agrees.
#[derive(Default)]
pub(in super::super) struct Redirects(Mutex<BTreeMap<Slot, (String, Instant)>>);

impl Redirects {
    /// A server answered that the slot with this number is at `to`, `host:port`.
    pub(in super::super) fn note(&self, slot: u16, to: String, now: Instant) {
        if let Some(slot) = Slot::new(slot) {
            self.0.lock().insert(slot, (to, now));
        }
    }

    /// The owners of slots that a map does not know yet. Only the masters of the map count.
    pub(in super::super) fn ahead_of<'m>(
        &self,
        map: &'m SlotMap,
        now: Instant,
    ) -> BTreeMap<Slot, &'m NodeAddress> {
        let mut redirects = self.0.lock();
        redirects.retain(|slot, (to, at)| {
            let agrees = map.owner(*slot).is_some_and(|owner| owner.to_string() == *to);
            !agrees && now.saturating_duration_since(*at) < MAX_AGE
        });
        let master = |to: &str| map.masters().find(|master| master.to_string() == to);
        redirects.iter().filter_map(|(slot, (to, _))| Some((*slot, master(to)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_counts_until_the_map_agrees() {
        let (redirects, now) = (Redirects::default(), Instant::now());
        let owned_by = |first: u16| {
            let mut map = SlotMap::default();
            for (port, slots) in [(first, 0..2), (3 - first, 2..4)] {
                let address = NodeAddress { host: "10.0.0.1".into(), port };
                map.assign(&port.to_string(), address, slots.filter_map(Slot::new));
            }
            map
        };
        let ports = |map: &SlotMap, now| {
            let found = redirects.ahead_of(map, now);
            found.into_iter().map(|(slot, node)| (slot.number(), node.port)).collect::<Vec<_>>()
        };
        redirects.note(1, "10.0.0.1:2".into(), now);
        redirects.note(0, "10.0.0.9:7".into(), now);
        assert_eq!(ports(&owned_by(1), now), [(1, 2)], "the other one is no master");
        assert_eq!(ports(&owned_by(2), now), []);
        assert_eq!(ports(&owned_by(1), now), [], "the map has agreed");
        redirects.note(1, "10.0.0.1:2".into(), now);
        assert_eq!(ports(&owned_by(1), now + MAX_AGE), []);
    }
}
