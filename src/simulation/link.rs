//! One link of a replica: its core, and the connection to one master. Every `await` of the production drivers is a
//! separate step here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::cluster::{Cluster, ServerAddress};
use super::connection::{BatchStep, Delivered, PendingRead, Push, SimulatedConnection};
use super::plan::{PlantedBug, SimulationPlan};
use crate::broker::link::{LinkId, PageReader, ReadErrorKind, SharedLink, TailRead};
use protocol::channel::ChannelName;
use protocol::publication::Payload;
use protocol::signal_payload::SignalPayload;

/// The maximum number of channels in a batch.
const MAX_BATCH: usize = 2;

pub(super) struct SimulatedLink {
    pub(super) address: ServerAddress,
    pub(super) id: LinkId,
    core: Arc<SharedLink>,
    connection: Option<SimulatedConnection>,
    /// Whether the link may have a batch; `TakeBatch` finds out.
    may_subscribe: bool,
    may_read: bool,
    /// Whether something showed that the map may be old.
    pub(super) is_map_stale: bool,
    plan: Rc<SimulationPlan>,
}

/// The next event on a link.
#[derive(Debug, Clone, Copy)]
pub(super) enum ConnectionStep {
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
    Deadline,
}

impl SimulatedLink {
    pub(super) fn new(
        address: ServerAddress,
        (id, core): (LinkId, Arc<SharedLink>),
        plan: &Rc<SimulationPlan>,
    ) -> Self {
        let (connection, plan) = (None, Rc::clone(plan));
        let (may_subscribe, may_read, is_map_stale) = (false, false, false);
        Self { address, id, core, connection, may_subscribe, may_read, is_map_stale, plan }
    }

    /// The server publishes a message to its subscribers.
    pub(super) fn publish(&mut self, channel: &ChannelName, payload: &Rc<str>) {
        if let Some(connection) = self.connection.as_mut().filter(|one| one.subscribed.contains(channel)) {
            connection.pushes.push_back(Push::Message(channel.clone(), Rc::clone(payload)));
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether the link is subscribed to a channel on the server.
    pub(super) fn is_subscribed(&self, channel: &ChannelName) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.subscribed.contains(channel))
    }

    /// The server ends a subscription, because the slot of the channel has left.
    pub(super) fn end_subscription(&mut self, channel: &ChannelName) {
        let Some(connection) = &mut self.connection else { return };
        if connection.subscribed.remove(channel) {
            connection.pushes.push_back(Push::Unsubscribed(channel.clone()));
        }
    }

    /// Drops the next push if it is a message.
    pub(super) fn drop_next_message(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        if let Some(Push::Message(..)) = connection.pushes.front() {
            connection.pushes.pop_front();
        }
    }

    /// There may be work, because hubs called or channels moved.
    pub(super) fn wake(&mut self) {
        (self.may_subscribe, self.may_read) = (true, true);
    }

    /// Closes all connections; unread pushes and answers are lost.
    pub(super) fn cut(&mut self, now: Instant) {
        let Some(connection) = self.connection.take() else { return };
        if self.plan.planted_bug == PlantedBug::AbandonedReads {
            for read in connection.reads {
                if let PendingRead::Page { work, .. } = read
                    && matches!(work.reader, PageReader::Client(_))
                {
                    self.core.lock().on_page(work, Err(ReadErrorKind::Unreadable), now);
                }
            }
        }
        self.core.lock().disconnected();
        self.is_map_stale = true;
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
        let mut core = self.core.lock();
        core.retry_refused();
        core.subscribed().iter().for_each(|channel| core.verify(channel));
        drop(core);
        (self.may_subscribe, self.may_read, self.is_map_stale) = (true, true, true);
    }

