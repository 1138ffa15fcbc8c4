//! Decides what a hub does, without actor, broker or clock: each [`HubInput`] results in [`HubAction`]s.
//!
//! The actor drives the core in production, the simulation in virtual time. Publications are not actions: the core
//! sends them directly to the sinks of their sessions.
//!
//! - `presence`: the state of the user of `online:<user>`, for its subscribers.
//! - `rooms`: the channels of namespaces with presence or occupancy.
//! - `signals`: signals from sessions to the broker, and from the broker to sessions.
//! - `turns`: the work that waits for other work of the thread, or for a time.
//! - `requests`: the requests of sessions that are not complete.
//! - `budget`: the limit of the messages from histories that one request receives.
//! - `subscribing`: subscriptions from their request to their answer, and the recovery of missed messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::presence::PresenceReads;
use self::requests::{PendingRequests, RequestKind};
use self::rooms::Rooms;
use super::fanout::{FanoutScheduler, TURN_BYTES};
use super::inbox::InboxBudget;
use super::messages::{HubInput, SessionEvent};
use super::registry::MAX_HELD;
use super::registry::{EndedSubscription, FanoutOutcome, FrameReceiver, FrameSink, Registry, SessionKey};
use super::signals::SignalScheduler;
use crate::broker::{BrokerCallId, HistoryRequest, HubEvent, LocalReport, ReadId, RecoveryLimits};
use crate::metrics::{DropReason, Metrics};
use crate::settings::Namespaces;
use crate::shrink;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;
use protocol::signal::Signal;
use protocol::{SessionId, Variant, Version};

mod budget;
mod presence;
mod requests;
mod rooms;
mod signals;
mod subscribing;
mod turns;

/// The rules of a hub.
#[derive(Debug, Clone)]
pub struct HubRules {
    /// The maximum that one request receives from histories.
    pub recovery: RecoveryLimits,
    /// The time that an answer waits for subscriptions and histories while the link is up. Channels that are not known
    /// by then are answered later.
    pub answer_timeout: Duration,
    /// The maximum number of publications that a pending subscription holds.
    pub max_held: usize,
    /// The size of one turn. Fan-outs of more bytes are written in turns.
    pub turn_bytes: usize,
    /// Whether presence is on: the first and the last session of each user are reported, and subscribers of
    /// `online:<user>` receive the state of the user.
    pub reports_users: bool,
    /// The options of channels.
    pub namespaces: Arc<Namespaces>,
}

impl HubRules {
    /// The rules in production. The simulation uses smaller limits.
    pub fn new(recovery: RecoveryLimits, answer_timeout: Duration) -> Self {
        Self {
            recovery,
            answer_timeout,
            max_held: MAX_HELD,
            turn_bytes: TURN_BYTES,
            reports_users: false,
            namespaces: Arc::default(),
        }
    }
}

/// An action of a hub. The driver performs all actions in order before the next input.
#[derive(Debug, Clone)]
pub enum HubAction {
    /// Send an event to a session.
    Notify {
        /// The receiver of the event.
        session: SessionKey,
        /// The control message to send.
        event: SessionEvent,
    },
    /// Subscribe to channels at the broker.
    Subscribe {
        /// The id that the broker returns with its answers.
        call: BrokerCallId,
        /// The channels to subscribe to.
        channels: Vec<ChannelName>,
        /// Whether the broker compares the channels with their histories first.
        verify: bool,
    },
    /// Unsubscribe from these channels at the broker.
    Unsubscribe(Vec<ChannelName>),
    /// Read a history.
    Read(HistoryRequest),
    /// Cancel a read.
    CancelRead(ReadId),
    /// Report a change among the sessions of this hub.
    Report(LocalReport),
    /// Measure the latency of a publication that is queued on its last socket.
    ObserveLatency {
        /// The arrival time of the publication at the link.
        received: Instant,
    },
    /// Read whether the user of a channel `online:<user>` is online.
    ReadPresence {
        /// The number that the broker returns with its answer.
        read: ReadId,
        /// The channel `online:<user>`.
        channel: ChannelName,
    },
    /// Cancel a read of a user's presence.
    CancelPresence(ReadId),
    /// Send a signal to the sessions of its channel on every replica.
    Signal(Arc<Signal>),
}

/// The state of a hub: sessions, their subscriptions, and their pending requests.
#[derive(Debug)]
pub struct HubCore<S> {
    rules: HubRules,
    registry: Registry<S>,
    sessions: HashMap<SessionId, SessionKey>,
    requests: PendingRequests,
    /// The subscription of each read.
    reads: HashMap<ReadId, (SessionKey, ChannelName)>,
    presence_reads: PresenceReads,
    rooms: Rooms,
    fanouts: FanoutScheduler<S>,
    signals: SignalScheduler<S>,
    inbox_budget: Arc<InboxBudget>,
    metrics: Metrics,
    link_is_up: bool,
    /// The last number that was assigned to a request, a broker call or a read.
    last_number: u64,
}

