//! One run: Redis, replicas and clients, and the choice of the next step.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker::Expectations;
use super::client::SimulatedClient;
use super::cluster::Cluster;
use super::inbox::SentMessage;
use super::link::ConnectionStep;
use super::plan::{ChannelKind, Fault, PlantedBug, SimulationPlan};
use super::record::{ChannelRecord, RecordedPublication, Retention};
use super::replica::{Replica, ReplicaStep};
use super::rng::SimulationRng;
use crate::broker::link::ReadErrorKind;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::conversation::Rules;

/// More steps than any run needs to settle.
const MAX_STEPS: usize = 100_000;
/// The channels. A client cannot leave the first [`OWN`] of them.
pub(super) const NAMES: [&str; 4] = ["user:1", "all", "room:1", "room:2"];
pub(super) const OWN: usize = 2;
/// 2024-11-23, 19:26:40 UTC.
const UNIX_START_MS: u64 = 1_732_390_000_000;

/// Why a run failed.
pub(super) type RunFailure = String;

pub(super) struct SimulationRun {
    pub(super) plan: Rc<SimulationPlan>,
    pub(super) expectations: Expectations,
    pub(super) rng: SimulationRng,
    pub(super) rules: Arc<Rules>,
    pub(super) now: Instant,
    pub(super) unix_ms: u64,
    pub(super) cluster: Cluster,
    /// The number of publications; shared with the sockets.
    pub(super) published: Rc<Cell<u64>>,
    pub(super) records: Vec<ChannelRecord>,
    pub(super) replicas: Vec<Replica>,
    pub(super) clients: Vec<SimulatedClient>,
    pub(super) sessions: u128,
    /// Messages for the inbox whose gateway did not wait until Redis executed the call.
    pub(super) late_calls: Vec<SentMessage>,
    /// The messages that the backend has processed, in their order.
    pub(super) processed: Vec<SentMessage>,
    pub(super) metrics: Metrics,
    /// The actors that currently perform no steps.
    stalled: [bool; 8],
    is_settling: bool,
    /// The trace of the run, if requested.
    pub(super) trace: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy)]
enum SimulationStep {
    Replica(usize, ReplicaStep),
    Session(usize),
    Read(usize),
    Connect(usize),
    /// Redis executes the call of a session for the inbox.
    ExecuteCall(usize),
    /// The session handles the outcome.
    FinishCall(usize),
    ExecuteLateCall,
    ProcessEntry,
}

impl SimulationStep {
    /// The actor that performs the step.
    fn actor(self) -> usize {
        match self {
            Self::Replica(
                replica,
                ReplicaStep::Link(_, ConnectionStep::ReceivePush | ConnectionStep::ReceiveMessage),
            ) => replica,
            Self::Replica(
                replica,
                ReplicaStep::Hub(hub) | ReplicaStep::Fanout(hub) | ReplicaStep::HubDeadline(hub),
            ) => 4 + (replica + hub) % 2,
            Self::Replica(replica, _) => 2 + replica,
            Self::Session(_) | Self::Connect(_) | Self::FinishCall(_) => 6,
            Self::ExecuteCall(_) | Self::ExecuteLateCall | Self::ProcessEntry => 0,
            Self::Read(_) => 7,
        }
    }
}

/// Appends a line to the trace, if there is one.
macro_rules! trace {
    ($run:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $run.trace {
            trace.push(format!($($text)*));
        }
    };
}
pub(super) use trace;

