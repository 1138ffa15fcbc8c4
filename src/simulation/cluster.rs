//! The masters of Redis, which of them owns each slot, and the maps that replicas read. Each channel has a slot of its
//! own. A run without a cluster has one master.

use std::collections::{BTreeMap, BTreeSet};

use super::inbox::SimulatedInbox;
use super::plan::SimulationPlan;
use super::redis::Server;
use protocol::channel::ChannelName;
use protocol::position::Position;

/// The address of a master: an index of `servers`. An address is never used for another master.
pub(super) type ServerAddress = usize;
/// The owner of each channel's slot.
pub(super) type OwnerMap = BTreeMap<ChannelName, ServerAddress>;

/// The most addresses of one run.
const MAX_ADDRESSES: usize = 8;

pub(super) struct Cluster {
    servers: Vec<Server>,
    slots: BTreeMap<ChannelName, SimulatedSlot>,
    /// All maps so far, the latest last.
    maps: Vec<OwnerMap>,
    inbox_at: ServerAddress,
    /// The channels to which replicas may not subscribe.
    pub(super) forbidden: BTreeSet<ChannelName>,
}

#[derive(Clone, Copy)]
struct SimulatedSlot {
    owner: ServerAddress,
    /// The master that has the slot's keys already, while the slot migrates.
    target: Option<ServerAddress>,
}

impl Cluster {
    pub(super) fn new(plan: &SimulationPlan, clock_ms: u64, names: &[&str]) -> Self {
        let servers: Vec<_> = (0..plan.masters)
            .map(|address| Server::new(address, clock_ms, plan.history_size, plan.ttl_ms))
            .collect();
        let slot = |(index, name): (usize, &&str)| {
            (ChannelName::parse(name).unwrap(), SimulatedSlot { owner: index % servers.len(), target: None })
        };
        let slots = names.iter().enumerate().map(slot).collect();
        let mut cluster = Self { servers, slots, maps: Vec::new(), inbox_at: 0, forbidden: BTreeSet::new() };
        cluster.note_map();
        cluster
    }

    fn note_map(&mut self) {
        self.maps.push(self.slots.iter().map(|(name, slot)| (name.clone(), slot.owner)).collect());
    }

    /// The latest map, or one of `late` changes ago.
    pub(super) fn map(&self, late: usize) -> &OwnerMap {
        &self.maps[(self.maps.len() - 1).saturating_sub(late)]
    }

    pub(super) fn server(&mut self, address: ServerAddress) -> &mut Server {
        &mut self.servers[address]
    }

    pub(super) fn is_alive(&self, address: ServerAddress) -> bool {
        self.servers[address].is_alive
    }

    /// The masters that own slots.
    pub(super) fn owners(&self) -> Vec<ServerAddress> {
        let owners: BTreeSet<_> = self.slots.values().map(|slot| slot.owner).collect();
        owners.into_iter().collect()
    }

    /// Whether a master owns the slot of a channel, so that it accepts subscriptions.
    pub(super) fn owns(&self, address: ServerAddress, channel: &ChannelName) -> bool {
        self.slots[channel].owner == address
    }

    /// Whether a master answers reads of a channel. It redirects them while the slot migrates.
    pub(super) fn serves(&self, address: ServerAddress, channel: &ChannelName) -> bool {
        self.owns(address, channel) && self.slots[channel].target.is_none()
    }

    /// The master that owns the slot of a channel.
    pub(super) fn owner(&self, channel: &ChannelName) -> ServerAddress {
        self.slots[channel].owner
    }

    /// The master that has the history of a channel, to which durable messages go.
    pub(super) fn history_at(&self, channel: &ChannelName) -> ServerAddress {
        let slot = self.slots[channel];
        slot.target.unwrap_or(slot.owner)
    }

    /// `gateway_publish`.
    pub(super) fn append(&mut self, channel: &ChannelName, number: u64) -> Position {
        let address = self.history_at(channel);
        self.servers[address].append(channel, number)
    }

    /// `gateway_mark`, for all slots that a master serves.
    pub(super) fn mark(&mut self, address: ServerAddress) {
        let channels: Vec<_> = self.slots.keys().filter(|name| self.serves(address, name)).cloned().collect();
        self.servers[address].mark(&channels);
    }

    pub(super) fn mark_all(&mut self) {
        self.owners().into_iter().for_each(|address| self.mark(address));
    }

    pub(super) fn inbox(&mut self) -> &mut SimulatedInbox {
        self.servers[self.inbox_at].inbox()
    }

    /// Saves the data of all masters. `published`: the number of publications.
    pub(super) fn save(&mut self, published: u64) {
        self.servers.iter_mut().for_each(|server| server.save(published));
    }

    pub(super) fn change_clocks(&mut self, change: impl Fn(u64) -> u64) {
        self.servers.iter_mut().for_each(|server| server.clock_ms = change(server.clock_ms));
    }

    /// The masters to which a slot can move: those that are alive, and one more.
    pub(super) fn targets(&self, channel: &ChannelName) -> Vec<ServerAddress> {
        let alive = (0..self.servers.len()).filter(|address| self.is_alive(*address));
        let new = (self.servers.len() < MAX_ADDRESSES).then_some(self.servers.len());
        alive.chain(new).filter(|address| *address != self.slots[channel].owner).collect()
    }

    /// A slot begins to migrate: its keys move at once. Does nothing if it migrates already.
    pub(super) fn migrate(&mut self, channel: &ChannelName, target: ServerAddress, published: u64) {
        let owner = self.slots[channel].owner;
        if self.slots[channel].target.is_some() {
            return;
        }
        self.ensure(target);
        let (stream, marker_ms, last_epoch) = self.servers[owner].take_slot(channel);
        self.servers[target].put_slot(channel, stream, marker_ms, last_epoch);
        // The move is not lost with a later write.
        [owner, target].into_iter().for_each(|address| self.servers[address].save(published));
        self.slots.insert(channel.clone(), SimulatedSlot { owner, target: Some(target) });
    }

    /// A slot that migrates belongs to its target from now on. Returns the owner before, which ends the subscriptions.
    pub(super) fn finish(&mut self, channel: &ChannelName) -> Option<ServerAddress> {
        let SimulatedSlot { owner, target } = self.slots[channel];
        self.slots.insert(channel.clone(), SimulatedSlot { owner: target?, target: None });
        self.note_map();
        Some(owner)
    }

    /// A master fails, and another one with a new address takes its slots: with the same data, or with the data of the
    /// last save. Returns whether there was an address left.
    pub(super) fn replace(&mut self, address: ServerAddress, loses_end: bool) -> bool {
        let new = self.servers.len();
        if new >= MAX_ADDRESSES {
            return false;
        }
        self.ensure(new);
        let failed = &mut self.servers[address];
        failed.is_alive = false;
        let (data, saved_at) = failed.replicated(loses_end);
        self.servers[new].become_master(data, saved_at);
        for slot in self.slots.values_mut().filter(|slot| slot.owner == address) {
            slot.owner = new;
        }
        for slot in self.slots.values_mut().filter(|slot| slot.target == Some(address)) {
            slot.target = Some(new);
        }
        if self.inbox_at == address {
            self.inbox_at = new;
        }
        self.note_map();
        true
    }

    /// The master that was added last.
    pub(super) fn newest(&self) -> ServerAddress {
        self.servers.len() - 1
    }

    /// Adds the master with the next address.
    fn ensure(&mut self, address: ServerAddress) {
        if address == self.servers.len() {
            let new = self.servers[0].empty(address);
            self.servers.push(new);
        }
    }
}