impl<S: FrameSink> HubCore<S> {
    /// Creates a hub without sessions, whose link is down.
    pub fn new(rules: HubRules, inbox_budget: Arc<InboxBudget>, metrics: &Metrics) -> Self {
        Self {
            registry: Registry::new(rules.max_held),
            sessions: HashMap::new(),
            requests: PendingRequests::default(),
            reads: HashMap::new(),
            presence_reads: PresenceReads::default(),
            rooms: Rooms::new(&rules.namespaces),
            fanouts: FanoutScheduler::new(rules.turn_bytes),
            signals: SignalScheduler::new(rules.turn_bytes),
            inbox_budget,
            metrics: metrics.clone(),
            link_is_up: false,
            last_number: 0,
            rules,
        }
    }

    /// Adds a session. It receives publications after it has joined.
    pub fn connect(&mut self, session: SessionId, variant: impl Into<Variant>, sink: S) -> SessionKey {
        let key = self.registry.connect(variant, sink);
        self.sessions.insert(session, key);
        key
    }

    /// The key of a connected session.
    pub fn key(&self, session: SessionId) -> Option<SessionKey> {
        self.sessions.get(&session).copied()
    }

    /// The key of a session that has not ended. An ended session's Leave follows, so no work starts for it: short-lived
    /// sessions must not delay the others.
    fn open_key(&self, session: SessionId) -> Option<SessionKey> {
        self.key(session).filter(|session| !self.registry.is_closed(*session))
    }

