//! Subscriptions from their request to their answer, and the recovery of missed messages.
//!
//! A subscription is confirmed at its cut. A client whose position is the cut missed nothing. A client with an earlier
//! position receives the immutable history from its position to the cut. A client with a later position comes from a
//! replica that is ahead, so the broker compares the channel with its history first; if the position is still later, it
//! is not recovered. A client that wants the last messages receives the end of the immutable history up to the cut.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::requests::SessionAnswer;
use super::{EndedSubscription, FrameSink, HubAction, HubCore, RequestKind, SessionKey};
use crate::broker::{Cut, HistoryRange, HistoryRequest, NotRecovered, ReadId, Recovered, SubscribeAck};
use crate::hub::messages::SessionEvent;
use crate::hub::registry::{BrokerCall, HubRequestId, PendingSubscription};
use crate::metrics::{HistoryReadKind, Metrics, RecoveryResult};
use protocol::channel::ChannelName;
use protocol::conversation::{ResumePoint, SubscribeRequest, WantedHistory};
use protocol::event::SubscriptionState;
use protocol::position::Position;
use protocol::publication::Publication;

/// The position in the answer for an untracked channel, which is before every history.
const NOWHERE: Position = Position::before(0);

/// The next step of an unresolved subscription whose cut is known.
enum NextStep {
    Resolve(Resolution),
    /// Read these messages of the history.
    Read(HistoryRange),
    /// Compare the channel with its history.
    Verify,
}

/// The result of a subscription whose messages from the history are known.
struct Resolution {
    state: SubscriptionState,
    /// The label of the metric. `None` if the client named no position.
    outcome: Option<RecoveryResult>,
    missed: Arc<[Arc<Publication>]>,
}

impl<S: FrameSink> HubCore<S> {
    /// Subscribes a session to channels, and calls the broker for the channels whose position is unknown.
    pub(super) fn start_request(
        &mut self,
        now: Instant,
        session: SessionKey,
        kind: RequestKind,
        wanted: Vec<SubscribeRequest>,
        actions: &mut Vec<HubAction>,
    ) {
        let id = self.next_number();
        let channels: Vec<_> = wanted.iter().map(|wanted| (wanted.channel.clone(), wanted.history)).collect();
        self.requests.insert(id, session, kind, wanted);
        let mut unknown = Vec::new();
        for (channel, history) in channels {
            if self.registry.subscribe(session, &channel, history, id) {
                self.enter_room(session, &channel, actions);
            }
            if self.registry.channel_position(&channel).is_some() {
                let next = self.registry.pending(session, &channel).and_then(|pending| next_step(pending));
                self.apply_steps(&channel, next.map(|next| (session, next)), actions);
            } else if self.registry.has_no_open_call(&channel) {
                unknown.push(channel);
            }
        }
        self.call_broker(unknown, false, actions);
        self.requests.set_deadline(id, now + self.rules.answer_timeout);
        if !self.link_is_up {
            self.answer(id, actions);
        }
    }

    /// Subscribes to channels at the broker. Replaces their open calls.
    fn call_broker(&mut self, channels: Vec<ChannelName>, verify: bool, actions: &mut Vec<HubAction>) {
        if channels.is_empty() {
            return;
        }
        let id = self.next_number();
        for channel in &channels {
            self.registry.set_open_call(channel, BrokerCall { id, verify });
        }
        actions.push(HubAction::Subscribe { call: id, channels, verify });
    }

    /// Repeats the open call for a channel whose publications the inbox dropped. The answer to the first call does not
    /// cover them.
    pub(super) fn repeat_call(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.registry.open_call(channel).is_some() {
            self.call_broker(vec![channel.clone()], true, actions);
        }
    }

    /// Handles the broker's answer for one channel.
    pub(super) fn on_ack(&mut self, ack: SubscribeAck, actions: &mut Vec<HubAction>) {
        let SubscribeAck { channel, call, cut } = ack;
        // After the hub unsubscribes and subscribes again, an answer to the earlier call is not valid.
        let open = self.registry.open_call(&channel).filter(|open| open.id == call);
        let Some(BrokerCall { verify, .. }) = open else { return };
        let position = match cut {
            Cut::At(position) => Some(position),
            Cut::Untracked => None,
            // The call stays open, because the broker tries again.
            Cut::Refused => return self.on_refused(&channel, actions),
        };
        self.registry.confirm(&channel, position);
        let waiting = self.registry.pending_on(&channel).filter(|(_, pending)| pending.is_unresolved());
        let steps: Vec<_> = waiting
            .filter_map(|(session, pending)| match position {
                Some(position) if pending.active_read().is_none() => {
                    pending.set_cut(position, verify);
                    Some((session, next_step(pending)?))
                }
                // The history up to the subscription's own cut is being read.
                Some(_) => None,
                None => Some((session, NextStep::Resolve(Resolution::untracked(pending.history())))),
            })
            .collect();
        self.apply_steps(&channel, steps, actions);
    }

