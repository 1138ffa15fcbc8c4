//! Who is here: one hub for each worker thread, so that a delivery never crosses threads.
//!
//! The actor is thin: its handlers move between [`registry`] and `waiting` (plain structs), the broker, and
//! the sessions. It never reads JSON and never talks to Redis.
//!
//! # Layout, lowest first
//!
//! - [`registry`]: sessions and subscriptions; who gets a publication.
//! - `turns`: fan-outs that take long, a part at a time. `delivery`: what comes from the broker.
//! - `waiting`: who waits for the broker.
//! - [`messages`]: what is said to a hub and by it.
//! - `resumption`: how sessions continue where their clients left, a plain struct; `recovery`: the reads for it.
//! - `inbox`: the broker's way to the hub, bounded in bytes.
//! - `drain`: sending everybody away.
//! - `roster`: who is here, for operators, and ending a session by their word.

mod delivery;
mod drain;
mod inbox;
pub mod messages;
mod recovery;
pub mod registry;
mod resumption;
mod roster;
#[cfg(test)]
pub(crate) mod simulation;
mod turns;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use actix::{Actor, Addr, Context, Handler, Recipient};
use bytes::Bytes;

use self::drain::Draining;
use self::inbox::HubInbox;
use self::messages::{Connect, Drain, FromBroker, GoLive, Join, Leave, SessionEvent, Subscribe, Unsubscribe};
use self::registry::{ChannelStanding, Line, Registry, Slot};
pub use self::roster::HubSilent;
use self::roster::Opened;
use self::turns::{TURN_BYTES, Turns};
use self::waiting::{Request, RequestKind, Waiting};
use crate::broker::{Broker, HubEvent, HubId, RecoveryLimits};
use crate::metrics::Metrics;
use crate::socket::outbox::{Outbox, Pushed};
use crate::socket::outboxes;
use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::close::CloseCode;
use protocol::conversation::{Standing, Wanted};

/// The hub of one worker thread.
#[derive(Debug)]
pub struct Hub {
    id: HubId,
    broker: Broker,
    metrics: Metrics,
    inbox: Arc<HubInbox>,
    registry: Registry<Outbox>,
    turns: Turns<Outbox>,
    /// Whether the next turn is on its way.
    turn_is_due: bool,
    sessions: HashMap<SessionId, Connected>,
    waiting: Waiting,
    draining: Option<Draining>,
    recovery: RecoveryLimits,
    /// From when its sessions' ages are counted.
    started: Instant,
    _lifeline: Lifeline,
}

/// The bounds of a hub.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// Bytes of publications that may wait for it.
    pub inbox_bytes: usize,
    /// How much one session may catch up with on one channel.
    pub recovery: RecoveryLimits,
}

#[derive(Debug)]
struct Connected {
    recipient: Recipient<SessionEvent>,
    slot: Slot,
    opened: Opened,
}

/// Every hub of the process, for what concerns all of them. Cloning shares.
#[derive(Debug, Clone, Default)]
pub struct Hubs(Arc<Mutex<Vec<Addr<Hub>>>>);

impl Hubs {
    /// Starts a hub on this thread, which must be an actix worker.
    pub fn start_here(&self, broker: &Broker, limits: HubLimits, metrics: &Metrics) -> Addr<Hub> {
        let hub = Hub::create(|context| Hub::new(context, broker.clone(), limits, metrics.clone()));
        // A list of addresses cannot be left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(hub.clone());
        hub
    }

    /// Asks every hub to send its sessions away.
    pub fn drain(&self, drain: Drain) {
        for hub in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            hub.do_send(drain);
        }
    }
}

impl Hub {
    fn new(context: &mut Context<Self>, broker: Broker, limits: HubLimits, metrics: Metrics) -> Self {
        use actix::AsyncContext as _;
        let inbox = Arc::new(HubInbox::new(context.address(), limits.inbox_bytes, metrics.clone()));
        Self {
            id: broker.attach(Arc::clone(&inbox) as _),
            broker,
            metrics,
            inbox,
            registry: Registry::default(),
            turns: Turns::new(TURN_BYTES),
            turn_is_due: false,
            sessions: HashMap::new(),
            waiting: Waiting::default(),
            draining: None,
            recovery: limits.recovery,
            started: Instant::now(),
            _lifeline: Lifeline,
        }
    }

    /// Puts a session on channels and asks the broker for those that are new here. Returns the channels
    /// that are not confirmed yet.
    fn subscribe(&mut self, session: Slot, wanted: &[Wanted]) -> Vec<ChannelName> {
        let before = self.registry.subscriptions();
        let (mut new, mut unconfirmed) = (Vec::new(), Vec::new());
        for Wanted { channel, .. } in wanted {
            match self.registry.subscribe(session, channel) {
                None | Some(ChannelStanding::Confirmed) => continue,
                Some(ChannelStanding::New) => new.push(channel.clone()),
                Some(ChannelStanding::Pending) => {}
            }
            unconfirmed.push(channel.clone());
        }
        if !new.is_empty() {
            self.waiting.ask(&new);
            self.broker.subscribe(self.id, new);
        }
        self.count_subscriptions(before);
        unconfirmed
    }

    /// Answers a request now, or when the broker has confirmed what it needs.
    fn answer_when_confirmed(
        &mut self,
        session: SessionId,
        request: Request,
        unconfirmed: Vec<ChannelName>,
        context: &mut Context<Self>,
    ) {
        if unconfirmed.is_empty() {
            self.recover(session, request, context);
        } else {
            self.waiting.wait(session, request, unconfirmed);
        }
    }

