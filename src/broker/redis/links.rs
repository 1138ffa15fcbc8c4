//! The links of a process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::super::Health;
use super::assignment::Assignment;
use super::cluster::slot::{SLOTS, Slot};
use super::link_error::LinkError;
use super::link_gauges::ReadyWith;
use super::names::Layout;
use super::options::RedisOptions;
use super::presence::Presence;
use super::process::ProcessState;
use super::routes::{Routes, SlotOwners};
use super::state::RedisState;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;

/// The links of a process.
pub(super) struct RedisLinks {
    pub(super) process: Arc<ProcessState>,
    pub(super) routes: watch::Sender<Arc<Routes>>,
}

impl RedisLinks {
    pub(super) fn new(options: RedisOptions, metrics: &Metrics) -> Self {
        let is_sharded = options.layout == Layout::Slots;
        let process = Arc::new(ProcessState::new(options, metrics));
        let (id, shared) = process.router.add();
        let assignment = if is_sharded { Assignment::none() } else { Assignment::all() };
        let link = Arc::new(RedisState::new(Arc::clone(&process), (id, shared), None, assignment));
        let routes = if is_sharded {
            let failure = Some("the nodes of the cluster have not answered yet".to_owned());
            let by_slot = vec![None; usize::from(SLOTS)];
            Routes::sharded(Vec::new(), SlotOwners { by_slot, nobody: link, failure })
        } else {
            process.gauges.add(id);
            process.router.assign(Box::new(move |_| Some(id)));
            Routes::one(link)
        };
        Self { process, routes: watch::Sender::new(Arc::new(routes)) }
    }

    /// Which link serves what, at this moment.
    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.borrow())
    }

    /// The link of a channel.
    pub(super) fn link_of(&self, channel: &ChannelName) -> Arc<RedisState> {
        Arc::clone(self.routes().of_channel(&self.process, channel.as_str()))
    }

    /// The link with the keys of presence.
    pub(super) fn presence_link(&self) -> Arc<RedisState> {
        self.of_slot(self.process.duty_slots.presence)
    }

    /// The link with the keys of control.
    pub(super) fn control_link(&self) -> Arc<RedisState> {
        self.of_slot(self.process.duty_slots.control)
    }

    /// The link with the inbox.
    pub(super) fn inbox_link(&self) -> Arc<RedisState> {
        self.of_slot(self.process.duty_slots.inbox)
    }

    fn of_slot(&self, slot: Slot) -> Arc<RedisState> {
        Arc::clone(self.routes().of_slot(slot))
    }

    /// How long this process may have missed commands and revocations; `None`: it misses none.
    pub(super) fn stale_for(&self) -> Option<Duration> {
        self.control_link().stale_for()
    }

    pub(super) fn health(&self) -> Health {
        let routes = self.routes();
        if let Some(link) = routes.only() {
            return link.health();
        }
        if *self.process.stopped.borrow() {
            let reasons = vec!["redis: the broker is stopped".to_owned()];
            return Health { is_ready: false, state: "stopped", reasons };
        }
        let LinksReadiness { state, reasons, ready } = LinksReadiness::find(&routes);
        match self.process.options.ready_with {
            _ if reasons.is_empty() => Health { is_ready: true, state: "ready", reasons },
            ReadyWith::Any if ready > 0 => Health { is_ready: true, state: "ready", reasons: Vec::new() },
            ReadyWith::All | ReadyWith::Any => Health { is_ready: false, state, reasons },
        }
    }

    /// Warnings for the operator that do not affect delivery, and with `ReadyWith::Any` the masters without a link.
    pub(super) fn notes(&self) -> Vec<String> {
        let (process, routes) = (&self.process, self.routes());
        let mut notes = Vec::new();
        if routes.only().is_none() && process.options.ready_with == ReadyWith::Any {
            notes.extend(LinksReadiness::find(&routes).reasons);
        }
        for note in routes.links.iter().flat_map(|link| link.notes()) {
            // Several masters often have the same problem.
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let inbox = process.inbox.notes(self.inbox_link().dataset.max_inbox_entries());
        let presence = process.presence.as_ref().and_then(Presence::note);
        notes.into_iter().chain(process.control.note()).chain(inbox).chain(presence).collect()
    }

    /// All links are lost.
    pub(super) fn disconnected(&self, error: &LinkError) {
        for link in &self.routes().links {
            link.disconnected(error.clone());
        }
    }

    /// Tells all links to end.
    pub(super) fn stop(&self) {
        self.process.stopped.send_replace(true);
        let routes = self.routes();
        routes.links.iter().chain(routes.nobody()).for_each(|link| link.stop());
    }
}

/// What a process with several links misses.
struct LinksReadiness {
    /// The state of one of the links that are not ready.
    state: &'static str,
    reasons: Vec<String>,
    /// How many links are ready.
    ready: usize,
}

impl LinksReadiness {
    fn find(routes: &Routes) -> Self {
        let mut readiness = Self { state: "connecting", reasons: Vec::new(), ready: 0 };
        if let Some(failure) = routes.failure() {
            readiness.reasons.push(format!("redis: the slots of the cluster are not known: {failure}"));
            return readiness;
        }
        for health in routes.links.iter().map(|link| link.health()) {
            readiness.ready += usize::from(health.is_ready);
            if !health.is_ready {
                readiness.state = health.state;
                readiness.reasons.extend(health.reasons);
            }
        }
        match routes.unowned() {
            0 => {}
            unowned => {
                readiness.reasons.push(format!("redis: {unowned} slots of the cluster have no master"))
            }
        }
        readiness
    }
}
