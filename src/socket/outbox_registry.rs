//! Finds the outboxes of this thread by key.
//!
//! An outbox is not `Send`, but an actor message must be, even between two actors of one thread. So messages carry a
//! reference to an outbox. A key is reused, and a message may arrive after that, so a reference has a serial number as
//! well.

use std::cell::{Cell, RefCell};

use slab::Slab;

use super::outbox::Outbox;
use crate::shrink;

/// The key of an outbox on this thread. It is reused once the registration is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxKey(u32);

/// A reference to one registration on this thread. It is not reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxRef {
    key: OutboxKey,
    serial: u32,
}

/// An outbox and the number of its registration.
struct Registered {
    outbox: Outbox,
    serial: u32,
}

/// Is told which sockets are open.
type OnShrink = fn(&dyn Fn(OutboxKey) -> bool);

thread_local! {
    static ON_SHRINK: Cell<OnShrink> = const { Cell::new(|_| ()) };
    static OUTBOXES: RefCell<Slab<Registered>> = const { RefCell::new(Slab::new()) };
    static NEXT_SERIAL: Cell<u32> = const { Cell::new(0) };
}

/// The registration of an outbox on this thread. Dropping it removes the outbox from the registry.
#[derive(Debug)]
pub struct OutboxRegistration(OutboxRef);

/// Calls `handle` on this thread when most sockets have left.
pub(super) fn on_shrink(handle: OnShrink) {
    ON_SHRINK.set(handle);
}

/// Registers an outbox on this thread until the registration is dropped.
pub fn register(outbox: Outbox) -> OutboxRegistration {
    let serial = NEXT_SERIAL.get();
    // No message waits while four billion sockets are opened.
    NEXT_SERIAL.set(serial.wrapping_add(1));
    let registered = Registered { outbox, serial };
    // A thread has fewer sockets than file descriptors, whose numbers have 31 bits.
    let key = OutboxKey(OUTBOXES.with_borrow_mut(|outboxes| outboxes.insert(registered) as u32));
    OutboxRegistration(OutboxRef { key, serial })
}

/// The outbox of this registration; `None` once it is dropped, even if its key is in use again.
pub fn find(wanted: OutboxRef) -> Option<Outbox> {
    OUTBOXES.with_borrow(|outboxes| {
        let found = outboxes.get(wanted.key.index())?;
        (found.serial == wanted.serial).then(|| found.outbox.clone())
    })
}

/// Calls `handle` with the outboxes that have these keys now. `handle` must not register an outbox or drop a
/// registration.
pub(super) fn for_each(keys: &[OutboxKey], handle: impl Fn(&Outbox)) {
    OUTBOXES.with_borrow(|outboxes| {
        let found = keys.iter().filter_map(|key| outboxes.get(key.index()));
        found.for_each(|registered| handle(&registered.outbox));
    });
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
    /// The key, for deadlines.
    pub fn key(&self) -> OutboxKey {
        self.0.key
    }

    /// The reference, for actor messages.
    pub fn reference(&self) -> OutboxRef {
        self.0
    }
}

impl Drop for OutboxRegistration {
    fn drop(&mut self) {
        // At the end of the thread, its slab may be dropped before its last socket.
        let removed = OUTBOXES.try_with(|outboxes| {
            let mut outboxes = outboxes.borrow_mut();
            let removed = outboxes.try_remove(self.0.key.index());
            if shrink::slab(&mut outboxes) {
                ON_SHRINK.get()(&|key| outboxes.contains(key.index()));
                shrink::give_back_soon();
            }
            removed
        });
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reference_never_finds_a_later_socket() {
        let first = register(Outbox::for_test().0);
        let (key, reference) = (first.key(), first.reference());
        assert!(find(reference).is_some());
        drop(first);
        let second = register(Outbox::for_test().0);
        assert_eq!(second.key(), key, "the key is reused");
        assert!(find(reference).is_none());
        assert!(find(second.reference()).is_some());
    }

    /// A vacant entry has eight bytes, and every socket has an entry.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_registered_outbox_fits_into_16_bytes() {
        assert_eq!(size_of::<Registered>(), 16);
    }
}
