//! The actor of a hub: performs the decisions of its core.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

use actix::{
    Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, SpawnHandle, WrapFuture as _,
};
use actix_rt::task::yield_now;
use bytes::Bytes;

use super::connected::{ConnectedSession, OpenedAt, TokenMark};
use super::core::{HubAction, HubCore, HubRules};
use super::drain::DrainSchedule;
use super::frame_group::FrameGroup;
use super::inbox::{HubInbox, InboxBudget, Mailbox};
use super::messages::{Connect, HubInput, SessionEvent};
use super::registry::{FrameSink, Offered, SessionKey};
use super::session_events;
use crate::broker::{Broker, HubId};
use crate::metrics::{Latency, Metrics};
use crate::shrink;
use crate::socket::outbox::{Outbox, Pushed};
use crate::socket::outbox_registry;
use protocol::Encoding;
use protocol::close::CloseCode;

/// The hub of one worker thread.
#[derive(Debug)]
pub struct Hub {
    id: HubId,
    pub(super) broker: Broker,
    pub(super) core: HubCore<Outbox>,
    /// A reused buffer for the actions of the core.
    actions: Vec<HubAction>,
    /// The sessions that receive control messages, indexed by session key.
    pub(super) connected: Vec<Option<ConnectedSession>>,
    /// Hashes the ids of tokens. Nobody outside can make two ids with one hash.
    pub(super) token_hasher: RandomState,
    is_turn_scheduled: bool,
    /// The deadline that a timer is set for, and the timer.
    armed_deadline: Option<(Instant, SpawnHandle)>,
    pub(super) draining: Option<DrainSchedule>,
    latency: Arc<Latency>,
    /// The start of the hub. Times at which sessions were opened are stored relative to it.
    pub(super) started: Instant,
    _abort: AbortOnPanic,
}

/// The limits of a hub.
#[derive(Debug, Clone)]
pub struct HubLimits {
    /// The maximum size of the publications in the inbox, in bytes.
    pub max_inbox_bytes: usize,
    /// The rules of the core.
    pub rules: HubRules,
}

impl Hub {
    pub(super) fn new(
        context: &mut Context<Self>,
        broker: Broker,
        limits: HubLimits,
        metrics: &Metrics,
    ) -> Self {
        let budget = Arc::new(InboxBudget::new(limits.max_inbox_bytes, metrics));
        let inbox = HubInbox::new(ActorMailbox(context.address()), Arc::clone(&budget));
        Self {
            id: broker.attach(Arc::new(inbox)),
            broker,
            core: HubCore::new(limits.rules, budget, metrics),
            actions: Vec::new(),
            connected: Vec::new(),
            token_hasher: RandomState::new(),
            is_turn_scheduled: false,
            armed_deadline: None,
            draining: None,
            latency: metrics.delivery_latency.add_thread(),
            started: Instant::now(),
            _abort: AbortOnPanic,
        }
    }

    fn perform(&mut self, action: HubAction) {
        match action {
            HubAction::Notify { session, event } => self.notify(session, event),
            HubAction::Subscribe { call, channels, verify } => {
                self.broker.subscribe(self.id, call, channels, verify);
            }
            HubAction::Unsubscribe(channels) => self.broker.unsubscribe(self.id, &channels),
            HubAction::Read(request) => self.broker.read(self.id, request),
            HubAction::CancelRead(read) => self.broker.cancel_read(self.id, read),
            HubAction::Report(report) => self.broker.report(self.id, report),
            HubAction::ObserveLatency { received } => self.latency.observe(received.elapsed()),
            HubAction::ReadPresence { read, channel } => self.broker.read_presence(self.id, read, &channel),
            HubAction::CancelPresence(read) => self.broker.cancel_presence(self.id, read),
            HubAction::Signal(signal) => self.broker.signal(signal),
        }
    }

    /// Sends a control message to a session. The budget and the subscriptions of a session bound the number of its
    /// answers; a lost answer would leave its client waiting without end.
    pub(super) fn notify(&self, session: SessionKey, event: SessionEvent) {
        if self.connected(session).is_some()
            && let Some((outbox, _)) = self.core.registry().sink(session)
        {
            session_events::push(outbox, event);
        }
    }

