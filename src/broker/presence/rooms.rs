//! The events of rooms for the hubs of one process: the first state of each room, then its changes, at most once a
//! second.
//!
//! A room is followed while a hub has reported a session or a member of it. No IO; callers pass the time, read the rooms
//! that [`RoomFeed::next_read`] names, and offer the events.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::counts::HubSizes;
use super::reporter::MAX_ROOMS;
use crate::broker::{HubEvent, HubId};
use protocol::channel::ChannelName;

/// The shortest time between two events of a room.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// A change of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RoomChange {
    /// The sessions or the members of the room after the change.
    pub(crate) count: u64,
    /// The ids of the users that have come.
    pub(crate) joined: Vec<Box<str>>,
    /// The ids of the users that have left.
    pub(crate) left: Vec<Box<str>>,
    /// Whether other users may have come or left as well.
    pub(crate) is_partial: bool,
}

/// An event, and the hubs that receive it.
pub(crate) type RoomEvent = (Vec<HubId>, HubEvent);

/// The rooms of one process.
#[derive(Debug)]
pub(crate) struct RoomFeed {
    rooms: HashMap<ChannelName, Room>,
    /// The rooms with a change that was not offered, by the time when it may be.
    due: BTreeSet<(Instant, ChannelName)>,
    /// The rooms to read while the link is up.
    unread: BTreeSet<ChannelName>,
    is_up: bool,
    /// Subscribers of a room with more members do not learn of joins and leaves.
    max_members: usize,
}

#[derive(Debug)]
struct Room {
    /// How many sessions or members each hub has.
    hubs: HubSizes,
    has_members: bool,
    count: u64,
    /// The time and the count of the last event; `None`: there was none.
    offered: Option<(Instant, u64)>,
    /// The users that have come (true) or left (false) since then.
    changes: HashMap<Box<str>, bool>,
    /// Whether more users may have come or left since then.
    is_partial: bool,
    read: RoomRead,
    /// The time of the room in `due`.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoomRead {
    /// The room is in `unread`, or will be when the link is up.
    Needed,
    /// The read is sent.
    Sent,
    /// The state is known, and every change follows.
    Done,
}

impl RoomFeed {
    /// No rooms; the link is down.
    pub(crate) fn new(max_members: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            due: BTreeSet::new(),
            unread: BTreeSet::new(),
            is_up: false,
            max_members,
        }
    }

    /// Sets how many sessions of a hub are subscribed to a room without members. Returns the state of the room for a hub
    /// that has not received it.
    pub(crate) fn set_sessions(
        &mut self,
        hub: HubId,
        room: &ChannelName,
        sessions: usize,
    ) -> Option<RoomEvent> {
        self.resize(hub, room, false, |_| sessions)
    }

    /// A hub has one member more or fewer of a room. Returns the state of the room for a hub that has not received it.
    pub(crate) fn change_member(
        &mut self,
        hub: HubId,
        room: &ChannelName,
        is_member: bool,
    ) -> Option<RoomEvent> {
        self.resize(hub, room, true, |size| if is_member { size + 1 } else { size.saturating_sub(1) })
    }

    fn resize(
        &mut self,
        hub: HubId,
        name: &ChannelName,
        has_members: bool,
        change: impl FnOnce(usize) -> usize,
    ) -> Option<RoomEvent> {
        let is_up = self.is_up;
        let room = self.rooms.entry(name.clone()).or_insert_with(|| {
            if is_up {
                self.unread.insert(name.clone());
            }
            Room::new(has_members)
        });
        let is_new_hub = room.hubs.change(hub, change);
        if room.hubs.total() == 0 {
            if let Some(due) = room.due {
                self.due.remove(&(due, name.clone()));
            }
            self.unread.remove(name);
            self.rooms.remove(name);
            return None;
        }
        let (_, count) = room.offered.filter(|_| is_new_hub)?;
        Some((vec![hub], event(name, count, Vec::new(), Vec::new())))
    }

    /// A room has changed. A room without local subscribers is ignored.
    pub(crate) fn change(&mut self, name: &str, change: RoomChange, now: Instant) {
        let max_members = self.max_members;
        let Some((name, _)) = self.rooms.get_key_value(name) else { return };
        let name = name.clone();
        let Some(room) = self.rooms.get_mut(&name) else { return };
        room.read = RoomRead::Done;
        room.add(change, max_members);
        if room.due.is_none() {
            let due = room.offered.map_or(now, |(offered, _)| now.max(offered + EVENT_INTERVAL));
            room.due = Some(due);
            self.due.insert((due, name));
        }
    }

    /// The events that are due, of at most [`MAX_ROOMS`] rooms.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        for _ in 0..MAX_ROOMS {
            if self.next_due().is_none_or(|due| due > now) {
                break;
            }
            let Some((_, name)) = self.due.pop_first() else { break };
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            room.due = None;
            events.extend(room.take_event(&name, self.max_members, now));
        }
        events
    }

    /// When the next event is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The link is up and receives changes from now on: every room is read, because changes may have been missed.
    pub(crate) fn connected(&mut self) {
        self.is_up = true;
        self.unread.clear();
        for (name, room) in &mut self.rooms {
            (room.read, room.is_partial) = (RoomRead::Needed, room.has_members);
            room.changes.clear();
            self.unread.insert(name.clone());
        }
    }

    /// The link is down: nothing is read until it is up again.
    pub(crate) fn disconnected(&mut self) {
        self.is_up = false;
        self.unread.clear();
    }

    /// Reads that were sent and not answered are needed again.
    pub(crate) fn repeat_reads(&mut self) {
        let sent = self.rooms.iter_mut().filter(|(_, room)| room.read == RoomRead::Sent);
        for (name, room) in sent {
            room.read = RoomRead::Needed;
            self.unread.insert(name.clone());
        }
    }

    /// The rooms to read now, at most [`MAX_ROOMS`]. What is read is a change, in order with the others. Each call is
    /// followed by a change of each room, or by [`Self::repeat_reads`] or [`Self::connected`].
    pub(crate) fn next_read(&mut self) -> Vec<ChannelName> {
        let mut rooms = Vec::new();
        while rooms.len() < MAX_ROOMS
            && let Some(name) = self.unread.pop_first()
        {
            if let Some(room) = self.rooms.get_mut(&name).filter(|room| room.read == RoomRead::Needed) {
                room.read = RoomRead::Sent;
                rooms.push(name);
            }
        }
        rooms
    }
}

