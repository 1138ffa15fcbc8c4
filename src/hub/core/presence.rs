//! The state of the user of `online:<user>`, for the subscribers of version 2.
//!
//! A subscription is answered with a state that was read after the broker confirmed the channel, so every later edge
//! follows as a message. After a gap, which may hide an edge, the state is read again and sent as a message.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::to_raw_value;

use super::{FrameSink, HubAction, HubCore, SessionKey};
use crate::broker::ReadId;
use protocol::Version;
use protocol::channel::ChannelName;
use protocol::event::SubscriptionState;
use protocol::presence::UserPresence;
use protocol::publication::Publication;

/// The reads that are not answered: at most one for each channel, so they are as many as channels.
#[derive(Debug, Default)]
pub(super) struct PresenceReads(HashMap<ChannelName, PresenceRead>);

/// A read that is not answered. A subscription or a gap that follows the read needs another one, because an edge may
/// have passed since.
#[derive(Debug)]
struct PresenceRead {
    read: ReadId,
    follows_gap: bool,
    next: Option<NextRead>,
}

#[derive(Debug, Clone, Copy)]
struct NextRead {
    follows_gap: bool,
}

impl<S: FrameSink> HubCore<S> {
    /// Whether the answer to this subscription has the presence of a user.
    pub(super) fn needs_presence(&self, session: SessionKey, channel: &ChannelName) -> bool {
        self.has_presence(channel)
            && self.registry.sink(session).is_some_and(|(_, version)| version == Version::V2)
    }

    fn has_presence(&self, channel: &ChannelName) -> bool {
        self.rules.reports_users && channel.watched_user().is_some()
    }

    /// Answers a resolved subscription with `state` once the presence of its user is read.
    pub(super) fn await_presence(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        state: SubscriptionState,
        actions: &mut Vec<HubAction>,
    ) {
        let read = self.read_presence(channel, false, actions);
        if let Some(pending) = self.registry.pending(session, channel) {
            pending.await_presence(read, state);
        }
    }

    /// Reads the presence again after a gap on the channel.
    pub(super) fn repeat_presence(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.has_presence(channel) && self.registry.has_v2_subscriber(channel) {
            self.read_presence(channel, true, actions);
        }
    }

    /// Reads the presence now, or after the answer to the current read. Returns the number of that read, or a lower one
    /// that no earlier read has.
    fn read_presence(
        &mut self,
        channel: &ChannelName,
        follows_gap: bool,
        actions: &mut Vec<HubAction>,
    ) -> ReadId {
        let read = self.next_number();
        match self.presence_reads.0.get_mut(channel) {
            Some(PresenceRead { next, .. }) => {
                let follows_gap = follows_gap || next.is_some_and(|next| next.follows_gap);
                *next = Some(NextRead { follows_gap });
            }
            None => {
                let entry = PresenceRead { read, follows_gap, next: None };
                self.presence_reads.0.insert(channel.clone(), entry);
                actions.push(HubAction::ReadPresence { read, channel: channel.clone() });
            }
        }
        read
    }

    /// Handles the answer to a read. `None`: Redis refuses the read, so the subscriptions are answered without it.
    pub(super) fn on_presence(
        &mut self,
        read: ReadId,
        channel: &ChannelName,
        presence: Option<UserPresence>,
        actions: &mut Vec<HubAction>,
    ) {
        // Another read of this channel may have begun after this one was cancelled.
        if self.presence_reads.0.get(channel).is_none_or(|current| current.read != read) {
            return;
        }
        let Some(PresenceRead { follows_gap, next, .. }) = self.presence_reads.0.remove(channel) else {
            return;
        };
        let answered: Vec<_> = self
            .registry
            .pending_on(channel)
            .filter_map(|(_, pending)| Some((pending.request(), pending.take_awaited(read)?)))
            .collect();
        for (request, state) in answered {
            self.answer_channel(request, channel, state.with_presence(presence), actions);
        }
        if let Some(presence) = presence.filter(|_| follows_gap) {
            self.send_presence(channel, presence, actions);
        }
        if let Some(NextRead { follows_gap }) = next {
            self.read_presence(channel, follows_gap, actions);
        }
    }

    /// Sends the state as a message. Version 1 does not learn of gaps, so it needs none.
    fn send_presence(&mut self, channel: &ChannelName, presence: UserPresence, actions: &mut Vec<HubAction>) {
        // The JSON of two fields cannot fail.
        let Ok(message) = to_raw_value(&presence) else { return };
        let publication = Arc::new(Publication::new(channel.clone(), None, message.into()));
        let bytes = publication.queued_bytes();
        self.inbox_budget.hold(bytes);
        self.fan_out(publication, bytes, Version::V2, actions);
    }

    /// Cancels the read of a channel whose last subscription has ended.
    pub(super) fn cancel_presence(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if let Some(PresenceRead { read, .. }) = self.presence_reads.0.remove(channel) {
            actions.push(HubAction::CancelPresence(read));
        }
    }
}