    /// The next deadline of the core, while the link is connected.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.core.lock().next_deadline().filter(|_| self.connection.is_some())
    }

    /// Passes all steps that are possible now to `add`.
    pub(super) fn steps(&self, now: Instant, cluster: &Cluster, mut add: impl FnMut(ConnectionStep)) {
        let Some(connection) = &self.connection else {
            if cluster.is_alive(self.address) {
                add(ConnectionStep::Connect);
            }
            return;
        };
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            add(ConnectionStep::Deadline);
        }
        match &connection.batch {
            None if self.may_subscribe => add(ConnectionStep::TakeBatch),
            Some((_, BatchStep::Subscribe | BatchStep::Unsubscribe)) => {
                add(ConnectionStep::ChangeSubscriptions)
            }
            None | Some(_) => {}
        }
        if self.may_read {
            add(ConnectionStep::TakeRead);
        }
        for (index, read) in connection.reads.iter().enumerate() {
            add(if read.is_executed() {
                ConnectionStep::Answer(index)
            } else {
                ConnectionStep::Execute(index)
            });
        }
        if !connection.pushes.is_empty() {
            add(ConnectionStep::ReceivePush);
        }
        if !connection.received.is_empty() {
            add(ConnectionStep::ReceiveMessage);
        }
    }

    /// Performs a step. `failure` is the result of a reading command that this step executes.
    pub(super) fn perform_step(
        &mut self,
        step: ConnectionStep,
        cluster: &mut Cluster,
        now: Instant,
        failure: Option<ReadErrorKind>,
    ) {
        match step {
            ConnectionStep::Connect => {
                self.connection = Some(SimulatedConnection::default());
                cluster.mark(self.address);
                self.core.lock().connected();
                self.wake();
            }
            ConnectionStep::TakeBatch => self.take_batch(),
            ConnectionStep::TakeRead => self.take_read(),
            ConnectionStep::ChangeSubscriptions => self.change_subscriptions(cluster),
            ConnectionStep::Execute(index) => {
                let Some(connection) = &mut self.connection else { return };
                let bug = self.plan.planted_bug;
                self.is_map_stale |= connection.reads[index].execute(cluster, self.address, failure, bug);
            }
            ConnectionStep::Answer(index) => {
                let Some(connection) = &mut self.connection else { return };
                let read = connection.reads.remove(index);
                self.apply_answer(read, None, now);
            }
            ConnectionStep::ReceivePush => self.receive_push(),
            ConnectionStep::ReceiveMessage => self.receive_message(),
            ConnectionStep::Deadline => {
                self.core.lock().deadline_passed(now);
                self.may_read = true;
            }
        }
    }

    fn take_batch(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let batch = self.core.lock().next_batch(MAX_BATCH);
        self.may_subscribe = batch.is_some();
        connection.batch = batch.map(|batch| (batch, BatchStep::Subscribe));
    }

    fn take_read(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let work = self.core.lock().next_read();
        self.may_read = work.is_some();
        connection.reads.extend(work.map(PendingRead::new));
    }

    fn change_subscriptions(&mut self, cluster: &Cluster) {
        let Some(connection) = &mut self.connection else { return };
        let Some((batch, step)) = &mut connection.batch else { return };
        match step {
            BatchStep::Subscribe => {
                let channels = std::mem::take(&mut batch.subscribe).into_iter();
                let (owned, redirected): (Vec<_>, _) =
                    channels.partition(|channel| cluster.owns(self.address, channel));
                connection.redirected = redirected;
                let is_forbidden = |channel: &ChannelName| cluster.forbidden.contains(channel);
                (connection.refused, batch.subscribe) = owned.into_iter().partition(is_forbidden);
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
                self.core.lock().on_stream_tails(channels, tails, now);
            }
            PendingRead::Page { work, answer } => {
                let outcome = failure.map_or_else(|| answer.unwrap_or(Err(ReadErrorKind::Transient)), Err);
                self.core.lock().on_page(work, outcome, now);
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
            Some(Push::Unsubscribed(channel)) => {
                connection.received.push_back(Delivered::Unsubscribed(channel));
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
        let redirected = std::mem::take(&mut connection.redirected);
        if let Some((batch, _)) = batch {
            let mut core = self.core.lock();
            core.confirmed(batch);
            if self.plan.planted_bug != PlantedBug::ForgottenRefusal {
                core.refused(refused);
            }
            core.redirected(&redirected);
            self.is_map_stale |= !redirected.is_empty();
        }
        self.wake();
    }

    fn receive_message(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        match connection.received.pop_front() {
            Some(Delivered::Message(channel, payload)) => {
                let payload = payload.as_bytes();
                let mut core = self.core.lock();
                if SignalPayload::is_signal(payload) {
                    core.receive_signal(channel.as_str(), SignalPayload::parse(payload, 9).unwrap());
                    return;
                }
                core.receive(channel.as_str(), Payload::parse(payload, 1_000).unwrap());
                self.may_read = true;
            }
            Some(Delivered::Unsubscribed(channel)) => {
                self.core.lock().unsubscribed_by_server(&[channel]);
                self.is_map_stale = true;
            }
            Some(Delivered::Drained) => self.confirmed(),
            None => {}
        }
    }
}
