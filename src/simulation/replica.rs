//! One replica: the cores of its link and hubs. Every `await` of the production drivers is a separate step here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{BatchStep, Delivered, PendingRead, Push, SimulatedConnection};
use super::hub::SimulatedHub;
use super::plan::{PlantedBug, SimulationPlan};
use super::redis::Server;
use super::reports::namespaces;
use crate::broker::LocalReport;
use crate::broker::link::{LinkLimits, LinkRouter, PageReader, ReadErrorKind, SharedLink, TailRead};
use crate::hub::core::{HubAction, HubRules};
use crate::hub::inbox::Mailbox as _;
use crate::hub::messages::{HubInput, SessionEvent};
use crate::hub::registry::SessionKey;
use crate::metrics::Metrics;
use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::publication::Payload;
use protocol::signal::Signal;
use protocol::signal_payload::SignalPayload;

/// The maximum number of channels in a batch.
const MAX_BATCH: usize = 2;

pub(super) struct Replica {
    router: LinkRouter,
    link: Arc<SharedLink>,
    connection: Option<SimulatedConnection>,
    /// Whether the link may have a batch; `TakeBatch` finds out.
    may_subscribe: bool,
    may_read: bool,
    pub(super) hubs: Vec<SimulatedHub>,
    /// Signals that the hubs have sent and the server has not published.
    signals: Vec<Arc<Signal>>,
    plan: Rc<SimulationPlan>,
}

/// The next event on a replica.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReplicaStep {
    /// The link connects.
    Connect,
    /// The link takes its next batch of subscriptions.
    TakeBatch,
    /// The link takes its next read.
    TakeRead,
    /// The server executes a subscription or an unsubscription.
    ChangeSubscriptions,
    /// The server executes a reading command, or a part of it.
    Execute(usize),
    /// The answer of a reading command arrives.
    Answer(usize),
    /// The next push of the server arrives.
    ReceivePush,
    /// The link handles a received message.
    ReceiveMessage,
    /// A deadline of the link passes.
    LinkDeadline,
    /// A hub handles its next input.
    Hub(usize),
    /// A hub writes the next part of a fan-out.
    Fanout(usize),
    /// A deadline of a hub passes.
    HubDeadline(usize),
}

/// Events for sessions.
pub(super) type SessionEvents = Vec<(SessionId, SessionEvent)>;

impl Replica {
    pub(super) fn new(plan: &Rc<SimulationPlan>, metrics: &Metrics) -> Self {
        let limits = LinkLimits { payload_bytes: plan.payload_bytes, ring_bytes: plan.ring_bytes };
        let router = LinkRouter::new(limits, metrics);
        let (id, link) = router.add();
        router.assign(Box::new(move |_| Some(id)));
        let rules = HubRules {
            recovery: plan.recovery,
            answer_timeout: plan.answer_timeout,
            max_held: plan.max_held,
            turn_bytes: plan.turn_bytes,
            reports_users: true,
            namespaces: Arc::new(namespaces()),
        };
        let hubs = (0..plan.hubs).map(|_| SimulatedHub::new(&router, rules.clone(), plan, metrics)).collect();
        let signals = Vec::new();
        let plan = Rc::clone(plan);
        Self { router, link, connection: None, may_subscribe: false, may_read: false, hubs, signals, plan }
    }

    /// The server publishes a message to its subscribers.
    pub(super) fn publish(&mut self, channel: &ChannelName, payload: &Rc<str>) {
        if let Some(connection) = self.connection.as_mut().filter(|one| one.subscribed.contains(channel)) {
            connection.pushes.push_back(Push::Message(channel.clone(), Rc::clone(payload)));
        }
    }

    /// Whether the replica is connected to the server.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The signals that the replica publishes; none while it is not connected.
    pub(super) fn take_signals(&mut self) -> Vec<Arc<Signal>> {
        let signals = std::mem::take(&mut self.signals);
        if self.connection.is_some() { signals } else { Vec::new() }
    }

