//! A hub's inbox, bounded in bytes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::messages::HubInput;
use crate::broker::{HubEvent, Inbox, InboxFull};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::publication::Publication;

/// The queue of a hub's inputs, in order.
pub trait Mailbox: Send + Sync + 'static {
    /// Appends a message.
    fn push(&self, message: HubInput);
}

/// The broker's queue to one hub.
///
/// An actor's mailbox counts messages, and a full one blocks or drops silently. This inbox counts bytes, and refuses what
/// does not fit with an error.
#[derive(Debug)]
pub struct HubInbox<M> {
    mailbox: M,
    budget: Arc<InboxBudget>,
}

/// The counters of an inbox, shared with the hub.
#[derive(Debug)]
pub struct InboxBudget {
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Channels whose publications were refused and whose gap is still queued, after what was accepted before. Until the
    /// gap is announced no publication on them is accepted, so there is at most one such gap for each channel.
    queued_gaps: Mutex<HashSet<ChannelName>>,
    /// The size of `gaps`, readable without the lock.
    queued_gap_count: AtomicUsize,
    metrics: Metrics,
}

/// A publication for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The first refusal on its channel: a gap must be queued.
    FirstOnChannel,
    /// The gap of its channel is already queued.
    GapQueued,
}

impl<M: Mailbox> HubInbox<M> {
    /// The inbox of the hub with this mailbox, which shares the budget.
    pub fn new(mailbox: M, budget: Arc<InboxBudget>) -> Self {
        Self { mailbox, budget }
    }
}

impl InboxBudget {
    /// An inbox for `limit_bytes` of publications.
    pub fn new(limit_bytes: usize, metrics: &Metrics) -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            limit_bytes,
            queued_gaps: Mutex::default(),
            queued_gap_count: AtomicUsize::new(0),
            metrics: metrics.clone(),
        }
    }

    /// Counts a publication; the hub must [release](Self::release) its bytes.
    fn accept(&self, publication: &Publication) -> Result<(), Refusal> {
        let channel = publication.channel();
        if self.has_queued_gap(channel) {
            return Err(Refusal::GapQueued);
        }
        let bytes = publication.queued_bytes();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // An empty inbox accepts any publication: the broker limits its length.
        if before > 0 && before + bytes > self.limit_bytes {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let mut gaps = self.queued_gaps.lock();
            gaps.insert(channel.clone());
            self.queued_gap_count.store(gaps.len(), Ordering::Release);
            return Err(Refusal::FirstOnChannel);
        }
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
        Ok(())
    }

    /// Whether the hub has still to announce the gap of a channel.
    fn has_queued_gap(&self, channel: &ChannelName) -> bool {
        self.queued_gap_count.load(Ordering::Acquire) > 0 && self.queued_gaps.lock().contains(channel)
    }

    /// The hub holds further bytes for a publication.
    pub fn hold(&self, bytes: usize) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
    }

    /// The hub no longer holds `bytes` of a publication.
    pub fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }

    /// The hub has announced the gap of a channel to its sessions.
    pub fn clear_gap(&self, channel: &ChannelName) {
        if self.queued_gap_count.load(Ordering::Acquire) > 0 {
            let mut gaps = self.queued_gaps.lock();
            gaps.remove(channel);
            self.queued_gap_count.store(gaps.len(), Ordering::Release);
        }
    }
}

impl<M: Mailbox> Inbox for HubInbox<M> {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = &event
            && let Err(refusal) = self.budget.accept(publication)
        {
            if refusal == Refusal::FirstOnChannel {
                let (channel, reason) = (publication.channel().clone(), GapReason::Overflow);
                Metrics::count(&self.budget.metrics.gaps, reason);
                self.mailbox.push(HubInput::Broker(HubEvent::Gap { channel, reason, position: None }));
            }
            return Err(InboxFull);
        }
        let event = match event {
            // Publications refused before the channel's queued gap may be after this position.
            HubEvent::Gap { channel, reason, position: Some(_) } if self.budget.has_queued_gap(&channel) => {
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
