//! Subscriptions from their request to their answer, and the recovery of missed messages.
//!
//! A subscription is confirmed at its cut. A client whose position is the cut has missed nothing. A client with an
//! earlier position receives the immutable history between the two. A client with a later position comes from a replica
//! that is ahead, and waits until this replica has the same position.

use std::time::Instant;

use super::{FrameSink, HubAction, HubCore, RequestKind, SessionKey};
use crate::broker::{Cut, HistoryRequest, NotRecovered, ReadId, Recovered, RequestId, SubscribeAck};
use crate::hub::messages::SessionEvent;
use crate::hub::registry::Asked;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::conversation::{Since, Wanted};
use protocol::event::SubscriptionState;
use protocol::position::Position;

/// The position in the answer for an untracked channel: it is before every history.
const NOWHERE: Position = Position::before(0);

/// The next step of a subscription whose cut is known.
enum Next {
    Settle(SubscriptionState, Option<&'static str>),
    Read(Position),
    Verify,
}

impl<S: FrameSink> HubCore<S> {
    /// Subscribes a session to channels, and calls the broker for those whose position is not known.
    pub(super) fn request(
        &mut self,
        now: Instant,
        session: SessionKey,
        kind: RequestKind,
        wanted: Vec<Wanted>,
        actions: &mut Vec<HubAction>,
    ) {
        let id = self.next_number();
        let channels: Vec<_> = wanted.iter().map(|wanted| (wanted.channel.clone(), wanted.since)).collect();
        self.requests.insert(id, session, kind, wanted);
        let mut unknown = Vec::new();
        for (channel, since) in channels {
            self.registry.subscribe(session, &channel, since, id);
            if self.registry.cut(&channel).is_some() {
                self.settle(session, &channel, actions);
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
        };
        self.registry.confirm(&channel, position);
        for session in self.registry.waiting(&channel) {
            let Some(pending) =
                self.registry.pending(session, &channel).filter(|pending| pending.is_waiting())
            else {
                continue;
            };
            match position {
                Some(position) if pending.read().is_none() => {
                    pending.set_cut(position, verify);
                    self.settle(session, &channel, actions);
                }
                Some(_) => {}
                None => {
                    let recovered = pending.since().map(|_| false);
                    let outcome = recovered.map(|_| NotRecovered::Unreadable.label());
                    let state = SubscriptionState::Live { position: NOWHERE, recovered };
                    self.finish(session, &channel, state, outcome, actions);
                }
            }
        }
    }

    /// Continues the subscriptions of a channel whose cut has moved.
    pub(super) fn settle_channel(&mut self, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        if self.registry.cut(channel).is_none() {
            return self.ask_unless_asked(channel, false, actions);
        }
        for session in self.registry.waiting(channel) {
            let pending = self.registry.pending(session, channel);
            if pending.is_some_and(|pending| {
                pending.is_waiting() && pending.cut().is_some() && pending.read().is_none()
            }) {
                self.settle(session, channel, actions);
            }
        }
    }

    /// Continues a subscription whose cut is known.
    fn settle(&mut self, session: SessionKey, channel: &ChannelName, actions: &mut Vec<HubAction>) {
        let Some(pending) = self.registry.pending(session, channel) else { return };
        let Some(cut) = pending.cut() else { return };
        match next(pending.since(), cut, pending.is_verified()) {
            Next::Settle(state, reason) => self.finish(session, channel, state, reason, actions),
            Next::Read(since) => self.read(session, channel, since, cut, actions),
            Next::Verify => self.ask_unless_asked(channel, true, actions),
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
        since: Position,
        cut: Position,
        actions: &mut Vec<HubAction>,
    ) {
        let read = self.next_number();
        let Some(user) = self.registry.user(session).cloned() else { return };
        let Some(pending) = self.registry.pending(session, channel) else { return };
        pending.reading(read);
        self.reads.insert(read, (session, channel.clone(), pending.number()));
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
        let Some((session, channel, number)) = self.reads.remove(&read) else { return };
        let Some(pending) =
            self.registry.pending(session, &channel).filter(|pending| pending.number() == number)
        else {
            return;
        };
        // If the cut has moved since, another read is in progress.
        let Some((_, since, cut)) = pending.read().filter(|(current, ..)| *current == read) else { return };
        let request = pending.request();
        match outcome.and_then(|recovered| self.within_budget(request, recovered)) {
            Ok(Recovered { publications, .. }) => {
                if let Some(pending) = self.registry.pending(session, &channel) {
                    pending.settle(publications);
                }
                let state = SubscriptionState::Live { position: since, recovered: Some(true) };
                self.finish(session, &channel, state, Some("recovered"), actions);
            }
            Err(reason) => {
                let state = SubscriptionState::Live { position: cut, recovered: Some(false) };
                self.finish(session, &channel, state, Some(reason.label()), actions);
            }
        }
    }

    /// All channels of a request share one limit in bytes, which does not count one long message.
    fn within_budget(&mut self, request: u64, recovered: Recovered) -> Result<Recovered, NotRecovered> {
        let Some(request) = self.requests.get_mut(request) else { return Ok(recovered) };
        let sizes = request.recovered.plus(recovered.sizes);
        if sizes.counted(self.rules.recovery) > self.rules.recovery.bytes {
            return Err(NotRecovered::TooMuch);
        }
        request.recovered = sizes;
        Ok(recovered)
    }

    /// It is known what a subscription has missed: answers its session, now or together with the others of its request.
    fn finish(
        &mut self,
        session: SessionKey,
        channel: &ChannelName,
        state: SubscriptionState,
        outcome: Option<&'static str>,
        actions: &mut Vec<HubAction>,
    ) {
        if let Some(outcome) = outcome {
            Metrics::count(&self.metrics.recoveries, outcome);
        }
        let Some(pending) = self.registry.pending(session, channel) else { return };
        if pending.is_waiting() {
            pending.settle([].into());
        }
        let request = pending.request();
        let Some(event) = self.requests.settle(request, channel, state) else { return };
        let told = match &event {
            // The last channel completes the request.
            SessionEvent::Joined(_) => self.registry.channels_of(session).cloned().collect(),
            _ => vec![channel.clone()],
        };
        let is_alone = matches!(event, SessionEvent::Subscribed { .. });
        self.mark_told(session, request, &told, is_alone);
        actions.push(HubAction::Notify { session, event });
    }

    /// Notes that the session is told of these channels, as far as they are known.
    fn mark_told(
        &mut self,
        session: SessionKey,
        request: RequestId,
        channels: &[ChannelName],
        is_alone: bool,
    ) {
        for channel in channels {
            if let Some(pending) =
                self.registry.pending(session, channel).filter(|one| one.request() == request)
            {
                pending.mark_told(is_alone);
            }
        }
    }

    /// Answers a request with the states that are known.
    fn answer(&mut self, request: u64, actions: &mut Vec<HubAction>) {
        let Some((session, live, event)) = self.requests.answer(request) else { return };
        let is_alone = matches!(event, SessionEvent::Subscribed { .. });
        self.mark_told(session, request, &live, is_alone);
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

/// The next step of a subscription at `cut` for a client that continues from `since`.
fn next(since: Option<Since>, cut: Position, is_verified: bool) -> Next {
    let live = |position, recovered| SubscriptionState::Live { position, recovered };
    match since {
        None => Next::Settle(live(cut, None), None),
        Some(Since::Unreadable) => Next::Settle(live(cut, Some(false)), Some("unreadable_position")),
        Some(Since::Position(since)) if since == cut => {
            Next::Settle(live(since, Some(true)), Some("recovered"))
        }
        Some(Since::Position(since)) if since < cut => Next::Read(since),
        // The client comes from a replica that is ahead, or the history has lost its end.
        Some(Since::Position(_)) if !is_verified => Next::Verify,
        Some(Since::Position(_)) => Next::Settle(live(cut, Some(false)), Some(NotRecovered::Lost.label())),
    }
}
