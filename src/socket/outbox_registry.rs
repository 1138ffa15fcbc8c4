//! The outboxes of this thread, by key.
//!
//! An outbox belongs to one thread and so cannot travel in an actor message, which must be `Send` even between
//! two actors of one thread. Its key can; whoever holds the key on the same thread finds it here.

use std::cell::RefCell;

use slab::Slab;

use super::outbox::Outbox;

/// The key of an outbox on this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxKey(usize);

thread_local! {
    static OUTBOXES: RefCell<Slab<Outbox>> = const { RefCell::new(Slab::new()) };
}

/// An outbox's place among those of this thread, given back when dropped.
#[derive(Debug)]
pub struct OutboxRegistration(OutboxKey);

/// Makes an outbox findable on this thread, for as long as the registration is kept.
pub fn register(outbox: Outbox) -> OutboxRegistration {
    OutboxRegistration(OutboxKey(OUTBOXES.with_borrow_mut(|outboxes| outboxes.insert(outbox))))
}

/// The outbox with this key, unless its socket is gone.
pub fn find(key: OutboxKey) -> Option<Outbox> {
    OUTBOXES.with_borrow(|outboxes| outboxes.get(key.0).cloned())
}

impl OutboxRegistration {
    /// The key for messages.
    pub fn key(&self) -> OutboxKey {
        self.0
    }
}

impl Drop for OutboxRegistration {
    fn drop(&mut self) {
        // When the thread ends its slab may be gone before its last socket.
        let removed = OUTBOXES.try_with(|outboxes| outboxes.borrow_mut().try_remove((self.0).0));
        drop(removed);
    }
}
