//! Collects one page of a history, or the last messages before a subscription begins: as many as the limits allow.
//!
//! Unlike a recovery, a page proves nothing: it has the messages that are stored, whatever was trimmed, deleted or lost
//! between them.

use std::sync::Arc;

use super::PageRange;
use super::page_size::PageSize;
use super::recovery::{FrameSizes, Recovered, RecoveryLimits};
use protocol::history::{Entry, Page};
use protocol::position::Position;
use protocol::publication::Publication;

/// The position after all others.
const END: Position = Position { epoch: u64::MAX, offset: u64::MAX };

/// The entries that one command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryRange {
    /// The oldest entries after a position.
    After(Position),
    /// The newest entries up to and including a position.
    UpTo(Position),
}

impl EntryRange {
    /// The rest of the range, after this entry was read.
    const fn without(self, entry: Position) -> Self {
        match self {
            Self::After(_) => Self::After(entry),
            Self::UpTo(_) => Self::UpTo(predecessor(entry)),
        }
    }
}

/// The last position before `position`; the first position is its own.
const fn predecessor(Position { epoch, offset }: Position) -> Position {
    match (offset.checked_sub(1), epoch.checked_sub(1)) {
        (Some(offset), _) => Position { epoch, offset },
        (None, Some(epoch)) => Position { epoch, offset: u64::MAX },
        (None, None) => Position { epoch, offset },
    }
}

/// Collects messages in the order of reading.
#[derive(Debug)]
pub(super) struct MessageCollector {
    range: EntryRange,
    /// Whether the caller wants to know if more messages follow.
    is_page: bool,
    limits: RecoveryLimits,
    publications: Vec<Arc<Publication>>,
    sizes: FrameSizes,
    has_more: bool,
    /// The position before the oldest message; without a message, where the read began.
    position: Position,
    page_size: PageSize,
    /// How many entries the read in progress asks for.
    requested: usize,
}

impl MessageCollector {
    /// Collects the newest messages up to `cut`.
    pub(super) fn last(cut: Position, limits: RecoveryLimits) -> Self {
        Self::new(EntryRange::UpTo(cut), cut, false, limits)
    }

    /// Collects a page.
    pub(super) fn page(range: PageRange, limits: RecoveryLimits) -> Self {
        let (range, position) = match range {
            PageRange::After(after) => {
                let after = after.unwrap_or(Position::before(0));
                (EntryRange::After(after), after)
            }
            PageRange::Before(before) => {
                (EntryRange::UpTo(before.map_or(END, predecessor)), before.unwrap_or(END))
            }
        };
        Self::new(range, position, true, limits)
    }

    fn new(range: EntryRange, position: Position, is_page: bool, limits: RecoveryLimits) -> Self {
        Self {
            range,
            is_page,
            limits,
            publications: Vec::new(),
            sizes: FrameSizes::default(),
            has_more: false,
            position,
            page_size: PageSize::new(),
            requested: 0,
        }
    }

    /// The entries to read next. Their number depends on the limits and not on the size of the history, and so does the
    /// cost of a read.
    pub(super) fn next_read(&mut self, max_payload_bytes: usize) -> (EntryRange, usize) {
        let left = self.limits.bytes.saturating_sub(self.sizes.all);
        // One message more than the page may have shows that there are more.
        let allowed = (self.limits.messages - self.publications.len()).saturating_add(self.is_page.into());
        self.requested = self.page_size.entries(left, max_payload_bytes).min(allowed).max(1);
        (self.range, self.requested)
    }

    pub(super) fn shrink_page(&mut self, entries: usize) {
        self.page_size.shrink(entries);
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.limits.bytes
    }

    /// Adds the entries of the last [`next_read`](Self::next_read). Returns whether the collection is complete.
    pub(super) fn add_page(&mut self, page: &Page) -> bool {
        let (mut forward, mut backward) = (page.entries.iter(), page.entries.iter().rev());
        let entries: &mut dyn Iterator<Item = &Entry> = match self.range {
            EntryRange::After(_) => &mut forward,
            EntryRange::UpTo(_) => &mut backward,
        };
        let mut read = FrameSizes::default();
        for entry in entries {
            if let Some(publication) = &entry.publication {
                let sizes = FrameSizes::of(publication);
                read = read.plus(sizes);
                if !self.has_room(sizes) {
                    self.has_more = true;
                    return true;
                }
                self.add(entry, publication, sizes);
            }
            self.range = self.range.without(entry.position);
        }
        self.page_size.grow(page.entries.len(), read.all);
        let is_full = !self.is_page && self.publications.len() >= self.limits.messages;
        is_full || page.entries.len() < self.requested
    }

    /// Whether one more message fits. The first one always does, so any single message can be read.
    fn has_room(&self, sizes: FrameSizes) -> bool {
        let fits = self.sizes.plus(sizes).all <= self.limits.bytes;
        self.publications.len() < self.limits.messages && (fits || self.publications.is_empty())
    }

    fn add(&mut self, entry: &Entry, publication: &Arc<Publication>, sizes: FrameSizes) {
        let is_oldest = matches!(self.range, EntryRange::UpTo(_)) || self.publications.is_empty();
        if is_oldest {
            // A client that continues from here must be before this message, also if it begins an epoch.
            let Position { epoch, offset } = entry.position;
            let before = Position { epoch, offset: offset.saturating_sub(1) };
            self.position = entry.after.unwrap_or(before);
        }
        self.publications.push(Arc::clone(publication));
        self.sizes = self.sizes.plus(sizes);
    }

    pub(super) fn finish(mut self) -> Recovered {
        if matches!(self.range, EntryRange::UpTo(_)) {
            self.publications.reverse();
        }
        let (sizes, has_more) = (self.sizes, self.is_page && self.has_more);
        Recovered { position: self.position, publications: self.publications.into(), sizes, has_more }
    }
}

#[cfg(test)]
mod tests;
