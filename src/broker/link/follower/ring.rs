//! Holds the publications that arrive on a channel during a repair.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::cursor::ChannelCursor;
use protocol::position::Position;
use protocol::publication::Publication;

/// The most publications that the ring of one channel holds. A full ring drops its oldest publication: the next page
/// contains it if it is durable.
pub(super) const MAX_RING: usize = 4_096;

/// The publications that have arrived since a repair began.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) held: VecDeque<Arc<Publication>>,
    /// How many of them, the oldest first, arrived before the latest read: if the history does not contain these now,
    /// it never will.
    pub(super) covered: usize,
    /// Whether the ring has dropped a durable message since the latest read.
    pub(super) has_dropped_durable: bool,
    pub(super) has_dropped_plain: bool,
    /// The last durable message that the ring has dropped since the repair began: the history must contain it.
    pub(super) dropped: Option<Position>,
}

impl Ring {
    /// Returns how many publications were dropped.
    pub(super) fn push(&mut self, publication: Arc<Publication>, budget_bytes: &mut usize) -> u64 {
        let bytes = publication.queued_bytes();
        let mut dropped = 0;
        while self.held.len() >= MAX_RING || bytes > *budget_bytes {
            dropped += 1;
            let Some(oldest) = self.pop() else {
                self.note_dropped(&publication);
                return dropped;
            };
            *budget_bytes += oldest.queued_bytes();
            self.note_dropped(&oldest);
        }
        *budget_bytes -= bytes;
        self.held.push_back(publication);
        dropped
    }

    fn note_dropped(&mut self, publication: &Publication) {
        match publication.position() {
            Some(position) => (self.has_dropped_durable, self.dropped) = (true, Some(position)),
            None => self.has_dropped_plain = true,
        }
    }

    /// Takes the oldest publication.
    pub(super) fn pop(&mut self) -> Option<Arc<Publication>> {
        self.covered = self.covered.saturating_sub(1);
        self.held.pop_front()
    }

    /// A read starts: if the history does not contain a publication that arrived before, it never will.
    pub(super) fn begin_read(&mut self) {
        (self.covered, self.has_dropped_durable) = (self.held.len(), false);
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.iter().map(|publication| publication.queued_bytes()).sum()
    }

    /// Whether a plain message has arrived.
    pub(super) fn carries_plain(&self) -> bool {
        self.has_dropped_plain || self.held.iter().any(|publication| publication.position().is_none())
    }

    /// The positions of the durable messages, the newest first.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.held.iter().rev().filter_map(|publication| publication.position())
    }

    /// Whether the ring has dropped a message after the cursor that a later read did not return.
    pub(super) fn lacks(&self, cursor: ChannelCursor) -> bool {
        !self.has_dropped_durable && self.dropped.is_some_and(|dropped| dropped > cursor.position())
    }
}
