//! The slots for which this process has put its settings into force.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::cluster::slot::Slot;

/// The slots for which this process has put its settings into force. The links of a process share them, because a slot
/// that moves to another server takes its settings along.
#[derive(Default)]
pub(super) struct StartedSlots(Mutex<HashSet<Slot>>);

impl StartedSlots {
    /// Those of these slots that are not started, and those that are.
    pub(super) fn split(&self, slots: &[Slot]) -> (Vec<Slot>, Vec<Slot>) {
        let started = self.0.lock();
        slots.iter().partition(|slot| !started.contains(slot))
    }

    pub(super) fn add(&self, slots: impl Iterator<Item = Slot>) {
        self.0.lock().extend(slots);
    }
}
