//! Which master of a cluster owns each slot: the answer of one node to `CLUSTER SHARDS`, and the vote of several nodes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::slot::{SLOTS, Slot};

/// The id of a node in its cluster. Its address may change, and nodes may know different addresses of it.
pub(super) type NodeId = Arc<str>;

/// Where clients reach a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct NodeAddress {
    pub(in super::super) host: String,
    pub(in super::super) port: u16,
}

/// A master with at least one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Master {
    id: NodeId,
    address: NodeAddress,
}

/// Which master owns each slot.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct SlotMap {
    masters: Vec<Master>,
    /// For each slot, the index of its master.
    owners: Vec<Option<usize>>,
}

impl Default for SlotMap {
    fn default() -> Self {
        Self { masters: Vec::new(), owners: vec![None; SLOTS.into()] }
    }
}

impl SlotMap {
    /// The master that owns a slot; `None`: no master that works.
    pub(in super::super) fn owner(&self, slot: Slot) -> Option<&NodeAddress> {
        self.master(slot).map(|master| &master.address)
    }

    /// The masters with at least one slot.
    pub(in super::super) fn masters(&self) -> impl Iterator<Item = &NodeAddress> {
        self.masters.iter().map(|master| &master.address)
    }

    /// The slots of a master.
    pub(in super::super) fn slots_of(&self, master: &NodeAddress) -> impl Iterator<Item = Slot> {
        Slot::all().filter(move |slot| self.owner(*slot) == Some(master))
    }

    /// The slots without a master that works.
    pub(in super::super) fn unowned(&self) -> impl Iterator<Item = Slot> {
        Slot::all().filter(|slot| self.owner(*slot).is_none())
    }

    /// Gives a master slots. Later calls for the same slots are in force.
    pub(in super::super) fn assign(
        &mut self,
        id: &str,
        address: NodeAddress,
        slots: impl Iterator<Item = Slot>,
    ) {
        let mut slots = slots.peekable();
        if slots.peek().is_none() {
            return;
        }
        let known = self.masters.iter().position(|master| *master.id == *id);
        let index = known.unwrap_or(self.masters.len());
        if known.is_none() {
            self.masters.push(Master { id: id.into(), address });
        }
        slots.for_each(|slot| self.owners[slot.index()] = Some(index));
    }

    pub(super) fn owner_id(&self, slot: Slot) -> Option<&NodeId> {
        self.master(slot).map(|master| &master.id)
    }

    fn master(&self, slot: Slot) -> Option<&Master> {
        self.masters.get(self.owners[slot.index()]?)
    }

