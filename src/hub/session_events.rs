//! The events that the hub of this thread has for its sessions, until their actors take them.
//!
//! The events are in one table, because few sessions have one at a time, and a mailbox for each session takes memory and
//! a second wake-up. An actor takes its events in their order, after the hub has returned.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::messages::SessionEvent;
use crate::shrink;
use crate::socket::outbox::{Outbox, OutboxId};

/// The events of one session; most have one.
type Events = Vec<SessionEvent>;

thread_local! {
    static EVENTS: RefCell<HashMap<OutboxId, Events>> = RefCell::default();
}

/// Adds an event for the actor of a socket and wakes its task. The event is dropped if the socket is closing, because its
/// actor may have ended.
pub(super) fn push(outbox: &Outbox, event: SessionEvent) {
    if outbox.is_closed() {
        return;
    }
    EVENTS.with_borrow_mut(|table| match table.entry(outbox.id()) {
        Entry::Occupied(mut events) => events.get_mut().push(event),
        Entry::Vacant(none) => drop(none.insert(vec![event])),
    });
    outbox.notify();
}

/// Takes the events for the actor of a socket, in their order.
pub fn take(outbox: &Outbox) -> Events {
    // At the end of the thread, the table may be dropped before the last session.
    let taken = EVENTS.try_with(|table| {
        let mut table = table.borrow_mut();
        let events = table.remove(&outbox.id());
        shrink::map(&mut table);
        events
    });
    taken.ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_actor_takes_its_events_in_order_and_once() {
        let (outbox, other) = (Outbox::for_test().0, Outbox::for_test().0);
        for after_ms in [1, 2] {
            push(&outbox, SessionEvent::Drain { after_ms });
        }
        assert!(take(&other).is_empty());
        let taken = take(&outbox);
        assert!(matches!(
            taken[..],
            [SessionEvent::Drain { after_ms: 1 }, SessionEvent::Drain { after_ms: 2 }]
        ));
        assert!(take(&outbox).is_empty());
    }

    /// A later socket may be at the address of this one.
    #[tokio::test]
    async fn a_closed_socket_gets_no_events() {
        let outbox = Outbox::for_test().0;
        outbox.finish();
        push(&outbox, SessionEvent::TokenRevoked);
        assert!(take(&outbox).is_empty());
    }
}
