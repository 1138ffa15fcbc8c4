//! What a process has once, however many links it has.

use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use super::control::ControlState;
use super::inbox_state::InboxState;
use super::link_gauges::LinkGauges;
use super::options::{Layout, RedisOptions};
use super::presence::Presence;
use super::rejected::Rejected;
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
    /// A publication needs a permit while it waits for its answer.
    pub(super) publishing: Semaphore,
    /// Whether it was logged that a server's role cannot be queried.
    pub(super) is_unknown_role_logged: AtomicBool,
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
            gauges: LinkGauges::new(options.ready_with, options.layout != Layout::Slots, metrics),
            publishing: Semaphore::new(MAX_PUBLISHING),
            is_unknown_role_logged: AtomicBool::new(false),
            rejected: Rejected::new(metrics),
            presence: options.presence.clone().map(|options| Presence::new(options, &control.replica)),
            control,
            inbox: InboxState::default(),
            thread_check: ThreadCheck::default(),
            options,
        }
    }
}
