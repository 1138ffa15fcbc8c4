//! A hub's inbox, bounded in bytes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::Addr;

use super::Hub;
use super::messages::FromBroker;
use crate::broker::{HubEvent, Inbox, InboxFull};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::publication::Publication;

/// The broker's way to one hub.
///
/// An actor's mailbox counts messages, and one that is full blocks or drops without a word; here bytes are
/// counted, and what does not fit is refused aloud.
#[derive(Debug)]
pub(super) struct HubInbox {
    hub: Addr<Hub>,
    room: Room,
    metrics: Metrics,
}

/// How much more an inbox takes: a plain struct.
#[derive(Debug)]
pub(super) struct Room {
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
    /// Channels of which something was refused and whose gap is on its way, behind what was accepted before.
    /// Until it has been told nothing more of them is accepted, so there is one gap for each at most.
    gaps: Mutex<HashSet<ChannelName>>,
    /// How many these are, to be read without the lock.
    open_gaps: AtomicUsize,
}

/// A publication for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its channel's gap must be told, behind what was accepted before.
    OwesGap,
    /// Its channel's gap is on its way.
    BeforeGap,
}

impl HubInbox {
    pub(super) fn new(hub: Addr<Hub>, limit_bytes: usize, metrics: Metrics) -> Self {
        Self { hub, room: Room::new(limit_bytes), metrics }
    }

    /// The hub holds so many bytes more on account of a publication.
    pub(super) fn hold(&self, bytes: usize) {
        self.room.hold(bytes);
        self.metrics.hub_inbox_bytes.inc_by(bytes as i64);
    }

    /// The hub has dealt with a publication of so many bytes.
    pub(super) fn release(&self, bytes: usize) {
        self.room.release(bytes);
        self.metrics.hub_inbox_bytes.dec_by(bytes as i64);
    }

    /// The hub has told the sessions of a channel that something may be missing.
    pub(super) fn gap_told(&self, channel: &ChannelName) {
        self.room.gap_told(channel);
    }

    fn owe_gap(&self, channel: &ChannelName) {
        Metrics::count(&self.metrics.gaps, GapReason::Overflow.label());
        let (channel, reason) = (channel.clone(), GapReason::Overflow);
        self.hub.do_send(FromBroker(HubEvent::Gap { channel, reason, place: None }));
    }
}

impl Room {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            limit_bytes,
            gaps: Mutex::default(),
            open_gaps: AtomicUsize::new(0),
        }
    }

    /// Takes a publication in; returns its bytes, to be [released](Self::release).
    pub(super) fn accept(&self, publication: &Publication) -> Result<usize, Refused> {
        let channel = publication.channel();
        if self.open_gaps.load(Ordering::Acquire) > 0 && self.gaps().contains(channel) {
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
        Ok(bytes)
    }

    fn hold(&self, bytes: usize) {
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn gap_told(&self, channel: &ChannelName) {
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

impl Inbox for HubInbox {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = &event {
            match self.room.accept(publication) {
                Ok(bytes) => self.metrics.hub_inbox_bytes.inc_by(bytes as i64),
                Err(refused) => {
                    if refused == Refused::OwesGap {
                        self.owe_gap(publication.channel());
                    }
                    return Err(InboxFull);
                }
            };
        }
        self.hub.do_send(FromBroker(event));
        Ok(())
    }
}
