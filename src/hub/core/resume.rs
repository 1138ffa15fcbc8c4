//! Subscriptions from their request to their answer, and the recovery of missed messages.
//!
//! A subscription is confirmed at its cut. A client whose position is the cut has missed nothing. A client with an
//! earlier position receives the immutable history between the two. A client with a later position comes from a replica
//! that is ahead, and waits until this replica has the same position.

use std::sync::Arc;
use std::time::Instant;

use super::requests::Answer;
use super::{FrameSink, HubAction, HubCore, RequestKind, SessionKey, Vacated};
use crate::broker::{Cut, HistoryRequest, NotRecovered, ReadId, Recovered, RequestId, SubscribeAck};
use crate::hub::messages::SessionEvent;
use crate::hub::registry::{Asked, PendingSubscription};
use crate::metrics::{Metrics, RecoveryResult};
use protocol::channel::ChannelName;
use protocol::conversation::{ResumePoint, SubscribeRequest};
use protocol::event::SubscriptionState;
use protocol::position::Position;
use protocol::publication::Publication;

/// The position in the answer for an untracked channel: it is before every history.
const NOWHERE: Position = Position::before(0);

/// The next step of a subscription whose cut is known.
enum Next {
    Settle(Settled),
    /// Read the history between the two positions.
    Read(Position, Position),
    Verify,
}

/// The missed messages of a subscription are known.
struct Settled {
    state: SubscriptionState,
    /// The metric's label, if the client continues from a position.
    outcome: Option<RecoveryResult>,
    missed: Arc<[Arc<Publication>]>,
}

impl<S: FrameSink> HubCore<S> {
    /// Subscribes a session to channels, and calls the broker for those whose position is not known.
    pub(super) fn request(
        &mut self,
        now: Instant,
        session: SessionKey,
        kind: RequestKind,
        wanted: Vec<SubscribeRequest>,
        actions: &mut Vec<HubAction>,
    ) {
        let id = self.next_number();
        let channels: Vec<_> = wanted.iter().map(|wanted| (wanted.channel.clone(), wanted.since)).collect();
        self.requests.insert(id, session, kind, wanted);
        let mut unknown = Vec::new();
        for (channel, since) in channels {
            self.registry.subscribe(session, &channel, since, id);
            if self.registry.cut(&channel).is_some() {
                let next = self.registry.pending(session, &channel).and_then(|pending| next(pending));
                self.advance(&channel, next.map(|next| (session, next)), actions);
            } else if self.registry.asked(&channel).is_some_and(|asked| asked.is_none()) {
                unknown.push(channel);
            }
        }
        self.ask(unknown, false, actions);
        self.requests.answer_by(id, now + self.rules.answer_timeout);
        if !self.link_is_up {
            self.answer(id, actions);
        }
    }

    fn ask(&mut self, channels: Vec<ChannelName>, verify: bool, actions: &mut Vec<HubAction>) {
        if channels.is_empty() {
            return;
        }
        let request = self.next_number();
        for channel in &channels {
            if let Some(asked) = self.registry.asked(channel) {
                *asked = Some(Asked { request, verify });
            }
        }
        actions.push(HubAction::Subscribe { request, channels, verify });
    }

    /// The inbox has dropped publications on a channel. A pending answer of the broker does not cover them, so the channel is
    /// asked for again.
    pub(super) fn ask_again(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.registry.asked(channel).is_some_and(|asked| asked.is_some()) {
            self.ask(vec![channel.clone()], true, actions);
        }
    }

    /// The broker has confirmed a channel.
    pub(super) fn on_ack(&mut self, ack: SubscribeAck, actions: &mut Vec<HubAction>) {
        let SubscribeAck { channel, request, cut } = ack;
        // If the hub unsubscribed and subscribed again, the answer to the earlier call is not valid for the later one.
        let asked =
            self.registry.asked(&channel).and_then(|asked| asked.filter(|asked| asked.request == request));
        let Some(Asked { verify, .. }) = asked else { return };
        let position = match cut {
            Cut::At(position) => Some(position),
            Cut::Untracked => None,
            // The request stays open, because the broker tries again.
            Cut::Refused => return self.on_refused(&channel, actions),
        };
        self.registry.confirm(&channel, position);
        let waiting = self.registry.pending_on(&channel).filter(|(_, pending)| pending.is_waiting());
        let steps: Vec<_> = waiting
            .filter_map(|(session, pending)| match position {
                Some(position) if pending.read().is_none() => {
                    pending.set_cut(position, verify);
                    Some((session, next(pending)?))
                }
                // Its missed messages up to its own cut are being read.
                Some(_) => None,
                None => Some((session, Next::Settle(Settled::untracked(pending.since())))),
            })
            .collect();
        self.advance(&channel, steps, actions);
    }

