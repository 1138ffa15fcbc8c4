//! How many entries of a history to read at once.

/// The factor by which a page may grow. The first entries indicate the length of the others.
const GROWTH: usize = 4;
/// The factor by which a page shrinks after a time-out.
const SHRINKAGE: usize = 8;

/// The number of entries of the next page, from the length of those already read.
#[derive(Debug)]
pub(super) struct PageSize {
    /// Entries of the latest page, and their bytes; 0 before the first page.
    entries: usize,
    bytes: usize,
    /// Entries of the next page at most.
    limit: usize,
}

impl PageSize {
    pub(super) const fn new() -> Self {
        Self { entries: 0, bytes: 0, limit: usize::MAX }
    }

    /// The entries that take at most about `bytes`. Before the first page every message counts as `max_payload_bytes`.
    pub(super) fn entries(&self, bytes: usize, max_payload_bytes: usize) -> usize {
        let fitting = match self.entries {
            0 => bytes / max_payload_bytes.max(1),
            read => bytes * read / self.bytes.max(1),
        };
        fitting.min(self.limit).max(1)
    }

    /// A page has come.
    pub(super) fn grow(&mut self, entries: usize, bytes: usize) {
        *self = Self { entries, bytes, limit: GROWTH * entries };
    }

    /// A page of this many entries timed out: the next one is shorter.
    pub(super) fn shrink(&mut self, entries: usize) {
        self.limit = entries / SHRINKAGE;
    }
}
