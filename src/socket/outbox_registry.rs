//! Finds the outboxes of this thread by key.
//!
//! An outbox is not `Send`, but an actor message must be, even between two actors of one thread. So messages carry the
//! key of an outbox.

use std::cell::RefCell;

use slab::Slab;

use super::outbox::Outbox;
use crate::shrink;

/// The key of an outbox on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxKey(u32);

thread_local! {
    static OUTBOXES: RefCell<Slab<Outbox>> = const { RefCell::new(Slab::new()) };
}

/// The registration of an outbox on this thread. Dropping it removes the outbox from the registry.
#[derive(Debug)]
pub struct OutboxRegistration(OutboxKey);

/// Registers an outbox on this thread until the registration is dropped.
pub fn register(outbox: Outbox) -> OutboxRegistration {
    // A thread has fewer sockets than file descriptors, whose numbers have 31 bits.
    OutboxRegistration(OutboxKey(OUTBOXES.with_borrow_mut(|outboxes| outboxes.insert(outbox) as u32)))
}

/// The outbox with this key; `None` once its registration is dropped.
pub fn find(key: OutboxKey) -> Option<Outbox> {
    OUTBOXES.with_borrow(|outboxes| outboxes.get(key.index()).cloned())
}

/// Calls `handle` with the outboxes of these keys that are registered. `handle` must not register an outbox or drop a
/// registration.
pub(super) fn for_each(keys: &[OutboxKey], handle: impl Fn(&Outbox)) {
    OUTBOXES.with_borrow(|outboxes| keys.iter().filter_map(|key| outboxes.get(key.index())).for_each(handle));
}

impl OutboxKey {
    fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(super) fn for_test(index: u32) -> Self {
        Self(index)
    }
}

impl OutboxRegistration {
    /// The key, for actor messages and deadlines.
    pub fn key(&self) -> OutboxKey {
        self.0
    }
}

impl Drop for OutboxRegistration {
    fn drop(&mut self) {
        // At the end of the thread, its slab may be dropped before its last socket.
        let removed = OUTBOXES.try_with(|outboxes| {
            let mut outboxes = outboxes.borrow_mut();
            let removed = outboxes.try_remove(self.0.index());
            shrink::slab(&mut outboxes);
            removed
        });
        drop(removed);
    }
}