impl Room {
    fn new(has_members: bool) -> Self {
        Self {
            hubs: HubSizes::default(),
            has_members,
            count: 0,
            offered: None,
            changes: HashMap::new(),
            is_partial: false,
            read: RoomRead::Needed,
            due: None,
        }
    }

    /// Adds a change to those that are not offered yet. A user that came and left is not a change.
    fn add(&mut self, change: RoomChange, max_members: usize) {
        self.count = change.count;
        let joined = change.joined.into_iter().map(|user| (user, true));
        for (user, is_member) in joined.chain(change.left.into_iter().map(|user| (user, false))) {
            if self.changes.get(&user) == Some(&!is_member) {
                self.changes.remove(&user);
            } else {
                self.changes.insert(user, is_member);
            }
        }
        self.is_partial |= change.is_partial || self.changes.len() > max_members;
        if self.is_partial {
            self.changes.clear();
        }
    }

    /// The event with all changes since the one before, if there are any.
    fn take_event(&mut self, name: &ChannelName, max_members: usize, now: Instant) -> Option<RoomEvent> {
        let is_partial = std::mem::take(&mut self.is_partial);
        let changes = std::mem::take(&mut self.changes);
        let is_small = self.count <= max_members as u64;
        // With the count alone, the event says that users of a small room may have come or left.
        let has_changed = !changes.is_empty() || (is_partial && is_small);
        if !has_changed && self.offered.is_some_and(|(_, before)| before == self.count) {
            return None;
        }
        // The first event has only the count.
        let names_users = is_small && self.offered.is_some();
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for (user, is_member) in changes.into_iter().filter(|_| names_users) {
            if is_member { joined.push(user) } else { left.push(user) }
        }
        joined.sort_unstable();
        left.sort_unstable();
        self.offered = Some((now, self.count));
        Some((self.hubs.hubs().collect(), event(name, self.count, joined, left)))
    }
}

fn event(channel: &ChannelName, count: u64, joined: Vec<Box<str>>, left: Vec<Box<str>>) -> HubEvent {
    HubEvent::Room { channel: channel.clone(), count, joined: joined.into(), left: left.into() }
}

#[cfg(test)]
mod tests;