    /// Ends the subscriptions that wait for a channel that the broker may not subscribe to. A session cannot leave its
    /// own channels, so they wait until the broker may subscribe.
    fn on_refused(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        let pending = self.registry.pending_on(channel);
        let waiting =
            pending.filter(|(_, pending)| pending.is_unresolved() && pending.active_read().is_none());
        let sessions: Vec<_> = waiting.map(|(session, _)| session).collect();
        for session in sessions {
            if self.registry.is_own(session, channel) {
                continue;
            }
            self.resolve(session, channel, Resolution::refused(), actions);
            self.leave_room(session, channel, actions);
            if let Some(ended) = self.registry.unsubscribe(session, channel) {
                // `on` counts only for the inputs of sessions.
                self.metrics.subscriptions.dec();
                // The request is answered for this channel, so nothing is left to cancel.
                self.on_subscription_end(EndedSubscription { pending: None, ..ended }, actions);
            }
        }
    }

    /// Continues the pending subscriptions of a channel after a cut moved.
    pub(super) fn on_cut_moved(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.registry.channel_position(channel).is_none() {
            return self.ensure_call(channel, false, actions);
        }
        let pending = self.registry.pending_on(channel);
        let steps: Vec<_> =
            pending.filter_map(|(session, pending)| Some((session, next_step(pending)?))).collect();
        self.apply_steps(channel, steps, actions);
    }

    fn apply_steps(
        &mut self,
        channel: &ChannelName,
        steps: impl IntoIterator<Item = (SessionKey, NextStep)>,
        actions: &mut Vec<HubAction>,
    ) {
        for (session, next) in steps {
            match next {
                NextStep::Resolve(resolution) => self.resolve(session, channel, resolution, actions),
                NextStep::Read(range) => self.start_read(session, channel, range, actions),
                NextStep::Verify => self.ensure_call(channel, true, actions),
            }
        }
    }

    /// Calls the broker for a channel, unless a call is open.
    fn ensure_call(&mut self, channel: &ChannelName, verify: bool, actions: &mut Vec<HubAction>) {
        if self.registry.has_no_open_call(channel) {
            self.call_broker(vec![channel.clone()], verify, actions);
        }
    }

    fn start_read(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        range: HistoryRange,
        actions: &mut Vec<HubAction>,
    ) {
        let read = self.next_number();
        let Some(user) = self.registry.user_channel(session).cloned() else { return };
        let Some(pending) = self.registry.pending(session, channel) else { return };
        pending.start_read(read);
        self.reads.insert(read, (session, channel.clone()));
        let mut limits = self.rules.recovery;
        if let WantedHistory::Last(count) = pending.history() {
            limits.messages = usize::try_from(count).unwrap_or(usize::MAX);
        }
        let channel = channel.clone();
        actions.push(HubAction::Read(HistoryRequest { read, user, channel, range, limits }));
    }

    /// Handles the end of a read.
    pub(super) fn on_read(
        &mut self,
        read: ReadId,
        outcome: Result<Recovered, NotRecovered>,
        actions: &mut Vec<HubAction>,
    ) {
        let Some((session, channel)) = self.reads.remove(&read) else { return };
        let Some(pending) = self.registry.pending(session, &channel) else { return };
        // The read is outdated if the cut moved or the session subscribed again.
        let Some(cut) = pending.cut().filter(|_| pending.active_read() == Some(read)) else { return };
        let request = pending.request();
        let resolution = if matches!(pending.history(), WantedHistory::Last(_)) {
            Metrics::count(&self.metrics.history_reads, HistoryReadKind::Last);
            match outcome {
                Ok(found) => Resolution::last(self.apply_budget_to_last(request, &channel, found)),
                // As for a history that has expired: none of its messages can be delivered.
                Err(_) => Resolution::last(Recovered::nothing(cut)),
            }
        } else {
            match outcome.and_then(|recovered| self.apply_budget(request, recovered)) {
                Ok(recovered) => Resolution::recovered(recovered.position, recovered.publications),
                Err(reason) => Resolution::not_recovered(cut, reason.into()),
            }
        };
        self.resolve(session, &channel, resolution, actions);
    }

    /// Answers the session of a resolved subscription, now or together with the other channels of its request.
    fn resolve(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        Resolution { state, outcome, missed }: Resolution,
        actions: &mut Vec<HubAction>,
    ) {
        let Some(pending) = self.registry.pending(session, channel) else { return };
        pending.resolve(missed);
        let request = pending.request();
        if let Some(outcome) = outcome {
            Metrics::count(&self.metrics.recoveries, outcome);
        }
        if state.is_live() && self.needs_presence(session, channel) {
            return self.await_presence(session, channel, state, actions);
        }
        self.answer_channel(request, channel, state, actions);
    }

