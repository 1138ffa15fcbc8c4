//! All presence inside one process: users, channels in use, and rooms. Pure; callers pass the time.

use std::collections::HashMap;
use std::ops::Bound;
use std::time::Instant;

use super::presence::{Edge, PresentNames};
use crate::broker::presence::{HubSizes, RoomChange, RoomEvent, RoomFeed};
use crate::broker::{
    ChannelInUse, ChannelsPage, HubId, LocalReport, PresenceError, PresenceOptions, RoomMembers,
};
use protocol::channel::ChannelName;

/// The presence of one process.
pub(super) struct MemoryPresence {
    options: PresenceOptions,
    pub(super) users: PresentNames<ChannelName>,
    channels: PresentNames<ChannelName>,
    /// The room and the user's own channel of each member.
    members: PresentNames<(ChannelName, ChannelName)>,
    member_counts: HashMap<ChannelName, u64>,
    session_counts: HashMap<ChannelName, HubSizes>,
    feed: RoomFeed,
}

/// The messages and events that follow a change of presence.
#[derive(Default)]
pub(super) struct PresenceOutput {
    /// The edges of users, to publish.
    pub(super) edges: Vec<Edge<ChannelName>>,
    /// The events of rooms, to offer to hubs.
    pub(super) events: Vec<RoomEvent>,
}

impl MemoryPresence {
    pub(super) fn new(options: PresenceOptions) -> Self {
        Self {
            users: PresentNames::new(options.grace),
            channels: PresentNames::new(options.grace),
            members: PresentNames::new(options.grace),
            member_counts: HashMap::new(),
            session_counts: HashMap::new(),
            feed: RoomFeed::new(options.max_members),
            options,
        }
    }

    /// A hub reports what has changed among its sessions.
    pub(super) fn report(&mut self, hub: HubId, report: LocalReport, now: Instant) -> PresenceOutput {
        let mut output = PresenceOutput::default();
        match report {
            LocalReport::User { user, is_online } => {
                output.edges.extend(self.users.report(&user, is_online, now));
            }
            LocalReport::Channel { channel, is_occupied } => {
                // There is no stream of these edges.
                self.channels.report(&channel, is_occupied, now);
            }
            LocalReport::Member { channel, user, is_member } => {
                output.events.extend(self.feed.change_member(hub, &channel, is_member));
                match self.members.report(&(channel.clone(), user), is_member, now) {
                    Some(edge) => self.change_members(edge, now),
                    // A user returned within the grace, perhaps to another hub.
                    None => self.change_room(&channel, RoomChange::default(), now),
                }
            }
            LocalReport::Count { channel, sessions } => {
                let counts = self.session_counts.entry(channel.clone()).or_default();
                counts.change(hub, |_| sessions);
                let count = counts.total() as u64;
                if count == 0 {
                    self.session_counts.remove(&channel);
                }
                if self.options.has_room_events(&channel) {
                    output.events.extend(self.feed.set_sessions(hub, &channel, sessions));
                    self.feed.change(channel.as_str(), RoomChange { count, ..RoomChange::default() }, now);
                }
            }
        }
        output.events.extend(self.feed.take_due(now));
        output
    }

    /// The edges and events that are due.
    pub(super) fn settle(&mut self, now: Instant) -> PresenceOutput {
        self.channels.settle(now);
        for edge in self.members.settle(now) {
            self.change_members(edge, now);
        }
        PresenceOutput { edges: self.users.settle(now), events: self.feed.take_due(now) }
    }

    /// When the next edge or event is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due =
            [self.users.next_due(), self.channels.next_due(), self.members.next_due(), self.feed.next_due()];
        due.into_iter().flatten().min()
    }

    fn change_members(&mut self, edge: Edge<(ChannelName, ChannelName)>, now: Instant) {
        let Edge { name: (room, user), is_present } = edge;
        let count = self.member_counts.entry(room.clone()).or_default();
        let before = *count;
        *count = if is_present { before + 1 } else { before.saturating_sub(1) };
        // Nobody follows the members of a room that has, or had, more.
        let is_partial = before.max(*count) > self.options.max_members as u64;
        if *count == 0 {
            self.member_counts.remove(&room);
        }
        let user: Vec<Box<str>> = user.user_id().map(Box::from).into_iter().collect();
        let change = match (is_partial, is_present) {
            (true, _) => RoomChange { is_partial, ..RoomChange::default() },
            (_, true) => RoomChange { joined: user, ..RoomChange::default() },
            (_, false) => RoomChange { left: user, ..RoomChange::default() },
        };
        self.change_room(&room, change, now);
    }

    fn change_room(&mut self, room: &ChannelName, change: RoomChange, now: Instant) {
        let count = self.member_counts.get(room).copied().unwrap_or_default();
        self.feed.change(room.as_str(), RoomChange { count, ..change }, now);
    }

    pub(super) fn members_page(
        &self,
        room: &ChannelName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RoomMembers, PresenceError> {
        self.options.check_members(room)?;
        let after = after.unwrap_or_default();
        // Any valid name of a user comes after this one.
        let first = ChannelName::of_user(after).unwrap_or_else(|_| ChannelName::all());
        let first = (room.clone(), first);
        let ids = self
            .members
            .from(Bound::Excluded(&first))
            .take_while(|((channel, _), _)| channel == room)
            .filter_map(|((_, user), _)| user.user_id())
            .filter(|id| *id > after);
        let mut members: Vec<Box<str>> = ids.take(limit.saturating_add(1)).map(Box::from).collect();
        let has_more = members.len() > limit;
        members.truncate(limit);
        let next = members.last().filter(|_| has_more).cloned();
        Ok(RoomMembers { count: self.member_counts.get(room).copied().unwrap_or_default(), members, next })
    }

    pub(super) fn channels_page(
        &self,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ChannelsPage, PresenceError> {
        self.options.check_occupancy(namespace)?;
        let after = after.unwrap_or_default();
        // The names of a namespace begin with it and a colon. Only the channel `all` has no colon.
        let (start, prefix) = match namespace {
            None => (Bound::Excluded(after), String::new()),
            Some("all") if after < "all" => (Bound::Included("all"), "all".to_owned()),
            Some(namespace) => (Bound::Excluded(after), format!("{namespace}:")),
        };
        let start = match start {
            Bound::Excluded(after) if after < prefix.as_str() => Bound::Excluded(prefix.as_str()),
            start => start,
        };
        let found = self.channels.from(start).take_while(|(channel, _)| match namespace {
            Some("all") => channel.as_str() == "all",
            _ => channel.as_str().starts_with(&prefix),
        });
        let mut channels: Vec<_> = found
            .take(limit.saturating_add(1))
            .map(|(channel, replicas)| self.in_use(channel, replicas))
            .collect();
        let has_more = channels.len() > limit;
        channels.truncate(limit);
        let next = channels.last().filter(|_| has_more).map(|last| last.channel.as_str().into());
        Ok(ChannelsPage { channels, next })
    }

    pub(super) fn channel(&self, channel: &ChannelName) -> Result<Option<ChannelInUse>, PresenceError> {
        self.options.check_occupancy(Some(channel.namespace()))?;
        Ok(self.channels.replicas_of(channel).map(|replicas| self.in_use(channel, replicas)))
    }

    fn in_use(&self, channel: &ChannelName, replicas: u32) -> ChannelInUse {
        let members = self.member_counts.get(channel).copied().unwrap_or_default();
        let sessions = self.session_counts.get(channel).map_or(0, HubSizes::total) as u64;
        let count = self.options.choose_count(channel, sessions, members);
        ChannelInUse { channel: channel.clone(), replicas, count }
    }
}