impl SimulationRun {
    pub(super) fn new(
        seed: u64,
        planted_bug: PlantedBug,
        metrics: &Metrics,
        rules: &Arc<Rules>,
        is_traced: bool,
    ) -> Self {
        let mut rng = SimulationRng::new(seed);
        let mut plan = SimulationPlan::draw(&mut rng, planted_bug);
        plan.draw_cluster(&mut SimulationRng::new(!seed));
        let plan = Rc::new(plan);
        let expectations = Expectations {
            has_exact_beginnings: !plan.may(Fault::ClockBack) && plan.refused_percent == 0,
            reports_plain_loss: !plan.may(Fault::MessageLost),
            is_complete: plan.is_calm,
            keeps_histories: plan.keeps_histories(),
        };
        let record = |(name, kind): (&str, ChannelKind)| ChannelRecord {
            name: ChannelName::parse(name).unwrap(),
            kind,
            published: Vec::new(),
        };
        let mut run = Self {
            expectations,
            rng,
            rules: Arc::clone(rules),
            now: Instant::now(),
            unix_ms: UNIX_START_MS,
            cluster: Cluster::new(&plan, UNIX_START_MS, &NAMES),
            published: Rc::default(),
            records: NAMES.into_iter().zip(plan.kinds).map(record).collect(),
            replicas: Vec::new(),
            clients: (0..plan.clients).map(|_| SimulatedClient::new(NAMES.len(), plan.last)).collect(),
            sessions: 0,
            late_calls: Vec::new(),
            processed: Vec::new(),
            metrics: metrics.clone(),
            stalled: [false; 8],
            is_settling: false,
            trace: is_traced.then(Vec::new),
            plan,
        };
        trace!(run, "{:?}", run.plan);
        let replica = |_| Replica::new(&run.plan, &run.cluster, &run.metrics);
        run.replicas = (0..run.plan.replicas).map(replica).collect();
        run
    }