    /// Answers the session for one channel, or for its whole request if this was the last unknown channel.
    pub(super) fn answer_channel(
        &mut self,
        request: HubRequestId,
        channel: &ChannelName,
        state: SubscriptionState,
        actions: &mut Vec<HubAction>,
    ) {
        if let Some(answer) = self.requests.resolve(request, channel, state) {
            self.send_answer(request, answer, actions);
        }
    }

    /// Answers a request with the states that are known.
    fn answer(&mut self, request: HubRequestId, actions: &mut Vec<HubAction>) {
        if let Some(answer) = self.requests.answer(request) {
            self.send_answer(request, answer, actions);
        }
    }

    pub(super) fn send_answer(
        &mut self,
        request: HubRequestId,
        answer: SessionAnswer,
        actions: &mut Vec<HubAction>,
    ) {
        let SessionAnswer { session, known, event } = answer;
        let is_alone = matches!(event, SessionEvent::Subscribed(_));
        for channel in known {
            let pending = self.registry.pending(session, &channel);
            if let Some(pending) = pending.filter(|pending| pending.request() == request) {
                pending.mark_answered(is_alone);
            }
        }
        actions.push(HubAction::Notify { session, event });
    }

    /// Answers all requests, because their channels stay unknown without a link.
    pub(super) fn answer_all(&mut self, actions: &mut Vec<HubAction>) {
        for request in self.requests.unanswered() {
            self.answer(request, actions);
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant, actions: &mut Vec<HubAction>) {
        while let Some(request) = self.requests.pop_expired(now) {
            self.answer(request, actions);
        }
        self.signals.end_windows(now);
    }
}

/// The next step of a subscription. `None` while its cut is unknown or its history is being read, and after it is
/// resolved.
fn next_step(pending: &PendingSubscription) -> Option<NextStep> {
    let cut = pending.cut().filter(|_| pending.is_unresolved() && pending.active_read().is_none())?;
    let since = match pending.history() {
        WantedHistory::Nothing => return Some(NextStep::Resolve(Resolution::starting_at(cut))),
        // There was no history at the cut.
        WantedHistory::Last(_) if cut.is_beginning() => {
            return Some(NextStep::Resolve(Resolution::last(Recovered::nothing(cut))));
        }
        WantedHistory::Last(_) => return Some(NextStep::Read(HistoryRange::Last { cut })),
        WantedHistory::Since(ResumePoint::Invalid) => {
            let resolution = Resolution::not_recovered(cut, RecoveryResult::InvalidPosition);
            return Some(NextStep::Resolve(resolution));
        }
        WantedHistory::Since(ResumePoint::Position(since)) => since,
    };
    Some(match since.cmp(&cut) {
        Ordering::Equal => NextStep::Resolve(Resolution::recovered(since, [].into())),
        Ordering::Less => NextStep::Read(HistoryRange::Since { since, cut }),
        // The client comes from a replica that is ahead, or the history lost its last messages.
        Ordering::Greater if !pending.is_verified() => NextStep::Verify,
        Ordering::Greater => NextStep::Resolve(Resolution::not_recovered(cut, RecoveryResult::Lost)),
    })
}

impl Resolution {
    /// The client named no position, so it starts at `position`.
    fn starting_at(position: Position) -> Self {
        let state = SubscriptionState::Live { position, recovered: None, presence: None, last: None };
        Self { state, outcome: None, missed: [].into() }
    }

    fn recovered(since: Position, missed: Arc<[Arc<Publication>]>) -> Self {
        let state =
            SubscriptionState::Live { position: since, recovered: Some(true), presence: None, last: None };
        Self { state, outcome: Some(RecoveryResult::Recovered), missed }
    }

    /// The client wanted the last messages, and these are given.
    fn last(Recovered { position, publications, .. }: Recovered) -> Self {
        // No page has so many messages.
        let last = Some(u32::try_from(publications.len()).unwrap_or(u32::MAX));
        let state = SubscriptionState::Live { position, recovered: None, presence: None, last };
        Self { state, outcome: None, missed: publications }
    }

    fn not_recovered(position: Position, reason: RecoveryResult) -> Self {
        let state = SubscriptionState::Live { position, recovered: Some(false), presence: None, last: None };
        Self { state, outcome: Some(reason), missed: [].into() }
    }

    fn refused() -> Self {
        Self { state: SubscriptionState::Refused, outcome: None, missed: [].into() }
    }

    /// The history of the channel cannot be read, so nothing is recovered.
    fn untracked(history: WantedHistory) -> Self {
        match history {
            WantedHistory::Nothing => Self::starting_at(NOWHERE),
            WantedHistory::Since(_) => Self::not_recovered(NOWHERE, RecoveryResult::Unreadable),
            WantedHistory::Last(_) => Self::last(Recovered::nothing(NOWHERE)),
        }
    }
}
