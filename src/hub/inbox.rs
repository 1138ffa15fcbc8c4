//! The inbox of a hub, bounded in bytes.

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
use protocol::signal::Signal;

/// The queue of a hub's inputs, in order.
pub trait Mailbox: Send + Sync + 'static {
    /// Appends an input.
    fn push(&self, message: HubInput);
}

/// A byte budget before a hub's mailbox, which is the queue itself.
///
/// An actor's mailbox counts messages, and a full one blocks or drops silently. This inbox counts the bytes of the
/// queued publications and signals, and refuses one that does not fit with an error. Other events are few and always
/// accepted.
#[derive(Debug)]
pub struct HubInbox<M> {
    mailbox: M,
    budget: Arc<InboxBudget>,
}

/// The counters of an inbox, shared with the hub.
#[derive(Debug)]
pub struct InboxBudget {
    queued_bytes: AtomicUsize,
    /// The bytes of signals, counted apart so that signals never cause a gap.
    signal_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Channels with a refused publication, whose gap is queued after the accepted publications. No publication on them
    /// is accepted until the hub has announced the gap, so each channel has at most one queued gap.
    queued_gaps: Mutex<HashSet<ChannelName>>,
    /// The size of `queued_gaps`, readable without the lock.
    queued_gap_count: AtomicUsize,
    metrics: Metrics,
}

/// The reason why a publication is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The inbox is full, and the channel has no queued gap: the caller must queue one.
    FirstOnChannel,
    /// The gap of the channel is already queued.
    GapQueued,
}

impl<M: Mailbox> HubInbox<M> {
    /// Creates the inbox in front of a hub's mailbox. The hub shares the budget.
    pub fn new(mailbox: M, budget: Arc<InboxBudget>) -> Self {
        Self { mailbox, budget }
    }
}

impl InboxBudget {
    /// Creates the counters of an inbox that accepts `limit_bytes` of publications.
    pub fn new(limit_bytes: usize, metrics: &Metrics) -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            signal_bytes: AtomicUsize::new(0),
            limit_bytes,
            queued_gaps: Mutex::default(),
            queued_gap_count: AtomicUsize::new(0),
            metrics: metrics.clone(),
        }
    }

    /// Counts a publication. The hub must [release](Self::release) its bytes.
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

    /// Counts a signal, or refuses it. The hub must [release](Self::release_signals) its bytes. Publications and signals
    /// together fill at most half of the inbox, or the publications alone fill more.
    pub(super) fn accept_signal(&self, signal: &Signal) -> bool {
        let bytes = signal.queued_bytes();
        let before = self.signal_bytes.fetch_add(bytes, Ordering::Relaxed);
        let publications = self.queued_bytes.load(Ordering::Relaxed);
        let fits = publications + before + bytes <= self.limit_bytes / 2;
        if fits {
            self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
        } else {
            self.signal_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Stops counting `bytes` of signals.
    pub fn release_signals(&self, bytes: usize) {
        self.signal_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }

    /// Whether the gap of a channel is queued.
    fn has_queued_gap(&self, channel: &ChannelName) -> bool {
        self.queued_gap_count.load(Ordering::Acquire) > 0 && self.queued_gaps.lock().contains(channel)
    }

    /// Counts further bytes that the hub holds for a publication. The hub must [release](Self::release) them.
    pub fn hold(&self, bytes: usize) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
    }

    /// Stops counting `bytes` of a publication.
    pub fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }

    /// Notes that the hub has announced the gap of a channel. The inbox accepts its publications again.
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
        if let HubEvent::Signal(signal) = &event
            && !self.budget.accept_signal(signal)
        {
            return Err(InboxFull);
        }
        // The queued gap covers this one: no publication of the channel was accepted between the two.
        if let HubEvent::Gap { channel, .. } = &event
            && self.budget.has_queued_gap(channel)
        {
            return Ok(());
        }
        self.mailbox.push(HubInput::Broker(event));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