    /// Executes the run: faults, then quiet, then one more message on each channel, which must reach every subscriber.
    pub(super) fn execute(&mut self) -> Result<(), RunFailure> {
        if self.plan.is_calm {
            // Without a history, clients cannot expect that a channel is durable.
            (0..NAMES.len()).for_each(|channel| self.publish(channel, true));
        }
        for _ in 0..self.plan.disturbances {
            for _ in 0..self.rng.below(2 * self.plan.pace as usize + 1) {
                self.progress()?;
            }
            self.disturb()?;
        }
        self.is_settling = true;
        self.cluster.forbidden.clear();
        self.finish_migrations();
        self.settle()?;
        self.replicas.iter_mut().for_each(Replica::check_histories);
        self.settle()?;
        self.retry_refused_channels();
        self.settle()?;
        for channel in 0..NAMES.len() {
            self.publish(channel, self.plan.kinds[channel] != ChannelKind::Plain);
            self.settle()?;
        }
        self.check_inbox()?;
        for (number, client) in self.clients.iter().enumerate() {
            for (channel, checker) in client.checkers.iter().enumerate().filter(|(at, _)| client.wants[*at]) {
                checker
                    .on_end(&self.records[channel])
                    .map_err(|error| format!("client {number}, {}: at the end {error}", NAMES[channel]))?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), RunFailure> {
        trace!(self, "--- quiet");
        for _ in 0..MAX_STEPS {
            if self.progress()? {
                continue;
            }
            // Nothing can happen before the next deadline.
            match self.replicas.iter().filter_map(Replica::next_deadline).min() {
                Some(deadline) => self.now = self.now.max(deadline),
                None => return self.check_reported_users(),
            }
        }
        Err("the run does not settle".to_owned())
    }

    /// Performs one of the possible steps; returns whether there was one.
    fn progress(&mut self) -> Result<bool, RunFailure> {
        if self.rng.percent(5) {
            for index in 0..self.stalled.len() {
                self.stalled[index] = self.rng.percent(25);
            }
        }
        let mut steps = Vec::with_capacity(16);
        self.steps(&mut steps);
        if !self.is_settling {
            steps.retain(|step| !self.stalled[step.actor()]);
        }
        if steps.is_empty() {
            return Ok(false);
        }
        let step = self.rng.pick(&steps);
        self.pass_time();
        self.perform_step(step).map(|()| true)
    }

    fn steps(&mut self, steps: &mut Vec<SimulationStep>) {
        if !self.late_calls.is_empty() {
            steps.push(SimulationStep::ExecuteLateCall);
        }
        if self.is_settling && !self.cluster.inbox().is_empty() {
            steps.push(SimulationStep::ProcessEntry);
        }
        let mut replica_steps = Vec::with_capacity(8);
        for (index, replica) in self.replicas.iter().enumerate() {
            replica.steps(self.now, &self.cluster, &mut replica_steps);
            steps.extend(replica_steps.drain(..).map(|step| SimulationStep::Replica(index, step)));
        }
        for (index, client) in self.clients.iter().enumerate() {
            let Some(session) = &client.session else {
                steps.push(SimulationStep::Connect(index));
                continue;
            };
            if !session.inbound.is_empty() || !session.mailbox.is_empty() {
                steps.push(SimulationStep::Session(index));
            }
            if let Some(call) = &session.sends.call {
                let is_decided = call.is_decided();
                steps.push(if is_decided {
                    SimulationStep::FinishCall(index)
                } else {
                    SimulationStep::ExecuteCall(index)
                });
            }
            if session.socket.has_frames() || session.socket.is_closed() {
                steps.push(SimulationStep::Read(index));
            }
        }
    }

    fn perform_step(&mut self, step: SimulationStep) -> Result<(), RunFailure> {
        trace!(self, "{step:?}");
        match step {
            SimulationStep::Replica(replica, step) => {
                if let ReplicaStep::ReadMap = step {
                    self.read_map(replica);
                    return Ok(());
                }
                let failure = self.read_failure();
                let events = self.replicas[replica].perform_step(step, &mut self.cluster, self.now, failure);
                self.deliver_events(events);
                self.publish_signals(replica);
                return self.check_reports(replica);
            }
            SimulationStep::Session(client) => self.step_session(client),
            SimulationStep::Read(client) => return self.read(client),
            SimulationStep::Connect(client) => self.connect(client),
            SimulationStep::ExecuteCall(client) => self.execute_call(client),
            SimulationStep::FinishCall(client) => self.finish_call(client),
            SimulationStep::ExecuteLateCall => self.execute_late_call(),
            SimulationStep::ProcessEntry => self.process_entry(),
        }
        Ok(())
    }

    /// The failure of a reading command, if this step executes one.
    fn read_failure(&mut self) -> Option<ReadErrorKind> {
        if self.is_settling {
            None
        } else if self.rng.percent(self.plan.refused_percent) {
            Some(ReadErrorKind::Unreadable)
        } else {
            self.rng.percent(self.plan.unanswered_percent).then_some(ReadErrorKind::Transient)
        }
    }

    fn pass_time(&mut self) {
        let passed = match self.rng.below(20) {
            0 => self.rng.between(5, 50),
            1..=8 => self.rng.between(1, 3),
            _ => 0,
        };
        self.now += Duration::from_millis(passed);
        self.unix_ms += passed;
        self.cluster.change_clocks(|clock_ms| clock_ms + passed);
    }

    pub(super) fn is_settling(&self) -> bool {
        self.is_settling
    }

    /// Publishes, changes a client, or injects a fault. Clients may send messages, and the backend processes some.
    fn disturb(&mut self) -> Result<(), RunFailure> {
        if self.rng.percent(40) {
            let client = self.rng.below(self.clients.len());
            self.send_messages(client);
            self.process_entry();
        }
        match self.rng.below(20) {
            0..=10 => {
                let channel = self.rng.below(NAMES.len());
                let is_durable = match self.plan.kinds[channel] {
                    ChannelKind::Durable => true,
                    ChannelKind::Plain => false,
                    ChannelKind::Mixed => self.rng.percent(50),
                };
                self.publish(channel, is_durable);
            }
            11..=13 => {
                let client = self.rng.below(self.clients.len());
                self.disconnect(client);
            }
            14 => {
                let client = self.rng.below(self.clients.len());
                let channel = OWN + self.rng.below(NAMES.len() - OWN);
                self.toggle_subscription(client, channel);
            }
            15 => {
                self.retry_refused_channels();
                let replica = self.rng.below(self.replicas.len());
                self.replicas[replica].check_histories();
                // The gateway also marks the dataset with each check.
                self.cluster.mark_all();
            }
            16 => self.cluster.save(self.published.get()),
            _ => {
                let fault = self.rng.pick(&self.plan.faults);
                self.inject_fault(fault);
            }
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, channel: usize, is_durable: bool) {
        let number = self.published.get() + 1;
        self.published.set(number);
        let record = &mut self.records[channel];
        let position = is_durable.then(|| self.cluster.append(&record.name, number));
        record.published.push(RecordedPublication { number, position, retention: Retention::Kept });
        let payload: Rc<str> = match position {
            Some(position) => format!("@{position} {number}").into(),
            None => number.to_string().into(),
        };
        trace!(self, "publish on {}: {payload}", NAMES[channel]);
        let name = &self.records[channel].name;
        let address = if is_durable { self.cluster.history_at(name) } else { self.cluster.owner(name) };
        self.replicas.iter_mut().for_each(|replica| replica.publish(address, name, &payload));
        if number.is_multiple_of(2) {
            self.send_signal(number / 2);
        }
    }
}
