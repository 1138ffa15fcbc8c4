//! What a process has once, however many links it has.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, Semaphore, watch};

use super::super::link::{LinkLimits, LinkRouter};
use super::assignment::DutySlots;
use super::cluster::{ClusterNodes, Redirects};
use super::control::ControlState;
use super::inbox_state::InboxState;
use super::link_error::LinkError;
use super::link_gauges::LinkGauges;
use super::names::Layout;
use super::options::RedisOptions;
use super::presence::Presence;
use super::rejected::Rejected;
use super::started_slots::StartedSlots;
use super::thread_check::ThreadCheck;
use crate::metrics::Metrics;

/// How many publications may wait for Redis' answer. Each of them holds its message in memory. With round trips of a
/// millisecond, this allows a million messages a second.
pub(super) const MAX_PUBLISHING: usize = 1024;

/// Shared by all links of a process and by its handles.
pub(super) struct ProcessState {
    pub(super) options: RedisOptions,
    pub(super) metrics: Metrics,
    pub(super) gauges: LinkGauges,
    /// The links, and which of them owns a channel.
    pub(super) router: LinkRouter,
    /// What is known of the nodes, if Redis is a cluster.
    pub(super) cluster: ClusterNodes,
    /// A publication needs a permit while it waits for its answer.
    pub(super) publishing: Semaphore,
    /// Whether it was logged that a server's role cannot be queried.
    pub(super) is_unknown_role_logged: AtomicBool,
    /// Whether it was logged that a server cannot be checked.
    pub(super) is_unchecked_server_logged: AtomicBool,
    /// Whether a link has ever been healthy.
    pub(super) was_healthy: AtomicBool,
    /// Why the settings must be changed, if a link found so before any was healthy.
    setup_failure: watch::Sender<Option<String>>,
    /// The slots of what the duties of links are about.
    pub(super) duty_slots: DutySlots,
    /// Slots that have moved, as far as the map of the slots does not know it yet.
    pub(super) redirects: Redirects,
    /// Notified when the map of the slots may be stale.
    pub(super) map_stale: Notify,
    /// Whether the broker was stopped.
    pub(super) stopped: watch::Sender<bool>,
    /// Whether writes to many users at once may have been missed, because no link received them.
    pub(super) are_users_missed: AtomicBool,
    /// Set once tokens are read; without them there are no connections for it.
    pub(super) are_tokens_wanted: watch::Sender<bool>,
    /// The slots for which this process has put its settings into force.
    pub(super) started_slots: StartedSlots,
    /// Payloads to record on the stream of rejected payloads.
    pub(super) rejected: Rejected,
    /// `None`: presence is off.
    pub(super) presence: Option<Presence>,
    pub(super) control: ControlState,
    pub(super) inbox: InboxState,
    /// Answered by the thread of the links while it runs.
    pub(super) thread_check: ThreadCheck,
}

impl ProcessState {
    pub(super) fn new(options: RedisOptions, metrics: &Metrics) -> Self {
        metrics.presence_enabled.set(options.presence.is_some().into());
        metrics.limits.inbox_entries.set(options.history.inbox.max_entries as i64);
        let control = ControlState::default();
        Self {
            metrics: metrics.clone(),
            router: LinkRouter::new(LinkLimits::of_payload(options.max_payload_bytes), metrics),
            gauges: LinkGauges::new(options.ready_with, options.layout != Layout::Slots, metrics),
            cluster: ClusterNodes::default(),
            publishing: Semaphore::new(MAX_PUBLISHING),
            is_unknown_role_logged: AtomicBool::new(false),
            is_unchecked_server_logged: AtomicBool::new(false),
            was_healthy: AtomicBool::new(false),
            setup_failure: watch::Sender::new(None),
            duty_slots: DutySlots::new(options.names()),
            redirects: Redirects::default(),
            map_stale: Notify::new(),
            stopped: watch::Sender::new(false),
            are_users_missed: AtomicBool::new(true),
            are_tokens_wanted: watch::Sender::new(false),
            started_slots: StartedSlots::default(),
            rejected: Rejected::new(metrics),
            presence: options.presence.clone().map(|options| Presence::new(options, &control.replica)),
            control,
            inbox: InboxState::default(),
            thread_check: ThreadCheck::default(),
            options,
        }
    }

    /// Ends the setup with a reason, unless a link was healthy before. Returns whether it ended.
    pub(super) fn fail_setup(&self, reason: &LinkError) -> bool {
        let is_first = !self.was_healthy.load(Ordering::Acquire);
        if is_first {
            self.setup_failure.send_replace(Some(reason.to_string()));
        }
        is_first
    }

    /// Returns the reason when the setup has failed.
    pub(super) async fn setup_failed(&self) -> String {
        let mut failure = self.setup_failure.subscribe();
        // The sender is in `self`, so the channel stays open.
        let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }
}
