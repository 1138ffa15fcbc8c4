//! The requests of sessions that are not complete. A plain struct.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::SessionKey;
use crate::broker::{FrameSizes, RequestId};
use crate::hub::messages::SessionEvent;
use protocol::channel::ChannelName;
use protocol::conversation::{ResumePoint, SubscribeRequest};
use protocol::event::SubscriptionState;

/// A request of a session. It is answered once the state of every channel is known, or at its deadline. Channels that
/// are not known at the deadline are answered one by one later.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pub(super) session: SessionKey,
    kind: RequestKind,
    channels: Vec<RequestedChannel>,
    /// The number of channels whose state is not known.
    open: usize,
    is_answered: bool,
    /// The recovered messages of the request's client, which all go through one outbox.
    pub(super) recovered: FrameSizes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// All channels of a Join.
    Join,
    /// One channel.
    Subscribe,
}

#[derive(Debug)]
struct RequestedChannel {
    wanted: SubscribeRequest,
    /// `None` until it is known.
    state: Option<SubscriptionState>,
}

/// An answer to a session.
pub(super) struct Answer {
    pub(super) session: SessionKey,
    /// The channels whose states it contains.
    pub(super) known: Vec<ChannelName>,
    pub(super) event: SessionEvent,
}

/// The requests that are not complete.
#[derive(Debug, Default)]
pub(super) struct PendingRequests {
    requests: BTreeMap<RequestId, PendingRequest>,
    /// All requests wait equally long, so the first is due first.
    deadlines: VecDeque<(Instant, RequestId)>,
}

impl PendingRequests {
    pub(super) fn insert(
        &mut self,
        id: RequestId,
        session: SessionKey,
        kind: RequestKind,
        wanted: Vec<SubscribeRequest>,
    ) {
        let channels: Vec<_> =
            wanted.into_iter().map(|wanted| RequestedChannel { wanted, state: None }).collect();
        let open = channels.len();
        let recovered = FrameSizes::default();
        let request = PendingRequest { session, kind, channels, open, is_answered: false, recovered };
        self.requests.insert(id, request);
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut PendingRequest> {
        self.requests.get_mut(&id)
    }

    /// The state of a channel is known. Returns the answer to send, if any.
    pub(super) fn settle(
        &mut self,
        id: RequestId,
        channel: &ChannelName,
        state: SubscriptionState,
    ) -> Option<Answer> {
        let request = self.requests.get_mut(&id)?;
        let found = request.channels.iter_mut().find(|found| found.wanted.channel == *channel)?;
        if found.state.replace(state).is_none() {
            request.open -= 1;
        }
        let request_id = found.wanted.request_id;
        let is_complete = request.open == 0;
        let answer = if request.is_answered {
            let event = SessionEvent::Subscribed { channel: channel.clone(), request_id, state };
            Some(Answer { session: request.session, known: vec![channel.clone()], event })
        } else if is_complete {
            request.answer()
        } else {
            None
        };
        if is_complete {
            self.requests.remove(&id);
        }
        answer
    }

    /// The session has unsubscribed from a channel.
    pub(super) fn give_up(&mut self, id: RequestId, channel: &ChannelName) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Some(index) = request.channels.iter().position(|found| found.wanted.channel == *channel) else {
            return;
        };
        if request.channels.swap_remove(index).state.is_none() {
            request.open -= 1;
        }
        if request.open == 0 {
            self.requests.remove(&id);
        }
    }

    /// Sets the time by which a request is answered.
    pub(super) fn answer_by(&mut self, id: RequestId, deadline: Instant) {
        if self.requests.contains_key(&id) {
            self.deadlines.push_back((deadline, id));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Takes the next request whose deadline has passed.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<RequestId> {
        let (deadline, id) = *self.deadlines.front()?;
        (deadline <= now).then(|| self.deadlines.pop_front())?;
        Some(id)
    }

    /// All requests without an answer.
    pub(super) fn unanswered(&self) -> Vec<RequestId> {
        self.requests.iter().filter(|(_, request)| !request.is_answered).map(|(id, _)| *id).collect()
    }

    /// Answers a request with the states that are known.
    pub(super) fn answer(&mut self, id: RequestId) -> Option<Answer> {
        self.requests.get_mut(&id).filter(|request| !request.is_answered)?.answer()
    }
}

impl PendingRequest {
    fn answer(&mut self) -> Option<Answer> {
        self.is_answered = true;
        let known = self.channels.iter().filter(|found| found.state.is_some());
        let known = known.map(|found| found.wanted.channel.clone()).collect();
        let event = match self.kind {
            RequestKind::Join => {
                SessionEvent::Joined(self.channels.iter().map(RequestedChannel::told).collect())
            }
            RequestKind::Subscribe => {
                let found = self.channels.first()?;
                let (channel, request_id) = (found.wanted.channel.clone(), found.wanted.request_id);
                SessionEvent::Subscribed { channel, request_id, state: found.told() }
            }
        };
        Some(Answer { session: self.session, known, event })
    }
}

impl RequestedChannel {
    fn told(&self) -> SubscriptionState {
        let since = match self.wanted.since {
            Some(ResumePoint::Position(since)) => Some(since),
            Some(ResumePoint::Invalid) | None => None,
        };
        self.state.unwrap_or(SubscriptionState::Recovering { since })
    }
}
