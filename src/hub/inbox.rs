//! A hub's inbox, bounded in bytes.

use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Addr;

use super::Hub;
use super::messages::FromBroker;
use crate::broker::{HubEvent, Inbox, InboxFull};
use crate::metrics::Metrics;

/// The broker's way to one hub.
///
/// An actor's mailbox counts messages, and one that is full blocks or drops without a word; here bytes are
/// counted, and what does not fit is refused aloud.
#[derive(Debug)]
pub(super) struct HubInbox {
    hub: Addr<Hub>,
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
    metrics: Metrics,
}

impl HubInbox {
    pub(super) fn new(hub: Addr<Hub>, limit_bytes: usize, metrics: Metrics) -> Self {
        Self { hub, queued_bytes: AtomicUsize::new(0), limit_bytes, metrics }
    }

    /// The hub has dealt with a publication of so many bytes.
    pub(super) fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }
}

impl Inbox for HubInbox {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = &event {
            let bytes = publication.queued_bytes();
            let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            // One publication always fits, however big: the broker has its own bound for that.
            if before > 0 && before + bytes > self.limit_bytes {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Err(InboxFull);
            }
            self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
        }
        self.hub.do_send(FromBroker(event));
        Ok(())
    }
}