    fn address_of(&self, id: &NodeId) -> Option<&NodeAddress> {
        self.masters.iter().find(|master| master.id == *id).map(|master| &master.address)
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.masters().map(|master| (master, self.slots_of(master).count()));
        f.debug_map().entries(slots).finish()
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The answers of several nodes. A node that is cut off from the others still believes an old map.
#[derive(Debug, Default)]
pub(super) struct Votes {
    answers: Vec<SlotMap>,
}

impl Votes {
    /// The answers of nodes; `None`: a node did not answer.
    pub(super) fn of(answers: &[Option<&SlotMap>]) -> Self {
        Self { answers: answers.iter().copied().flatten().cloned().collect() }
    }

    pub(super) fn count(&mut self, answer: SlotMap) {
        self.answers.push(answer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Whether more than half of the nodes that were asked agree about each of these slots.
    pub(super) fn is_settled(&self, asked: usize, mut slots: impl Iterator<Item = Slot>) -> bool {
        // Agreement needs this many answers, and the nodes usually agree completely.
        self.answers.len() * 2 > asked && slots.all(|slot| self.owner_of_majority(asked, slot).is_some())
    }

    /// The owner that more than half of the nodes that were asked name, which may be none; `None`: they do not agree.
    pub(super) fn owner_of_majority(&self, asked: usize, slot: Slot) -> Option<Option<&NodeId>> {
        let (owner, count) = most_frequent(self.owners_of(slot), None)?;
        (count * 2 > asked).then_some(owner)
    }

    /// The most frequent owner of each slot. A tie keeps the owner before if it is one of the most frequent. Otherwise
    /// a master wins against none: its server tells whether it owns the slot.
    pub(super) fn result(&self, before: &SlotMap) -> SlotMap {
        let (mut map, mut indexes) = (SlotMap::default(), HashMap::<&NodeId, usize>::new());
        for slot in Slot::all() {
            let owner_before = before.master(slot).map(|master| Some(&master.id));
            let elected = most_frequent(self.owners_of(slot), owner_before);
            let Some((Some(id), _)) = elected else { continue };
            let index = *indexes.entry(id).or_insert_with(|| {
                map.masters
                    .extend(self.address_of(id, before).map(|address| Master { id: id.clone(), address }));
                map.masters.len() - 1
            });
            map.owners[slot.index()] = Some(index);
        }
        map
    }

    fn owners_of(&self, slot: Slot) -> impl Iterator<Item = Option<&NodeId>> {
        self.answers.iter().map(move |answer| answer.owner_id(slot))
    }

    fn address_of(&self, id: &NodeId, before: &SlotMap) -> Option<NodeAddress> {
        let known = self.answers.iter().filter_map(|answer| answer.address_of(id));
        most_frequent(known, before.address_of(id)).map(|(address, _)| address.clone())
    }
}

/// The most frequent value, and how often it is there. In a tie, `before` wins if it is one of the most frequent values;
/// then the greatest value, and `None` is the least.
fn most_frequent<T: Ord + Copy>(values: impl Iterator<Item = T>, before: Option<T>) -> Option<(T, usize)> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    counts.into_iter().max_by_key(|(value, count)| (*count, Some(*value) == before, *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> NodeAddress {
        NodeAddress { host: "10.0.0.1".into(), port }
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    /// The masters are named by their ports. Each owner in turn has one slot, from 0; 0 is no owner.
    fn map(owners: &[u16]) -> SlotMap {
        let mut map = SlotMap::default();
        for (number, &port) in owners.iter().enumerate().filter(|(_, port)| **port > 0) {
            map.assign(&format!("node-{port}"), address(port), [slot(number as u16)].into_iter());
        }
        map
    }

    fn ports(map: &SlotMap, slots: u16) -> Vec<u16> {
        (0..slots).map(|number| map.owner(slot(number)).map_or(0, |owner| owner.port)).collect()
    }

    fn votes(answers: &[&[u16]]) -> Votes {
        Votes { answers: answers.iter().map(|owners| map(owners)).collect() }
    }

    #[test]
    fn each_slot_has_the_owner_that_most_nodes_name() {
        for (answers, before, expected) in [
            (&[&[1, 2][..], &[1, 2], &[2, 2]][..], &[][..], [1, 2]),
            // A slot that moves: the nodes agree about the other one.
            (&[&[1, 1], &[1, 2], &[1, 2]], &[1, 1], [1, 2]),
            (&[&[1, 1], &[1, 2]], &[1, 1], [1, 1]),
            (&[&[1, 1], &[1, 2]], &[1, 2], [1, 2]),
            // A failed owner: most nodes say so.
            (&[&[0, 2], &[0, 2], &[1, 2]], &[1, 2], [0, 2]),
            (&[&[0, 2], &[1, 2]], &[1, 2], [1, 2]),
            (&[&[0, 2], &[1, 2]], &[0, 2], [1, 2]),
            // A node that is not part of the cluster yet.
            (&[&[], &[1, 2]], &[], [1, 2]),
            // The owner before has no vote.
            (&[&[1, 2], &[2, 2]], &[3, 3], [2, 2]),
            (&[], &[1, 2], [0, 0]),
        ] {
            let elected = votes(answers).result(&map(before));
            assert_eq!(ports(&elected, 2), expected, "{answers:?} {before:?}");
        }
    }

    #[test]
    fn a_vote_is_settled_by_more_than_half_of_all_nodes() {
        let two = || [slot(0), slot(1)].into_iter();
        for (answers, asked, is_settled) in [
            (&[&[1, 2][..]][..], 1, true),
            (&[&[1, 2]], 2, false),
            (&[&[1, 2], &[1, 2]], 3, true),
            (&[&[1, 2], &[1, 1]], 3, false),
            (&[&[1, 0], &[1, 0]], 3, true),
            (&[&[1, 2], &[1, 1], &[1, 2]], 3, true),
            (&[], 0, false),
        ] {
            assert_eq!(votes(answers).is_settled(asked, two()), is_settled, "{answers:?} of {asked}");
        }
        assert!(votes(&[&[1, 2], &[1, 1]]).is_settled(3, [slot(0)].into_iter()));
    }

    #[test]
    fn a_node_with_two_addresses_is_one_owner() {
        let at = |port: u16| {
            let mut map = SlotMap::default();
            map.assign("node", address(port), Slot::all());
            map
        };
        let votes = Votes { answers: vec![at(1), at(1), at(2), map(&[3])] };
        let elected = votes.result(&SlotMap::default());
        assert_eq!(elected.owner(slot(0)), Some(&address(1)));
        let tie = Votes { answers: vec![at(1), at(2)] };
        assert_eq!(tie.result(&at(1)).owner(slot(0)), Some(&address(1)));
        assert_eq!(tie.result(&at(1)).masters().count(), 1);
    }

    #[test]
    fn a_map_lists_masters_with_slots_and_slots_without_masters() {
        let mut map = map(&[1, 0, 2]);
        map.assign("node-3", address(3), std::iter::empty());
        assert_eq!(map.masters().collect::<Vec<_>>(), [&address(1), &address(2)]);
        assert_eq!(map.slots_of(&address(2)).collect::<Vec<_>>(), [slot(2)]);
        assert_eq!((map.unowned().next(), map.unowned().count()), (Some(slot(1)), 16_382));
    }

    #[test]
    fn the_address_of_an_ipv6_node_is_in_brackets() {
        assert_eq!(NodeAddress { host: "::1".into(), port: 7 }.to_string(), "[::1]:7");
        assert_eq!(address(7).to_string(), "10.0.0.1:7");
    }
}
