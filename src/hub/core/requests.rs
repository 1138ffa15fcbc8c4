//! The requests of sessions that are not complete: a plain struct without clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::SessionKey;
use crate::broker::FrameSizes;
use crate::hub::messages::SessionEvent;
use crate::hub::registry::HubRequestId;
use crate::shrink;
use protocol::channel::ChannelName;
use protocol::conversation::{ChannelAnswer, ResumePoint, SubscribeRequest, WantedHistory};
use protocol::event::SubscriptionState;
use protocol::position::Position;

/// A request of a session. It is answered when the state of every channel is known, or at its deadline. Channels that
/// are not known at the deadline are answered one by one later.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) session: SessionKey,
    kind: RequestKind,
    channels: Vec<RequestedChannel>,
    /// The number of channels whose state is not known.
    unresolved: usize,
    is_answered: bool,
    /// The sizes of all messages recovered for this request. They share one outbox and therefore one limit, also with
    /// the last messages of channels.
    pub(super) recovered_sizes: FrameSizes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// All channels of a Join.
    Join,
    /// The channels of a Subscribe.
    Subscribe,
}

#[derive(Debug)]
struct RequestedChannel {
    wanted: SubscribeRequest,
    /// `None` until the state is known.
    state: Option<SubscriptionState>,
    /// The sizes of the last messages that are delivered first, if the client wants them.
    last_sizes: FrameSizes,
}

/// An answer to a session.
pub(super) struct SessionAnswer {
    pub(super) session: SessionKey,
    /// The channels whose states the event contains.
    pub(super) known: Vec<ChannelName>,
    pub(super) event: SessionEvent,
}

/// The requests that are not complete.
#[derive(Debug, Default)]
pub(super) struct PendingRequests {
    requests: BTreeMap<HubRequestId, PendingRequest>,
    /// The deadlines in order: all requests wait equally long.
    deadlines: VecDeque<(Instant, HubRequestId)>,
}

impl PendingRequests {
    pub(super) fn insert(
        &mut self,
        id: HubRequestId,
        session: SessionKey,
        kind: RequestKind,
        wanted: Vec<SubscribeRequest>,
    ) {
        let channels: Vec<_> = wanted
            .into_iter()
            .map(|wanted| RequestedChannel { wanted, state: None, last_sizes: FrameSizes::default() })
            .collect();
        let unresolved = channels.len();
        let recovered_sizes = FrameSizes::default();
        let request =
            PendingRequest { session, kind, channels, unresolved, is_answered: false, recovered_sizes };
        self.requests.insert(id, request);
    }

    pub(super) fn get_mut(&mut self, id: HubRequestId) -> Option<&mut PendingRequest> {
        self.requests.get_mut(&id)
    }

    /// Sets the state of a channel. Returns the answer to send, if any.
    pub(super) fn resolve(
        &mut self,
        id: HubRequestId,
        channel: &ChannelName,
        state: SubscriptionState,
    ) -> Option<SessionAnswer> {
        let request = self.requests.get_mut(&id)?;
        let found = request.channels.iter_mut().find(|found| found.wanted.channel == *channel)?;
        if found.state.replace(state).is_none() {
            request.unresolved -= 1;
        }
        let request_id = found.wanted.request_id;
        let is_complete = request.unresolved == 0;
        let answer = if request.is_answered {
            let answer = ChannelAnswer { channel: channel.clone(), request_id, state };
            let event = SessionEvent::Subscribed(vec![answer]);
            Some(SessionAnswer { session: request.session, known: vec![channel.clone()], event })
        } else if is_complete {
            request.answer()
        } else {
            None
        };
        if is_complete {
            self.remove(id);
        }
        answer
    }

    /// Removes a channel that the session has unsubscribed from. Returns the answer to send, if the state of every
    /// other channel is known.
    pub(super) fn remove_channel(
        &mut self,
        id: HubRequestId,
        channel: &ChannelName,
    ) -> Option<SessionAnswer> {
        let request = self.requests.get_mut(&id)?;
        let index = request.channels.iter().position(|found| found.wanted.channel == *channel)?;
        // The order of the channels matters only for the answer to a Join, and a session unsubscribes only after it.
        if request.channels.swap_remove(index).state.is_none() {
            request.unresolved -= 1;
        }
        if request.unresolved > 0 {
            return None;
        }
        let mut request = self.remove(id)?;
        if request.is_answered || request.channels.is_empty() { None } else { request.answer() }
    }