    /// Whether the replica is subscribed to a channel on the server.
    pub(super) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.subscribed.contains(channel))
    }

    /// Drops the next push if it is a message.
    pub(super) fn drop_next_message(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if let Some(Push::Message(..)) = connection.pushes.front() {
            connection.pushes.pop_front();
        }
    }

    /// Closes all connections; unread pushes and answers are lost.
    pub(super) fn cut(&mut self, now: Instant) {
        let Some(connection) = self.connection.take() else { return };
        if self.plan.planted_bug == PlantedBug::AbandonedReads {
            for read in connection.reads {
                if let PendingRead::Page { work, .. } = read
                    && matches!(work.reader, PageReader::Client(_))
                {
                    self.link.lock().on_page(work, Err(ReadErrorKind::Unreadable), now);
                }
            }
        }
        self.link.lock().disconnected();
    }

    /// Closes the connection that reads histories; the link repeats the reads.
    pub(super) fn cut_reads(&mut self, now: Instant) {
        let reads = self.connection.as_mut().map(|connection| std::mem::take(&mut connection.reads));
        reads
            .into_iter()
            .flatten()
            .for_each(|read| self.apply_answer(read, Some(ReadErrorKind::Transient), now));
    }

    /// Compares all channels with their histories and retries refused channels.
    pub(super) fn check_histories(&mut self) {
        self.link.lock().retry_refused();
        self.may_subscribe = true;
        let subscribed = self.link.lock().subscribed();
        subscribed.iter().for_each(|channel| self.link.lock().verify(channel));
        self.may_read = true;
    }

    /// The earliest deadline of the link or a hub.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let hubs = self.hubs.iter().filter_map(|hub| hub.core.next_deadline());
        let link = self.link.lock().next_deadline().filter(|_| self.connection.is_some());
        hubs.chain(link).min()
    }

    /// Appends all steps that are possible now.
    pub(super) fn steps(&self, now: Instant, steps: &mut Vec<ReplicaStep>) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        for (index, hub) in self.hubs.iter().enumerate() {
            if !hub.mailbox.is_empty() {
                steps.push(ReplicaStep::Hub(index));
            }
            if hub.core.has_writes() {
                steps.push(ReplicaStep::Fanout(index));
            }
            if is_due(hub.core.next_deadline()) {
                steps.push(ReplicaStep::HubDeadline(index));
            }
        }
        let Some(connection) = &self.connection else { return steps.push(ReplicaStep::Connect) };
        if is_due(self.link.lock().next_deadline()) {
            steps.push(ReplicaStep::LinkDeadline);
        }
        match &connection.batch {
            None if self.may_subscribe => steps.push(ReplicaStep::TakeBatch),
            Some((_, BatchStep::Subscribe | BatchStep::Unsubscribe)) => {
                steps.push(ReplicaStep::ChangeSubscriptions)
            }
            None | Some(_) => {}
        }
        if self.may_read {
            steps.push(ReplicaStep::TakeRead);
        }
        for (index, read) in connection.reads.iter().enumerate() {
            let is_executed = read.is_executed();
            steps.push(if is_executed { ReplicaStep::Answer(index) } else { ReplicaStep::Execute(index) });
        }
        if !connection.pushes.is_empty() {
            steps.push(ReplicaStep::ReceivePush);
        }
        if !connection.received.is_empty() {
            steps.push(ReplicaStep::ReceiveMessage);
        }
    }

    /// Performs a step. `failure` is the result of a reading command that this step executes.
    pub(super) fn perform_step(
        &mut self,
        step: ReplicaStep,
        server: &mut Server,
        now: Instant,
        failure: Option<ReadErrorKind>,
    ) -> SessionEvents {
        match step {
            ReplicaStep::Connect => {
                self.connection = Some(SimulatedConnection::default());
                server.mark();
                self.link.lock().connected();
                (self.may_subscribe, self.may_read) = (true, true);
            }
            ReplicaStep::TakeBatch => self.take_batch(),
            ReplicaStep::TakeRead => self.take_read(),
            ReplicaStep::ChangeSubscriptions => self.change_subscriptions(server),
            ReplicaStep::Execute(index) => self.execute(index, server, failure),
            ReplicaStep::Answer(index) => {
                let Some(connection) = &mut self.connection else { return SessionEvents::new() };
                let read = connection.reads.remove(index);
                self.apply_answer(read, None, now);
            }
            ReplicaStep::ReceivePush => self.receive_push(),
            ReplicaStep::ReceiveMessage => self.receive_message(),
            ReplicaStep::LinkDeadline => {
                self.link.lock().deadline_passed(now);
                self.may_read = true;
            }
            ReplicaStep::Hub(hub) => {
                let input = self.hubs[hub].mailbox.pop();
                return input.map(|input| self.handle_hub_input(hub, input, now)).unwrap_or_default();
            }
            ReplicaStep::Fanout(hub) => return self.handle_hub_input(hub, HubInput::WriteTurn, now),
            ReplicaStep::HubDeadline(hub) => {
                return self.handle_hub_input(hub, HubInput::DeadlinePassed, now);
            }
        }
        SessionEvents::new()
    }

    fn handle_hub_input(&mut self, index: usize, input: HubInput, now: Instant) -> SessionEvents {
        let hub = &mut self.hubs[index];
        let mut actions = Vec::new();
        let names: Vec<(SessionId, SessionKey)> = hub.core.sessions().collect();
        hub.core.on(now, input, &mut actions);
        let mut events = SessionEvents::new();
        for action in actions {
            match action {
                HubAction::Notify { session, event } => {
                    let Some((name, _)) = names.iter().find(|(_, key)| *key == session) else { continue };
                    if self.plan.planted_bug == PlantedBug::EarlyGoLive {
                        hub.mailbox.push(HubInput::GoLive { session: *name, channel: None });
                    }
                    let is_late = matches!(&event, SessionEvent::Subscribed(answers)
                        if answers.iter().any(|answer| answer.state.is_live()));
                    if self.plan.planted_bug != PlantedBug::UnreportedRecovery || !is_late {
                        events.push((*name, event));
                    }
                }
                HubAction::Subscribe { call, channels, verify } => {
                    self.router.subscribe(hub.id, call, channels, verify);
                }
                HubAction::Unsubscribe(channels) => self.router.unsubscribe(hub.id, &channels),
                HubAction::Read(request) => self.router.read(hub.id, request),
                HubAction::CancelRead(read) => self.router.cancel(hub.id, read),
                HubAction::Report(report) => {
                    if !is_forgotten(&report, self.plan.planted_bug) {
                        hub.reports.on_report(&report);
                    }
                }
                HubAction::ObserveLatency { .. } => {}
                HubAction::Signal(signal) => self.signals.push(signal),
                HubAction::ReadPresence { read, channel } => {
                    self.router.read_presence(hub.id, read, &channel)
                }
                HubAction::CancelPresence(read) => self.router.cancel_presence(hub.id, read),
            }
        }
        (self.may_subscribe, self.may_read) = (true, true);
        events
    }

    fn take_batch(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let batch = self.link.lock().next_batch(MAX_BATCH);
        self.may_subscribe = batch.is_some();
        connection.batch = batch.map(|batch| (batch, BatchStep::Subscribe));
    }

    fn take_read(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let work = self.link.lock().next_read();
        self.may_read = work.is_some();
        connection.reads.extend(work.map(PendingRead::new));
    }

    fn change_subscriptions(&mut self, server: &Server) {
        let Some(connection) = &mut self.connection else { return };
        let Some((batch, step)) = &mut connection.batch else { return };
        match step {
            BatchStep::Subscribe => {
                let is_forbidden = |channel: &ChannelName| server.forbidden.contains(channel);
                let channels = std::mem::take(&mut batch.subscribe);
                (connection.refused, batch.subscribe) = channels.into_iter().partition(is_forbidden);
                connection.subscribed.extend(batch.subscribe.iter().cloned());
                *step = BatchStep::Subscribing;
            }
            _ => {
                batch.unsubscribe.iter().for_each(|channel| {
                    connection.subscribed.remove(channel);
                });
                *step = BatchStep::Unsubscribing;
            }
        }
        connection.pushes.push_back(Push::Confirmed);
    }

    fn execute(&mut self, index: usize, server: &mut Server, failure: Option<ReadErrorKind>) {
        let Some(connection) = &mut self.connection else { return };
        connection.reads[index].execute(server, failure, self.plan.planted_bug);
    }

    fn apply_answer(&mut self, read: PendingRead, failure: Option<ReadErrorKind>, now: Instant) {
        match read {
            PendingRead::Tails { channels, now_ms, tails, whole_since_ms } => {
                let tails = match (failure, now_ms, whole_since_ms) {
                    (None, Some(now_ms), Some(whole_since_ms)) => {
                        let read = |tail| TailRead { tail, now_ms, whole_since_ms };
                        tails.into_iter().map(|tail| tail.map(read)).collect()
                    }
                    _ => vec![Err(failure.unwrap_or(ReadErrorKind::Transient)); channels.len()],
                };
                self.link.lock().on_stream_tails(channels, tails, now);
            }
            PendingRead::Page { work, answer } => {
                let outcome = failure.map_or_else(|| answer.unwrap_or(Err(ReadErrorKind::Transient)), Err);
                self.link.lock().on_page(work, outcome, now);
            }
        }
        self.may_read = true;
    }

    /// redis-rs reports confirmations at once but queues messages. An unsubscription waits until they are handled.
    fn receive_push(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.pushes.pop_front() {
            Some(Push::Message(channel, payload)) => {
                connection.received.push_back(Delivered::Message(channel, payload));
            }
            Some(Push::Confirmed) => match &mut connection.batch {
                Some((_, BatchStep::Unsubscribing)) => connection.received.push_back(Delivered::Drained),
                Some((batch, step)) if !batch.unsubscribe.is_empty() => *step = BatchStep::Unsubscribe,
                _ => self.confirmed(),
            },
            None => {}
        }
    }

    fn confirmed(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let (batch, refused) = (connection.batch.take(), std::mem::take(&mut connection.refused));
        if let Some((batch, _)) = batch {
            self.link.lock().confirmed(batch);
            if self.plan.planted_bug != PlantedBug::ForgottenRefusal {
                self.link.lock().refused(refused);
            }
        }
        (self.may_subscribe, self.may_read) = (true, true);
    }

    fn receive_message(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.received.pop_front() {
            Some(Delivered::Message(channel, payload)) => {
                let payload = payload.as_bytes();
                if SignalPayload::is_signal(payload) {
                    self.link
                        .lock()
                        .receive_signal(channel.as_str(), SignalPayload::parse(payload, 9).unwrap());
                    return;
                }
                self.link.lock().receive(channel.as_str(), Payload::parse(payload, 1_000).unwrap());
                self.may_read = true;
            }
            Some(Delivered::Drained) => self.confirmed(),
            None => {}
        }
    }
}

/// Whether a planted bug loses a report.
fn is_forgotten(report: &LocalReport, planted_bug: PlantedBug) -> bool {
    match report {
        LocalReport::User { is_online: false, .. } => planted_bug == PlantedBug::ForgottenReport,
        LocalReport::Channel { is_occupied: false, .. } => planted_bug == PlantedBug::ForgottenVacancy,
        LocalReport::Member { is_member: false, .. } => planted_bug == PlantedBug::ForgottenMember,
        _ => false,
    }
}
