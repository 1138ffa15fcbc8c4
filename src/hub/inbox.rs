//! A hub's inbox, bounded in bytes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::messages::HubInput;
use crate::broker::{HubEvent, Inbox, InboxFull};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::publication::Publication;

/// Where the messages of a hub wait, in order.
pub trait Mailbox: Send + Sync + 'static {
    /// Appends a message.
    fn push(&self, message: HubInput);
}

/// The broker's way to one hub.
///
/// An actor's mailbox counts messages, and one that is full blocks or drops without a word; here bytes are
/// counted, and what does not fit is refused aloud.
#[derive(Debug)]
pub struct HubInbox<M> {
    mailbox: M,
    budget: Arc<InboxBudget>,
}

/// How much more an inbox takes: plain counters, shared with the hub.
#[derive(Debug)]
pub struct InboxBudget {
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Channels of which something was refused and whose gap is on its way, behind what was accepted before.
    /// Until it has been told nothing more of them is accepted, so there is one gap for each at most.
    gaps: Mutex<HashSet<ChannelName>>,
    /// How many these are, to be read without the lock.
    open_gaps: AtomicUsize,
    metrics: Metrics,
}

/// A publication for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Its channel's gap must be told, behind what was accepted before.
    OwesGap,
    /// Its channel's gap is on its way.
    BeforeGap,
}

impl<M: Mailbox> HubInbox<M> {
    /// The inbox of the hub with this mailbox, which shares the budget.
    pub fn new(mailbox: M, budget: Arc<InboxBudget>) -> Self {
        Self { mailbox, budget }
    }
}

impl InboxBudget {
    /// An inbox for so many bytes of publications.
    pub fn new(limit_bytes: usize, metrics: &Metrics) -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            limit_bytes,
            gaps: Mutex::default(),
            open_gaps: AtomicUsize::new(0),
            metrics: metrics.clone(),
        }
    }

    /// Takes a publication in; its bytes are to be [released](Self::release).
    fn accept(&self, publication: &Publication) -> Result<(), Refused> {
        let channel = publication.channel();
        if self.owes_gap(channel) {
            return Err(Refused::BeforeGap);
        }
        let bytes = publication.queued_bytes();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // One publication always fits, however big: the broker has its own bound for that.
        if before > 0 && before + bytes > self.limit_bytes {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let mut gaps = self.gaps();
            gaps.insert(channel.clone());
            self.open_gaps.store(gaps.len(), Ordering::Release);
            return Err(Refused::OwesGap);
        }
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
        Ok(())
    }

    /// Whether something of a channel was refused whose gap the hub has not told.
    fn owes_gap(&self, channel: &ChannelName) -> bool {
        self.open_gaps.load(Ordering::Acquire) > 0 && self.gaps().contains(channel)
    }

    /// The hub holds so many bytes more on account of a publication.
    pub fn hold(&self, bytes: usize) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
    }

    /// The hub has dealt with a publication of so many bytes.
    pub fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }

    /// The hub has told the sessions of a channel that something may be missing.
    pub fn gap_told(&self, channel: &ChannelName) {
        if self.open_gaps.load(Ordering::Acquire) > 0 {
            let mut gaps = self.gaps();
            gaps.remove(channel);
            self.open_gaps.store(gaps.len(), Ordering::Release);
        }
    }

    fn gaps(&self) -> MutexGuard<'_, HashSet<ChannelName>> {
        // A set cannot be left half-changed.
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Mailbox> Inbox for HubInbox<M> {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = &event
            && let Err(refused) = self.budget.accept(publication)
        {
            if refused == Refused::OwesGap {
                let (channel, reason) = (publication.channel().clone(), GapReason::Overflow);
                Metrics::count(&self.budget.metrics.gaps, reason.label());
                self.mailbox.push(HubInput::Broker(HubEvent::Gap { channel, reason, position: None }));
            }
            return Err(InboxFull);
        }
        let event = match event {
            // What is dropped until the channel's own gap has been told may be behind this position.
            HubEvent::Gap { channel, reason, position: Some(_) } if self.budget.owes_gap(&channel) => {
                HubEvent::Gap { channel, reason, position: None }
            }
            event => event,
        };
        self.mailbox.push(HubInput::Broker(event));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