    /// Removes a request, and the first deadlines as far as their requests are complete. Otherwise each of them would
    /// wake the thread.
    fn remove(&mut self, id: HubRequestId) -> Option<PendingRequest> {
        let removed = self.requests.remove(&id);
        while self.deadlines.front().is_some_and(|(_, id)| !self.requests.contains_key(id)) {
            self.deadlines.pop_front();
        }
        shrink::queue(&mut self.deadlines);
        removed
    }

    /// Sets the time by which a request is answered. Does nothing if it is complete.
    pub(super) fn set_deadline(&mut self, id: HubRequestId, deadline: Instant) {
        if self.requests.contains_key(&id) {
            self.deadlines.push_back((deadline, id));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Removes the next deadline that has passed, and returns its request.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<HubRequestId> {
        let (deadline, id) = *self.deadlines.front()?;
        (deadline <= now).then(|| self.deadlines.pop_front())?;
        shrink::queue(&mut self.deadlines);
        Some(id)
    }

    /// All requests without an answer, in order.
    pub(super) fn unanswered(&self) -> Vec<HubRequestId> {
        self.requests.iter().filter(|(_, request)| !request.is_answered).map(|(id, _)| *id).collect()
    }

    /// Answers a request with the known states; other channels are recovering. Returns `None` if it is answered
    /// already.
    pub(super) fn answer(&mut self, id: HubRequestId) -> Option<SessionAnswer> {
        self.requests.get_mut(&id).filter(|request| !request.is_answered)?.answer()
    }
}

impl PendingRequest {
    /// The sizes of all messages from histories.
    pub(super) fn sizes(&self) -> FrameSizes {
        self.channels.iter().fold(self.recovered_sizes, |sizes, found| sizes.plus(found.last_sizes))
    }

    pub(super) fn set_last_sizes(&mut self, channel: &ChannelName, sizes: FrameSizes) {
        if let Some(found) = self.channels.iter_mut().find(|found| found.wanted.channel == *channel) {
            found.last_sizes = sizes;
        }
    }

    /// A channel with last messages that the session does not know of yet.
    pub(super) fn channel_with_last(&self) -> Option<ChannelName> {
        let mut channels = self.channels.iter().filter(|found| !self.is_answered && found.last_sizes.all > 0);
        channels.next().map(|found| found.wanted.channel.clone())
    }

    /// None of the channel's last messages are delivered after all.
    pub(super) fn drop_last(&mut self, channel: &ChannelName, cut: Position) {
        let Some(found) = self.channels.iter_mut().find(|found| found.wanted.channel == *channel) else {
            return;
        };
        found.last_sizes = FrameSizes::default();
        if let Some(SubscriptionState::Live { position, last, .. }) = &mut found.state {
            (*position, *last) = (cut, Some(0));
        }
    }

    fn answer(&mut self) -> Option<SessionAnswer> {
        self.is_answered = true;
        let known = self.channels.iter().filter(|found| found.state.is_some());
        let known = known.map(|found| found.wanted.channel.clone()).collect();
        let event = match self.kind {
            RequestKind::Join => {
                SessionEvent::Joined(self.channels.iter().map(RequestedChannel::reported_state).collect())
            }
            RequestKind::Subscribe => {
                let answer = |found: &RequestedChannel| ChannelAnswer {
                    channel: found.wanted.channel.clone(),
                    request_id: found.wanted.request_id,
                    state: found.reported_state(),
                };
                SessionEvent::Subscribed(self.channels.iter().map(answer).collect())
            }
        };
        Some(SessionAnswer { session: self.session, known, event })
    }
}

impl RequestedChannel {
    fn reported_state(&self) -> SubscriptionState {
        let since = match self.wanted.history {
            WantedHistory::Since(ResumePoint::Position(since)) => Some(since),
            WantedHistory::Since(ResumePoint::Invalid) | WantedHistory::Nothing | WantedHistory::Last(_) => {
                None
            }
        };
        self.state.unwrap_or(SubscriptionState::Recovering { since })
    }
}