    /// Tells a session how the channels that it asked for stand.
    fn answer(&mut self, session: SessionId, kind: RequestKind, mut standings: Vec<Standing>) {
        let event = match kind {
            RequestKind::Join => SessionEvent::Joined(standings),
            RequestKind::Subscribe { ticket } => match standings.pop() {
                Some(standing) => SessionEvent::Subscribed { ticket, standing },
                None => return,
            },
        };
        if let Some(connected) = self.sessions.get(&session) {
            tell(&connected.recipient, event);
        }
    }

    fn slot(&self, session: SessionId) -> Option<Slot> {
        self.sessions.get(&session).map(|connected| connected.slot)
    }

    fn unwanted(&self, channels: Vec<ChannelName>) {
        if !channels.is_empty() {
            self.broker.unsubscribe(self.id, channels);
        }
    }

    fn count_subscriptions(&self, before: usize) {
        let change = self.registry.subscriptions() as i64 - before as i64;
        self.metrics.subscriptions.inc_by(change);
    }
}

/// Sends a control message to a session.
#[allow(
    clippy::disallowed_methods,
    reason = "answers are as many as the session has asked for, which its budget and its subscriptions bound; \
              and a lost one would leave its client waiting for ever"
)]
fn tell(recipient: &Recipient<SessionEvent>, event: SessionEvent) {
    recipient.do_send(event);
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<Connect> for Hub {
    type Result = ();

    fn handle(&mut self, message: Connect, _: &mut Self::Context) {
        // Its socket may be gone already; then its Leave follows.
        let Some(outbox) = outboxes::find(message.outbox) else { return };
        let slot = self.registry.join(message.variant, outbox);
        if self.draining.is_some() {
            tell(&message.recipient, Draining::farewell());
        }
        let opened = Opened::new(message.opened, self.started);
        let connected = Connected { recipient: message.recipient, slot, opened };
        self.sessions.insert(message.session, connected);
    }
}

impl Handler<Join> for Hub {
    type Result = ();

    fn handle(&mut self, Join { session, channels }: Join, context: &mut Self::Context) {
        let Some(slot) = self.slot(session) else { return };
        self.metrics.sessions.inc();
        let unconfirmed = self.subscribe(slot, &channels);
        let request = Request { kind: RequestKind::Join, wanted: channels.into() };
        self.answer_when_confirmed(session, request, unconfirmed, context);
    }
}

impl Handler<Subscribe> for Hub {
    type Result = ();

    fn handle(&mut self, Subscribe { session, wanted, ticket }: Subscribe, context: &mut Self::Context) {
        let Some(slot) = self.slot(session) else { return };
        let unconfirmed = self.subscribe(slot, std::slice::from_ref(&wanted));
        let request = Request { kind: RequestKind::Subscribe { ticket }, wanted: [wanted].into() };
        self.answer_when_confirmed(session, request, unconfirmed, context);
    }
}

impl Handler<Unsubscribe> for Hub {
    type Result = ();

    fn handle(&mut self, message: Unsubscribe, _: &mut Self::Context) {
        let Unsubscribe { session, channel, answer } = message;
        let Some(slot) = self.slot(session) else { return };
        let before = self.registry.subscriptions();
        let hastened = self.turns.hasten(slot, &channel);
        self.count(hastened);
        let is_empty = self.registry.unsubscribe(slot, &channel);
        self.registry.send(slot, answer);
        self.count_subscriptions(before);
        self.unwanted(if is_empty { vec![channel] } else { Vec::new() });
    }
}

impl Handler<GoLive> for Hub {
    type Result = ();

    fn handle(&mut self, GoLive { session, channel }: GoLive, _: &mut Self::Context) {
        let Some(slot) = self.slot(session) else { return };
        let delivered = match channel {
            Some(channel) => self.registry.go_live(slot, &channel),
            None => self.registry.go_live_everywhere(slot),
        };
        self.metrics.publications_delivered.inc_by(delivered);
    }
}

impl Handler<Leave> for Hub {
    type Result = ();

    fn handle(&mut self, Leave { session }: Leave, _: &mut Self::Context) {
        let Some(connected) = self.sessions.remove(&session) else { return };
        let before = self.registry.subscriptions();
        self.turns.forget(connected.slot);
        let is_identified = self.registry.user(connected.slot).is_some();
        let empty = self.registry.leave(connected.slot);
        self.count_subscriptions(before);
        self.unwanted(empty);
        self.waiting.forget(session);
        if is_identified {
            self.metrics.sessions.dec();
        }
    }
}

impl Handler<FromBroker> for Hub {
    type Result = ();

    fn handle(&mut self, FromBroker(event): FromBroker, context: &mut Self::Context) {
        match event {
            HubEvent::Publication(publication) => {
                self.on_publication(publication, context);
            }
            HubEvent::Subscribed(channels) => {
                let mut done = Vec::new();
                for (channel, place) in &channels {
                    if self.waiting.answered(channel) {
                        self.registry.confirm(channel, *place);
                        self.waiting.confirm(channel, &mut done);
                    }
                }
                for (session, request) in done {
                    self.recover(session, request, context);
                }
            }
            HubEvent::Gap { channel, reason, place } => self.on_gap(channel, reason, place),
        }
    }
}

impl Line for Outbox {
    fn send(&self, frame: Bytes) -> bool {
        self.push(frame) == Pushed::Accepted
    }

    fn overflow(&self) {
        self.close(CloseCode::TooSlow);
    }
}

/// Ends the process when its hub is torn down by a panic: sockets without a hub would look healthy and
/// receive nothing.
#[derive(Debug)]
struct Lifeline;

impl Drop for Lifeline {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("a hub has panicked; the process ends, because its sessions would receive nothing");
            // EX_SOFTWARE in sysexits.h.
            std::process::exit(70);
        }
    }
}
