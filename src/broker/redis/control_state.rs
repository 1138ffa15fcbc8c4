//! What this process knows for control, shared by its link and its handles.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::control::{Applier, new_replica_name};
use super::super::revocations::Revocations;

/// This replica's name, its handler of commands, and the revoked tokens.
pub(in crate::broker) struct ControlState {
    pub(in crate::broker) replica: String,
    pub(in crate::broker) applier: Applier,
    pub(in crate::broker) revocations: Revocations,
    /// When the link was last known to be healthy; at first, when the process was started.
    healthy: Mutex<Instant>,
}

impl Default for ControlState {
    fn default() -> Self {
        Self {
            replica: new_replica_name(),
            applier: Applier::default(),
            revocations: Revocations::default(),
            healthy: Mutex::new(Instant::now()),
        }
    }
}

impl ControlState {
    /// The link is healthy.
    pub(super) fn note_healthy(&self) {
        *self.healthy.lock() = Instant::now();
    }

    /// The time since the link was last known to be healthy.
    pub(super) fn since_healthy(&self) -> Duration {
        self.healthy.lock().elapsed()
    }
}
