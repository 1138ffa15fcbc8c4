//! One replica: its links, and the cores of its hubs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::cluster::{Cluster, OwnerMap, ServerAddress};
use super::hub::SimulatedHub;
use super::link::{ConnectionStep, SimulatedLink};
use super::plan::{PlantedBug, SimulationPlan};
use super::reports::namespaces;
use crate::broker::LocalReport;
use crate::broker::link::{LinkId, LinkLimits, LinkRouter, ReadErrorKind};
use crate::hub::core::{HubAction, HubRules};
use crate::hub::inbox::Mailbox as _;
use crate::hub::messages::{HubInput, SessionEvent};
use crate::hub::registry::SessionKey;
use crate::metrics::Metrics;
use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::signal::Signal;

pub(super) struct Replica {
    router: LinkRouter,
    /// One link for each master that owns slots in `map`.
    links: Vec<SimulatedLink>,
    map: OwnerMap,
    pub(super) hubs: Vec<SimulatedHub>,
    /// Signals that the hubs have sent and the server has not published.
    signals: Vec<Arc<Signal>>,
    plan: Rc<SimulationPlan>,
}

/// The next event on a replica.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReplicaStep {
    /// An event of a link.
    Link(usize, ConnectionStep),
    /// The replica reads the map.
    ReadMap,
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
    pub(super) fn new(plan: &Rc<SimulationPlan>, cluster: &Cluster, metrics: &Metrics) -> Self {
        let limits = LinkLimits { payload_bytes: plan.payload_bytes, ring_bytes: plan.ring_bytes };
        let router = LinkRouter::new(limits, metrics);
        let rules = HubRules {
            recovery: plan.recovery,
            answer_timeout: plan.answer_timeout,
            max_held: plan.max_held,
            turn_bytes: plan.turn_bytes,
            reports_users: true,
            namespaces: Arc::new(namespaces()),
        };
        let hubs = (0..plan.hubs).map(|_| SimulatedHub::new(&router, rules.clone(), plan, metrics)).collect();
        let (links, map, signals) = (Vec::new(), OwnerMap::new(), Vec::new());
        let mut replica = Self { router, links, map, hubs, signals, plan: Rc::clone(plan) };
        replica.apply_map(cluster.map(0).clone());
        replica
    }

    /// Applies a map: links come and go, and channels move.
    pub(super) fn apply_map(&mut self, map: OwnerMap) {
        let moved: Vec<_> =
            map.keys().filter(|name| map.get(*name) != self.map.get(*name)).cloned().collect();
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|link| map.values().all(|at| *at != link.address));
        gone.iter().for_each(|link| self.router.remove(link.id));
        self.links = kept;
        for address in map.values() {
            if self.links.iter().all(|link| link.address != *address) {
                self.links.push(SimulatedLink::new(*address, self.router.add(), &self.plan));
            }
        }
        let is_forgotten = self.plan.planted_bug == PlantedBug::ForgottenCursor && !self.map.is_empty();
        if is_forgotten {
            self.hubs.iter().for_each(|hub| self.router.unsubscribe(hub.id, &moved));
        }
        let id_of: BTreeMap<ServerAddress, LinkId> =
            self.links.iter().map(|link| (link.address, link.id)).collect();
        let owner_of: BTreeMap<String, LinkId> =
            map.iter().map(|(name, address)| (name.to_string(), id_of[address])).collect();
        self.router.assign(Box::new(move |channel| owner_of.get(channel).copied()));
        if is_forgotten {
            self.hubs.iter().for_each(|hub| self.router.subscribe(hub.id, 0, moved.clone(), false));
        }
        self.map = map;
        for link in &mut self.links {
            link.is_map_stale = false;
            link.wake();
        }
    }

    /// A master publishes a message to its subscribers.
    pub(super) fn publish(&mut self, address: ServerAddress, channel: &ChannelName, payload: &Rc<str>) {
        self.links_at(address).for_each(|link| link.publish(channel, payload));
    }

    fn links_at(&mut self, address: ServerAddress) -> impl Iterator<Item = &mut SimulatedLink> {
        self.links.iter_mut().filter(move |link| link.address == address)
    }

    /// Whether the replica is connected to a master.
    pub(super) fn is_connected(&self) -> bool {
        self.links.iter().any(SimulatedLink::is_connected)
    }

    /// The signals that the replica publishes; none while it is not connected.
    pub(super) fn take_signals(&mut self) -> Vec<Arc<Signal>> {
        let signals = std::mem::take(&mut self.signals);
        if self.is_connected() { signals } else { Vec::new() }
    }

    /// A master ends the subscriptions to a channel, because its slot has left.
    pub(super) fn end_subscription(&mut self, address: ServerAddress, channel: &ChannelName) {
        self.links_at(address).for_each(|link| link.end_subscription(channel));
    }

    /// Drops the next push of each master if it is a message.
    pub(super) fn drop_next_message(&mut self) {
        self.links.iter_mut().for_each(SimulatedLink::drop_next_message);
    }

    /// Closes all connections to a master.
    pub(super) fn cut(&mut self, address: ServerAddress, now: Instant) {
        self.links_at(address).for_each(|link| link.cut(now));
    }

    /// Closes the connections that are subscribed to a channel.
    pub(super) fn cut_subscribers(&mut self, channel: &ChannelName, now: Instant) {
        self.links.iter_mut().filter(|link| link.is_subscribed(channel)).for_each(|link| link.cut(now));
    }

    /// Closes the connections that read histories.
    pub(super) fn cut_reads(&mut self, now: Instant) {
        self.links.iter_mut().for_each(|link| link.cut_reads(now));
    }

    /// Compares all channels with their histories and retries refused channels.
    pub(super) fn check_histories(&mut self) {
        self.links.iter_mut().for_each(SimulatedLink::check_histories);
    }

    /// The earliest deadline of a link or a hub.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let hubs = self.hubs.iter().filter_map(|hub| hub.core.next_deadline());
        hubs.chain(self.links.iter().filter_map(SimulatedLink::next_deadline)).min()
    }

    /// Appends all steps that are possible now.
    pub(super) fn steps(&self, now: Instant, cluster: &Cluster, steps: &mut Vec<ReplicaStep>) {
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
        for (index, link) in self.links.iter().enumerate() {
            link.steps(now, cluster, |step| steps.push(ReplicaStep::Link(index, step)));
        }
        if self.plan.is_cluster && self.links.iter().any(|link| link.is_map_stale || !link.is_connected()) {
            steps.push(ReplicaStep::ReadMap);
        }
    }

    /// Performs a step. `failure` is the result of a reading command that this step executes.
    pub(super) fn perform_step(
        &mut self,
        step: ReplicaStep,
        cluster: &mut Cluster,
        now: Instant,
        failure: Option<ReadErrorKind>,
    ) -> SessionEvents {
        match step {
            ReplicaStep::Link(index, step) => {
                self.links[index].perform_step(step, cluster, now, failure);
                SessionEvents::new()
            }
            ReplicaStep::ReadMap => SessionEvents::new(),
            ReplicaStep::Hub(hub) => {
                let input = self.hubs[hub].mailbox.pop();
                input.map(|input| self.handle_hub_input(hub, input, now)).unwrap_or_default()
            }
            ReplicaStep::Fanout(hub) => self.handle_hub_input(hub, HubInput::WriteTurn, now),
            ReplicaStep::HubDeadline(hub) => self.handle_hub_input(hub, HubInput::DeadlinePassed, now),
        }
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
        self.links.iter_mut().for_each(SimulatedLink::wake);
        events
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