    pub(super) fn connected(&self, session: SessionKey) -> Option<&ConnectedSession> {
        self.connected.get(session.index())?.as_ref()
    }

    pub(super) fn connected_mut(&mut self, session: SessionKey) -> Option<&mut ConnectedSession> {
        self.connected.get_mut(session.index())?.as_mut()
    }

    /// Sends a session nothing more.
    pub(super) fn forget(&mut self, session: SessionKey) {
        if let Some(connected) = self.connected.get_mut(session.index()) {
            *connected = None;
        }
    }

    /// Schedules the next part of a long fan-out after other work on this thread.
    fn schedule_turn(&mut self, context: &mut Context<Self>) {
        if self.is_turn_scheduled || !self.core.has_writes() {
            return;
        }
        self.is_turn_scheduled = true;
        context.spawn(yield_now().into_actor(self).map(|(), hub, context| {
            hub.is_turn_scheduled = false;
            hub.handle(HubInput::WriteTurn, context);
        }));
    }

    /// Sets a timer for the next deadline of the core, unless a timer runs that is not too late.
    fn arm_deadline(&mut self, context: &mut Context<Self>) {
        let Some(deadline) = self.core.next_deadline() else { return };
        match self.armed_deadline {
            Some((armed, _)) if armed <= deadline => return,
            Some((_, timer)) => drop(context.cancel_future(timer)),
            None => {}
        }
        let timer = context.run_later(deadline.saturating_duration_since(Instant::now()), |hub, context| {
            hub.armed_deadline = None;
            hub.handle(HubInput::DeadlinePassed, context);
        });
        self.armed_deadline = Some((deadline, timer));
    }
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<HubInput> for Hub {
    type Result = ();

    /// Passes an input to the core and performs the resulting actions.
    fn handle(&mut self, input: HubInput, context: &mut Self::Context) {
        if let HubInput::Leave { session } = &input
            && let Some(session) = self.core.key(*session)
        {
            self.forget(session);
            shrink::slots(&mut self.connected, self.core.registry().session_count().saturating_sub(1));
        }
        let mut actions = std::mem::take(&mut self.actions);
        self.core.on(Instant::now(), input, &mut actions);
        actions.drain(..).for_each(|action| self.perform(action));
        self.actions = actions;
        self.schedule_turn(context);
        self.arm_deadline(context);
    }
}

impl Handler<Connect> for Hub {
    type Result = ();

    fn handle(&mut self, message: Connect, _: &mut Self::Context) {
        // A closed socket has no outbox; its Leave follows.
        let Some(outbox) = outbox_registry::find(message.outbox) else { return };
        let session = self.core.connect(message.session, message.variant, outbox);
        if self.connected.len() <= session.index() {
            self.connected.resize_with(session.index() + 1, || None);
        }
        let opened = OpenedAt::new(message.opened, self.started);
        self.connected[session.index()] = Some(ConnectedSession { opened, token: TokenMark::NONE });
        if self.draining.is_some() {
            self.notify(session, DrainSchedule::event());
        }
    }
}

/// An actor's own mailbox.
#[derive(Debug)]
struct ActorMailbox(Addr<Hub>);

impl Mailbox for ActorMailbox {
    fn push(&self, message: HubInput) {
        self.0.do_send(message);
    }
}

impl FrameSink for Outbox {
    fn send(&self, frame: Bytes) -> bool {
        self.push(frame) == Pushed::Accepted
    }

    fn send_together(&self, frames: &FrameGroup) -> bool {
        if self.encoding() == Encoding::EventStream {
            // Each block gets the positions of its own stream.
            return frames.frames().all(|frame| self.send(frame));
        }
        self.push(frames.bytes().clone()) == Pushed::Accepted
    }

    fn offer(&self, frames: &FrameGroup) -> Offered {
        Self::offer(self, frames.bytes(), frames.ends()).map_or(Offered::Closed, Offered::Sent)
    }

    fn close_too_slow(&self) {
        self.close(CloseCode::TooSlow);
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

/// Ends the process if the hub panics: sockets without a hub would look healthy but receive nothing.
#[derive(Debug)]
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            log::error!("a hub panicked; the process ends, because its sessions would receive nothing");
            log::logger().flush();
            // EX_SOFTWARE in sysexits.h.
            std::process::exit(70);
        }
    }
}
