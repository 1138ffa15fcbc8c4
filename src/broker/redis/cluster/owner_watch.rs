//! Watches whether the nodes of a cluster still name the master of a link.

use redis::ConnectionInfo;

use super::super::link_error::LinkError;
use super::map::{NodeId, SlotMap, Votes};
use super::nodes::ClusterNodes;
use super::slot::Slot;

/// The master of a link, and the nodes to ask about it.
pub(in super::super) struct OwnerWatch {
    /// The nodes of the URL. All masters that are known are asked too.
    pub(in super::super) seeds: Vec<ConnectionInfo>,
    slot: Slot,
    master: NodeId,
}

impl OwnerWatch {
    /// For the owner of this slot; `None`: it has no owner.
    pub(in super::super) fn new(seeds: Vec<ConnectionInfo>, slot: Slot, map: &SlotMap) -> Option<Self> {
        Some(Self { seeds, slot, master: map.owner_id(slot)?.clone() })
    }

    /// Why the link ends, by the last answers of all nodes. Keeps the map that more than half of them agree about, so
    /// that masters added later are asked as well.
    pub(in super::super) fn decide(
        &self,
        cluster: &ClusterNodes,
        answers: &[Option<&SlotMap>],
    ) -> Option<LinkError> {
        let votes = Votes::of(answers);
        let owner = votes.owner_of_majority(answers.len(), self.slot)?;
        let end = match owner {
            Some(owner) if *owner == self.master => None,
            Some(_) => Some(LinkError::Moved),
            None => Some(LinkError::NoOwner(self.slot)),
        };
        cluster.keep(votes.result(&cluster.map()));
        end
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::NodeAddress;
    use super::*;

    /// The maps of nodes that name these owners of all slots; 0: none.
    fn maps(owners: &[Option<u16>]) -> Vec<Option<SlotMap>> {
        let map = |port: u16| {
            let mut map = SlotMap::default();
            if port > 0 {
                let address = NodeAddress { host: "10.0.0.1".into(), port };
                map.assign(&port.to_string(), address, Slot::all());
            }
            map
        };
        owners.iter().map(|owner| owner.map(map)).collect()
    }

    #[test]
    fn only_a_majority_of_all_nodes_ends_a_link() {
        let slot = Slot::of_key("{gateway}:users");
        let none = || Some(LinkError::NoOwner(slot));
        for (answers, end) in [
            (&[Some(1), Some(1), Some(1)][..], None),
            // The other nodes have forgotten the owner, which answers as before.
            (&[Some(1), Some(0), Some(0)], none()),
            (&[Some(1), Some(2), Some(2)], Some(LinkError::Moved)),
            (&[None, Some(0), Some(0)], none()),
            // A minority, and nodes that are away.
            (&[Some(1), Some(1), Some(0)], None),
            (&[Some(1), None, Some(0)], None),
            (&[None, None, Some(2)], None),
            (&[None, None, None], None),
            // No owner has more than half of the votes.
            (&[Some(1), Some(0), Some(2)], None),
            (&[Some(1), Some(0)], None),
        ] {
            let known = maps(&[Some(1)]).remove(0).unwrap();
            let watch = OwnerWatch::new(Vec::new(), slot, &known).unwrap();
            let maps = maps(answers);
            let maps: Vec<_> = maps.iter().map(Option::as_ref).collect();
            assert_eq!(watch.decide(&ClusterNodes::default(), &maps), end, "{answers:?}");
        }
    }

    #[test]
    fn a_watch_learns_of_masters_that_were_added() {
        let slot = Slot::of_key("{gateway}:users");
        let mut map = maps(&[Some(1)]).remove(0).unwrap();
        let watch = OwnerWatch::new(Vec::new(), slot, &map).unwrap();
        let added = NodeAddress { host: "10.0.0.1".into(), port: 2 };
        map.assign("2", added.clone(), Slot::all().filter(|other| *other != slot));
        let cluster = ClusterNodes::default();
        assert_eq!(watch.decide(&cluster, &[Some(&map), Some(&map), None]), None);
        assert!(cluster.map().masters().any(|master| *master == added));
    }
}