    /// All sessions, identified or not, in no particular order.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, SessionKey)> {
        self.sessions.iter().map(|(session, key)| (*session, *key))
    }

    /// The registry, for the queries of operators.
    pub fn registry(&self) -> &Registry<S> {
        &self.registry
    }

    /// Handles one input and appends the resulting actions.
    pub fn on(&mut self, now: Instant, input: HubInput, actions: &mut Vec<HubAction>) {
        // An input of a session changes the number of subscriptions in several functions, so the gauge is changed once,
        // by the difference. Other inputs return early: of them only a refused channel ends subscriptions, and
        // `on_refused` counts those.
        let before = self.registry.subscription_count();
        match input {
            HubInput::Broker(event) => return self.on_event(now, event, actions),
            HubInput::WriteTurn => return self.on_write_turn(now, actions),
            HubInput::DeadlinePassed => return self.on_deadline(now, actions),
            HubInput::Join { session, channels } => {
                let Some(session) = self.open_key(session) else { return };
                self.metrics.sessions.inc();
                self.start_request(now, session, RequestKind::Join, channels, actions);
                self.report_first_session(session, actions);
            }
            HubInput::Subscribe { session, channels } => {
                let Some(session) = self.open_key(session) else { return };
                self.start_request(now, session, RequestKind::Subscribe, channels, actions);
            }
            HubInput::Unsubscribe { session, channels, answer } => {
                let Some(session) = self.key(session) else { return };
                let ended: Vec<_> = channels
                    .iter()
                    .filter_map(|channel| {
                        let flushed = self.fanouts.flush(session, channel);
                        self.count_fanout(flushed);
                        self.signals.unsubscribe(session, channel);
                        self.leave_room(session, channel, actions);
                        self.registry.unsubscribe(session, channel)
                    })
                    .collect();
                answer.into_iter().for_each(|answer| self.registry.send(session, answer));
                ended.into_iter().for_each(|ended| self.on_subscription_end(ended, actions));
            }
            HubInput::GoLive { session, channel } => {
                let Some(session) = self.key(session) else { return };
                let delivered = match &channel {
                    Some(channel) => self.registry.go_live(session, channel),
                    None => self.registry.go_live_everywhere(session),
                };
                self.metrics.publications_delivered.inc_by(delivered);
                self.send_counts(session, channel.as_ref());
            }
            HubInput::Signal { session, signal } => return self.send_signal(session, signal, actions),
            HubInput::Leave { session } => self.on_leave(session, actions),
        }
        self.metrics.subscriptions.inc_by(self.registry.subscription_count() as i64 - before as i64);
    }

    fn on_event(&mut self, now: Instant, event: HubEvent, actions: &mut Vec<HubAction>) {
        match event {
            HubEvent::Publication(publication) => self.on_publication(publication, actions),
            HubEvent::Signal(signal) => self.on_signal(now, signal),
            HubEvent::Subscribed(acks) => acks.into_iter().for_each(|ack| self.on_ack(ack, actions)),
            HubEvent::Gap { channel, reason, position } => self.on_gap(channel, reason, position, actions),
            HubEvent::Link { is_up } => self.on_link(is_up, actions),
            HubEvent::HistoryRead { read, outcome } => self.on_read(read, outcome, actions),
            HubEvent::PresenceRead { read, channel, presence } => {
                self.on_presence(read, &channel, presence, actions);
            }
            HubEvent::Room { channel, count, joined, left } => self.on_room(channel, count, joined, left),
        }
    }

    fn on_leave(&mut self, session: SessionId, actions: &mut Vec<HubAction>) {
        let Some(key) = self.sessions.remove(&session) else { return };
        shrink::map(&mut self.sessions);
        self.fanouts.remove(key);
        self.signals.remove(key);
        if self.registry.user_channel(key).is_some() {
            self.metrics.sessions.dec();
        }
        let user = self.registry.user_channel(key).filter(|_| self.rules.reports_users).cloned();
        self.leave_all_rooms(key, actions);
        for ended in self.registry.leave(key) {
            self.on_subscription_end(ended, actions);
        }
        if let Some(user) = user.filter(|user| self.registry.sessions_of(user).is_empty()) {
            actions.push(HubAction::Report(LocalReport::User { user, is_online: false }));
        }
    }

    fn report_first_session(&self, session: SessionKey, actions: &mut Vec<HubAction>) {
        if self.rules.reports_users
            && let Some(user) = self.registry.user_channel(session)
            && self.registry.sessions_of(user) == [session]
        {
            actions.push(HubAction::Report(LocalReport::User { user: user.clone(), is_online: true }));
        }
    }

    /// Cancels the answer and the read of an ended subscription, and unsubscribes at the broker after the last one.
    fn on_subscription_end(
        &mut self,
        EndedSubscription { channel, is_last, pending }: EndedSubscription,
        actions: &mut Vec<HubAction>,
    ) {
        if let Some(pending) = pending {
            if let Some(read) = pending.active_read() {
                self.reads.remove(&read);
                actions.push(HubAction::CancelRead(read));
            }
            let answer = self.requests.remove_channel(pending.request(), &channel);
            // Nothing is answered to a session that has left.
            if let Some(answer) = answer.filter(|answer| self.registry.user_channel(answer.session).is_some())
            {
                self.send_answer(pending.request(), answer, actions);
            }
        }
        if is_last {
            self.cancel_presence(&channel, actions);
            match actions.last_mut() {
                Some(HubAction::Unsubscribe(channels)) => channels.push(channel),
                _ => actions.push(HubAction::Unsubscribe(vec![channel])),
            }
        }
    }

    fn on_link(&mut self, is_up: bool, actions: &mut Vec<HubAction>) {
        self.link_is_up = is_up;
        if !is_up {
            self.answer_all(actions);
        }
    }

    fn on_publication(&mut self, publication: Arc<Publication>, actions: &mut Vec<HubAction>) {
        let bytes = publication.queued_bytes();
        self.fan_out(publication, bytes, Version::V1, actions);
    }

    /// Sends a publication to the subscribers of at least version `from`. The inbox counts `bytes` for it.
    fn fan_out(
        &mut self,
        publication: Arc<Publication>,
        bytes: usize,
        from: Version,
        actions: &mut Vec<HubAction>,
    ) {
        let fanouts = &self.fanouts;
        let (fanout, receivers) = self
            .registry
            .deliver(&publication, from, |bytes| fanouts.should_defer(publication.channel(), bytes));
        self.count_fanout(fanout);
        if fanout.moved_cuts {
            self.on_cut_moved(publication.channel(), actions);
        }
        let Some(receivers) = receivers else {
            let received = publication.received().filter(|_| fanout.delivered > 0);
            actions.extend(received.map(|received| HubAction::ObserveLatency { received }));
            return self.inbox_budget.release(bytes);
        };
        // The list of receivers counts against the same limit.
        let list_bytes = receivers.len() * size_of::<FrameReceiver<S>>();
        self.inbox_budget.hold(list_bytes);
        self.fanouts.add(publication, receivers, bytes + list_bytes);
    }

    fn on_gap(
        &mut self,
        channel: ChannelName,
        reason: GapReason,
        position: Option<Position>,
        actions: &mut Vec<HubAction>,
    ) {
        self.inbox_budget.clear_gap(&channel);
        let is_deferred = self.fanouts.is_busy(&channel);
        if let Some((frames, receivers)) = self.registry.announce_gap(&channel, reason, position, is_deferred)
        {
            self.fanouts.add_gap(channel.clone(), frames, receivers);
        }
        if reason == GapReason::Overflow {
            self.repeat_call(&channel, actions);
        }
        self.repeat_presence(&channel, actions);
    }

    fn count_fanout(&self, fanout: FanoutOutcome) {
        self.metrics.publications_delivered.inc_by(fanout.delivered);
        if fanout.unreachable > 0 {
            let dropped = &self.metrics.publications_dropped;
            Metrics::count_many(dropped, DropReason::SocketClosing, fanout.unreachable);
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

#[cfg(test)]
mod tests;
