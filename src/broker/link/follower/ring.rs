//! Holds the publications that arrive on a channel during a repair.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::cursor::ChannelCursor;
use protocol::position::Position;
use protocol::publication::Publication;

/// The most publications in the ring of one channel. A full ring drops its oldest publication; if that one is durable,
/// the next page contains it.
pub(super) const MAX_RING: usize = 4_096;

/// The publications that arrived since a repair began.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) held: VecDeque<Arc<Publication>>,
    /// How many of `held`, the oldest first, arrived before the latest read began. If that read does not return them,
    /// the history does not contain them.
    pub(super) covered: usize,
    /// Whether the ring dropped a durable message since the latest read began.
    pub(super) has_dropped_durable: bool,
    /// Whether the ring dropped a plain message that no gap covers yet.
    pub(super) has_dropped_plain: bool,
    /// The last durable message that the ring dropped since the repair began. A read must return it, or a gap follows.
    pub(super) dropped: Option<Position>,
}

impl Ring {
    /// Adds a publication. Returns how many publications were dropped.
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

    /// Removes and returns the oldest publication.
    pub(super) fn pop(&mut self) -> Option<Arc<Publication>> {
        self.covered = self.covered.saturating_sub(1);
        self.held.pop_front()
    }

    /// A read begins: it covers the publications that are in the ring now.
    pub(super) fn begin_read(&mut self) {
        (self.covered, self.has_dropped_durable) = (self.held.len(), false);
    }

    pub(super) fn bytes(&self) -> usize {
        self.held.iter().map(|publication| publication.queued_bytes()).sum()
    }

    /// Whether a plain message arrived.
    pub(super) fn has_plain(&self) -> bool {
        self.has_dropped_plain || self.held.iter().any(|publication| publication.position().is_none())
    }

    /// The positions of the durable messages, the newest first.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.held.iter().rev().filter_map(|publication| publication.position())
    }

    /// Whether the ring dropped a message after the cursor that a later read did not return.
    pub(super) fn lacks(&self, cursor: ChannelCursor) -> bool {
        !self.has_dropped_durable && self.dropped.is_some_and(|dropped| dropped > cursor.position())
    }
}
