//! Decides how many entries of a history to read at once.

/// The most by which a page may grow. Only the entries already read show how long the others may be.
const GROWTH: usize = 4;
/// The factor by which a page shrinks after a timeout.
const SHRINKAGE: usize = 8;

/// Computes the number of entries of the next page from the length of the entries already read.
#[derive(Debug)]
pub(super) struct PageSize {
    /// The number of entries of the latest page, and their bytes; 0 before the first page.
    entries: usize,
    bytes: usize,
    /// The most entries that the next page may have.
    limit: usize,
}

impl PageSize {
    pub(super) const fn new() -> Self {
        Self { entries: 0, bytes: 0, limit: usize::MAX }
    }

    /// How many entries fit into about `bytes`, at least one. Before the first page every message counts as
    /// `max_payload_bytes`.
    pub(super) fn entries(&self, bytes: usize, max_payload_bytes: usize) -> usize {
        let fitting = match self.entries {
            0 => bytes / max_payload_bytes.max(1),
            read => bytes * read / self.bytes.max(1),
        };
        fitting.min(self.limit).max(1)
    }

    /// A page was read: the next one may be longer.
    pub(super) fn grow(&mut self, entries: usize, bytes: usize) {
        *self = Self { entries, bytes, limit: GROWTH * entries };
    }

    /// A page of this many entries timed out: the next one is shorter.
    pub(super) fn shrink(&mut self, entries: usize) {
        self.limit = entries / SHRINKAGE;
    }
}
