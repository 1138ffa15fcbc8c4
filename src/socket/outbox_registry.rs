//! Finds the outboxes of this thread by key.
//!
//! An outbox is not `Send`, but an actor message must be, even between two actors of one thread. So messages carry the
//! key of an outbox.

use std::cell::RefCell;

use slab::Slab;

use super::outbox::Outbox;

/// The key of an outbox on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxKey(usize);

thread_local! {
    static OUTBOXES: RefCell<Slab<Outbox>> = const { RefCell::new(Slab::new()) };
}

/// The registration of an outbox on this thread. Dropping it removes the outbox from the registry.
#[derive(Debug)]
pub struct OutboxRegistration(OutboxKey);

/// Registers an outbox on this thread until the registration is dropped.
pub fn register(outbox: Outbox) -> OutboxRegistration {
    OutboxRegistration(OutboxKey(OUTBOXES.with_borrow_mut(|outboxes| outboxes.insert(outbox))))
}

/// The outbox with this key; `None` once its registration is dropped.
pub fn find(key: OutboxKey) -> Option<Outbox> {
    OUTBOXES.with_borrow(|outboxes| outboxes.get(key.0).cloned())
}

impl OutboxRegistration {
    /// The key, for actor messages.
    pub fn key(&self) -> OutboxKey {
        self.0
    }
}

impl Drop for OutboxRegistration {
    fn drop(&mut self) {
        // At the end of the thread, its slab may be dropped before its last socket.
        let removed = OUTBOXES.try_with(|outboxes| outboxes.borrow_mut().try_remove((self.0).0));
        drop(removed);
    }
}
