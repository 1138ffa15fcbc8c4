//! The reads of users' presence for hubs. A read waits here until it is answered or cancelled; a lost link interrupts
//! none. Each hub has at most one read for each of its channels.

use std::collections::BTreeMap;

use super::LinkCore;
use crate::broker::{HubEvent, HubId, ReadId};
use protocol::channel::ChannelName;
use protocol::presence::UserPresence;

/// The channels `online:<user>` whose users' presence is to be read, the oldest reads of a hub first.
pub(super) type PresenceQueries = BTreeMap<(ReadId, HubId), ChannelName>;

/// One read of a user's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PresenceQuery {
    pub(super) hub: HubId,
    pub(super) read: ReadId,
    /// The channel `online:<user>`.
    pub(crate) channel: ChannelName,
}

impl LinkCore {
    /// Queues a read.
    pub(crate) fn read_presence(&mut self, hub: HubId, read: ReadId, channel: ChannelName) {
        self.presence_reads.insert((read, hub), channel);
    }

    /// Cancels a read.
    pub(crate) fn cancel_presence(&mut self, hub: HubId, read: ReadId) {
        self.presence_reads.remove(&(read, hub));
    }

    /// The next reads, at most `max`. They stay queued until they are answered.
    pub(crate) fn next_presence_reads(&self, max: usize) -> Vec<PresenceQuery> {
        let reads = self.presence_reads.iter().take(max);
        reads.map(|(&(read, hub), channel)| PresenceQuery { hub, read, channel: channel.clone() }).collect()
    }

    /// Answers a read, unless it was cancelled.
    pub(crate) fn on_presence(&mut self, query: PresenceQuery, presence: Option<UserPresence>) {
        let PresenceQuery { hub, read, channel } = query;
        if self.presence_reads.remove(&(read, hub)).is_some() {
            self.inboxes.notify(hub, HubEvent::PresenceRead { read, channel, presence });
        }
    }
}
