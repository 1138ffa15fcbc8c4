//! Rooms: the channels of namespaces with presence or occupancy.
//!
//! The hub reports to the broker who is subscribed to them, from the start of a subscription to its end. It sends
//! sessions the number of subscribers on all replicas.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{FrameSink, HubAction, HubCore, SessionKey};
use crate::broker::LocalReport;
use crate::hub::fanout::{ROOM_FRAME_COST, RoomFrames};
use crate::settings::{NamespaceSettings, Namespaces, RoomPresence};
use protocol::channel::ChannelName;
use protocol::event::{Event, EventFrames};

/// The rooms with a subscriber on this thread.
#[derive(Debug)]
pub(super) struct Rooms {
    /// `None`: no namespace has presence or occupancy.
    namespaces: Option<Arc<Namespaces>>,
    rooms: HashMap<ChannelName, HubRoom>,
}

#[derive(Debug)]
struct HubRoom {
    /// The options of the channel's namespace.
    options: NamespaceSettings,
    /// The number of subscribed sessions.
    sessions: usize,
    /// The number of subscribed sessions of each user, if the namespace reports members.
    users: HashMap<ChannelName, usize>,
    /// Op 14 with the last count; `None` until the broker has reported one.
    count: Option<EventFrames>,
}

impl Rooms {
    pub(super) fn new(namespaces: &Arc<Namespaces>) -> Self {
        let is_enabled = namespaces.any(NamespaceSettings::reports_subscribers);
        Self { namespaces: is_enabled.then(|| namespaces.clone()), rooms: HashMap::new() }
    }

    /// Whether any namespace has presence or occupancy. Otherwise nothing has to be looked up.
    fn is_enabled(&self) -> bool {
        self.namespaces.is_some()
    }

    /// A session of `user` has subscribed.
    fn enter(&mut self, channel: &ChannelName, user: &ChannelName, actions: &mut Vec<HubAction>) {
        let Some(namespaces) = &self.namespaces else { return };
        let room = match self.rooms.entry(channel.clone()) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(vacant) => {
                let options = namespaces.options(channel.namespace());
                if !options.reports_subscribers() {
                    return;
                }
                if options.occupancy {
                    report(LocalReport::Channel { channel: channel.clone(), is_occupied: true }, actions);
                }
                vacant.insert(HubRoom { options, sessions: 0, users: HashMap::new(), count: None })
            }
        };
        room.sessions += 1;
        room.report_count(channel, actions);
        if room.options.reports_members() {
            let sessions = room.users.entry(user.clone()).or_default();
            *sessions += 1;
            if *sessions == 1 {
                report_member(channel, user, true, actions);
            }
        }
    }

    /// A subscription of a session of `user` has ended.
    fn leave(&mut self, channel: &ChannelName, user: &ChannelName, actions: &mut Vec<HubAction>) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        room.sessions -= 1;
        room.report_count(channel, actions);
        if let Some(sessions) = room.users.get_mut(user) {
            *sessions -= 1;
            if *sessions == 0 {
                room.users.remove(user);
                report_member(channel, user, false, actions);
            }
        }
        if room.sessions > 0 {
            return;
        }
        if room.options.occupancy {
            report(LocalReport::Channel { channel: channel.clone(), is_occupied: false }, actions);
        }
        self.rooms.remove(channel);
    }
}

impl HubRoom {
    fn report_count(&self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.options.reports_count() {
            report(LocalReport::Count { channel: channel.clone(), sessions: self.sessions }, actions);
        }
    }
}

fn report_member(channel: &ChannelName, user: &ChannelName, is_member: bool, actions: &mut Vec<HubAction>) {
    report(LocalReport::Member { channel: channel.clone(), user: user.clone(), is_member }, actions);
}

fn report(report: LocalReport, actions: &mut Vec<HubAction>) {
    actions.push(HubAction::Report(report));
}

impl<S: FrameSink> HubCore<S> {
    /// A session has a new subscription. It counts although it is not live yet: it may wait for a history for long.
    pub(super) fn enter_room(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        actions: &mut Vec<HubAction>,
    ) {
        if self.rooms.is_enabled()
            && let Some(user) = self.registry.user_channel(session)
        {
            self.rooms.enter(channel, user, actions);
        }
    }

    /// A subscription of a session is about to end.
    pub(super) fn leave_room(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        actions: &mut Vec<HubAction>,
    ) {
        if self.rooms.is_enabled()
            && self.registry.is_subscribed(session, channel)
            && let Some(user) = self.registry.user_channel(session)
        {
            self.rooms.leave(channel, user, actions);
        }
    }

    /// All subscriptions of a session are about to end.
    pub(super) fn leave_all_rooms(&mut self, session: SessionKey, actions: &mut Vec<HubAction>) {
        if self.rooms.is_enabled()
            && let Some(user) = self.registry.user_channel(session)
        {
            for channel in self.registry.channels_of(session) {
                self.rooms.leave(channel, user, actions);
            }
        }
    }

    /// Sends a session the last count of a channel that has gone live; `None`: of all its live channels.
    pub(super) fn send_counts(&self, session: SessionKey, channel: Option<&ChannelName>) {
        if !self.rooms.is_enabled() {
            return;
        }
        let channels = self.registry.channels_of(session);
        for channel in channels.filter(|one| channel.is_none_or(|channel| channel == *one)) {
            if let Some(frames) = self.rooms.rooms.get(channel).and_then(|room| room.count.as_ref())
                && let Some(receiver) = self.registry.live_receiver(session, channel)
            {
                // A closing session is about to leave, so the result does not matter.
                receiver.sink.send(frames.of(receiver.variant).clone());
            }
        }
    }

    /// Sends the number of subscribers of a channel to its sessions.
    pub(super) fn on_room(
        &mut self,
        channel: ChannelName,
        count: u64,
        joined: Arc<[Box<str>]>,
        left: Arc<[Box<str>]>,
    ) {
        let Some(room) = self.rooms.rooms.get_mut(&channel) else { return };
        if room.options.presence == RoomPresence::Off {
            return;
        }
        let encode = |joined, left| Event::Room { channel: channel.clone(), count, joined, left }.to_frames();
        let count_frames = encode(Arc::default(), Arc::default());
        // The first op 14 of a session has only the count.
        let is_first = room.count.replace(count_frames.clone()).is_none();
        let has_changes = !joined.is_empty() || !left.is_empty();
        let full = if has_changes && !is_first { encode(joined, left) } else { count_frames.clone() };
        let receivers = self.registry.live_receivers(&channel);
        if self.fanouts.should_defer(&channel, receivers.len() * ROOM_FRAME_COST) {
            return self.fanouts.add_room(channel, RoomFrames { full, count: count_frames }, receivers);
        }
        for receiver in receivers {
            receiver.sink.send(full.of(receiver.variant).clone());
        }
    }
}
