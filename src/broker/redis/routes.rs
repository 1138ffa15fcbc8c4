//! Which link serves a channel or a key.

use std::sync::Arc;

use super::cluster::slot::Slot;
use super::process::ProcessState;
use super::state::RedisState;

/// The links, and which of them serves each slot. Replaced as a whole when the map of the slots changes.
pub(super) struct Routes {
    /// The links, each for one master.
    pub(super) links: Vec<Arc<RedisState>>,
    /// For each slot, the index of its link; `None`: one link serves everything.
    owners: Option<SlotOwners>,
}

/// The links of slots.
pub(super) struct SlotOwners {
    /// For each slot, the index of its link.
    pub(super) by_slot: Vec<Option<usize>>,
    /// A link that is never connected, for the slots that have no link.
    pub(super) nobody: Arc<RedisState>,
    /// Why there is no map of the slots; `None`: there is one.
    pub(super) failure: Option<String>,
}

impl Routes {
    /// One link serves everything.
    pub(super) fn one(link: Arc<RedisState>) -> Self {
        Self { links: vec![link], owners: None }
    }

    /// Each slot has its link.
    pub(super) fn sharded(links: Vec<Arc<RedisState>>, owners: SlotOwners) -> Self {
        Self { links, owners: Some(owners) }
    }

    /// The link that serves everything, if there is one.
    pub(super) fn only(&self) -> Option<&Arc<RedisState>> {
        if self.owners.is_some() { None } else { self.links.first() }
    }

    /// The link of a slot.
    pub(super) fn of_slot(&self, slot: Slot) -> &Arc<RedisState> {
        match &self.owners {
            Some(owners) => {
                let link = owners.by_slot[slot.index()].and_then(|index| self.links.get(index));
                link.unwrap_or(&owners.nobody)
            }
            None => &self.links[0],
        }
    }

    /// The link of a channel.
    pub(super) fn of_channel(&self, process: &ProcessState, channel: &str) -> &Arc<RedisState> {
        match self.only() {
            Some(link) => link,
            None => self.of_slot(process.options.names().slot_of(channel)),
        }
    }

    /// How many slots have no link.
    pub(super) fn unowned(&self) -> usize {
        let owners = self.owners.as_ref();
        owners.map_or(0, |owners| owners.by_slot.iter().filter(|owner| owner.is_none()).count())
    }

    /// Whether these links serve these slots already.
    pub(super) fn is_same(&self, links: &[Arc<RedisState>], by_slot: &[Option<usize>]) -> bool {
        let are_links = self.links.len() == links.len()
            && self.links.iter().zip(links).all(|(one, other)| Arc::ptr_eq(one, other));
        let owners = self.owners.as_ref();
        are_links && owners.is_some_and(|owners| owners.failure.is_none() && owners.by_slot == by_slot)
    }

    /// Why there is no map of the slots.
    pub(super) fn failure(&self) -> Option<&str> {
        self.owners.as_ref()?.failure.as_deref()
    }

    /// The link that is never connected, where there are several.
    pub(super) fn nobody(&self) -> Option<&Arc<RedisState>> {
        self.owners.as_ref().map(|owners| &owners.nobody)
    }
}