    /// The broker may not subscribe to a channel: ends the subscriptions that wait for it. A session's own channels
    /// cannot be left, so they wait until the broker may subscribe.
    fn on_refused(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        let pending = self.registry.pending_on(channel);
        let waiting = pending.filter(|(_, pending)| pending.is_waiting() && pending.read().is_none());
        let sessions: Vec<_> = waiting.map(|(session, _)| session).collect();
        for session in sessions {
            if channel.as_str() == "all" || self.registry.user(session) == Some(channel) {
                continue;
            }
            self.settle(session, channel, Settled::refused(), actions);
            if let Some(vacated) = self.registry.unsubscribe(session, channel) {
                self.metrics.subscriptions.dec();
                // Its request has its answer.
                self.on_vacated(Vacated { pending: None, ..vacated }, actions);
            }
        }
    }

    /// Continues the subscriptions of a channel whose cut has moved.
    pub(super) fn cut_moved(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.registry.cut(channel).is_none() {
            return self.ask_unless_asked(channel, false, actions);
        }
        let pending = self.registry.pending_on(channel);
        let steps: Vec<_> =
            pending.filter_map(|(session, pending)| Some((session, next(pending)?))).collect();
        self.advance(channel, steps, actions);
    }

    fn advance(
        &mut self,
        channel: &ChannelName,
        steps: impl IntoIterator<Item = (SessionKey, Next)>,
        actions: &mut Vec<HubAction>,
    ) {
        for (session, next) in steps {
            match next {
                Next::Settle(settled) => self.settle(session, channel, settled, actions),
                Next::Read(since, cut) => self.read(session, channel, (since, cut), actions),
                Next::Verify => self.ask_unless_asked(channel, true, actions),
            }
        }
    }

    fn ask_unless_asked(&mut self, channel: &ChannelName, verify: bool, actions: &mut Vec<HubAction>) {
        if self.registry.asked(channel).is_some_and(|asked| asked.is_none()) {
            self.ask(vec![channel.clone()], verify, actions);
        }
    }

    fn read(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        (since, cut): (Position, Position),
        actions: &mut Vec<HubAction>,
    ) {
        let read = self.next_number();
        let Some(user) = self.registry.user(session).cloned() else { return };
        let Some(pending) = self.registry.pending(session, channel) else { return };
        pending.reading(read);
        self.reads.insert(read, (session, channel.clone()));
        let (channel, limits) = (channel.clone(), self.rules.recovery);
        actions.push(HubAction::Read(HistoryRequest { read, user, channel, since, cut, limits }));
    }

    /// A history has been read.
    pub(super) fn on_read(
        &mut self,
        read: ReadId,
        outcome: Result<Recovered, NotRecovered>,
        actions: &mut Vec<HubAction>,
    ) {
        let Some((session, channel)) = self.reads.remove(&read) else { return };
        let Some(pending) = self.registry.pending(session, &channel) else { return };
        // If the cut moved, or the session subscribed again, this read is outdated.
        let Some((_, since, cut)) = pending.read().filter(|(current, ..)| *current == read) else { return };
        let request = pending.request();
        let settled = match outcome.and_then(|recovered| self.within_budget(request, recovered)) {
            Ok(Recovered { publications, .. }) => Settled::recovered(since, publications),
            Err(reason) => Settled::not_recovered(cut, reason.into()),
        };
        self.settle(session, &channel, settled, actions);
    }

    /// All channels of a request share one limit in bytes, which does not count one long message.
    fn within_budget(&mut self, request: RequestId, recovered: Recovered) -> Result<Recovered, NotRecovered> {
        let Some(request) = self.requests.get_mut(request) else { return Ok(recovered) };
        let sizes = request.recovered.plus(recovered.sizes);
        if sizes.counted(self.rules.recovery) > self.rules.recovery.bytes {
            return Err(NotRecovered::TooMuch);
        }
        request.recovered = sizes;
        Ok(recovered)
    }

    /// Answers the session of a settled subscription, now or together with the other channels of its request.
    fn settle(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        Settled { state, outcome, missed }: Settled,
        actions: &mut Vec<HubAction>,
    ) {
        let Some(pending) = self.registry.pending(session, channel) else { return };
        pending.settle(missed);
        let request = pending.request();
        if let Some(outcome) = outcome {
            Metrics::count(&self.metrics.recoveries, outcome);
        }
        if let Some(answer) = self.requests.settle(request, channel, state) {
            self.notify(request, answer, actions);
        }
    }

    /// Answers a request with the states that are known.
    fn answer(&mut self, request: RequestId, actions: &mut Vec<HubAction>) {
        if let Some(answer) = self.requests.answer(request) {
            self.notify(request, answer, actions);
        }
    }

    fn notify(&mut self, request: RequestId, answer: Answer, actions: &mut Vec<HubAction>) {
        let Answer { session, known, event } = answer;
        let is_alone = matches!(event, SessionEvent::Subscribed { .. });
        for channel in known {
            let pending = self.registry.pending(session, &channel);
            if let Some(pending) = pending.filter(|pending| pending.request() == request) {
                pending.mark_told(is_alone);
            }
        }
        actions.push(HubAction::Notify { session, event });
    }

    /// Answers all requests: without a link their channels stay unknown.
    pub(super) fn answer_all(&mut self, actions: &mut Vec<HubAction>) {
        for request in self.requests.unanswered() {
            self.answer(request, actions);
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant, actions: &mut Vec<HubAction>) {
        while let Some(request) = self.requests.take_due(now) {
            self.answer(request, actions);
        }
    }
}

/// The next step of a subscription. `None` while its cut is not known or its history is being read, and once it is
/// settled.
fn next(pending: &PendingSubscription) -> Option<Next> {
    let cut = pending.cut().filter(|_| pending.is_waiting() && pending.read().is_none())?;
    Some(match pending.since() {
        None => Next::Settle(Settled::new(cut)),
        Some(ResumePoint::Invalid) => {
            Next::Settle(Settled::not_recovered(cut, RecoveryResult::UnreadablePosition))
        }
        Some(ResumePoint::Position(since)) if since == cut => {
            Next::Settle(Settled::recovered(since, [].into()))
        }
        Some(ResumePoint::Position(since)) if since < cut => Next::Read(since, cut),
        // The client comes from a replica that is ahead, or the history has lost its end.
        Some(ResumePoint::Position(_)) if !pending.is_verified() => Next::Verify,
        Some(ResumePoint::Position(_)) => Next::Settle(Settled::not_recovered(cut, RecoveryResult::Lost)),
    })
}

impl Settled {
    /// The client continues from no position.
    fn new(position: Position) -> Self {
        let state = SubscriptionState::Live { position, recovered: None };
        Self { state, outcome: None, missed: [].into() }
    }

    fn recovered(since: Position, missed: Arc<[Arc<Publication>]>) -> Self {
        let state = SubscriptionState::Live { position: since, recovered: Some(true) };
        Self { state, outcome: Some(RecoveryResult::Recovered), missed }
    }

    fn not_recovered(position: Position, reason: RecoveryResult) -> Self {
        let state = SubscriptionState::Live { position, recovered: Some(false) };
        Self { state, outcome: Some(reason), missed: [].into() }
    }

    fn refused() -> Self {
        Self { state: SubscriptionState::Refused, outcome: None, missed: [].into() }
    }

    fn untracked(since: Option<ResumePoint>) -> Self {
        match since {
            None => Self::new(NOWHERE),
            Some(_) => Self::not_recovered(NOWHERE, RecoveryResult::Unreadable),
        }
    }
}
