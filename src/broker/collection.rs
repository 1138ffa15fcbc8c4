//! Collects the messages of one read of a history, page by page.

use super::HistoryRange;
use super::newest::{EntryRange, MessageCollector};
use super::recovery::{NotRecovered, Recovered, Recovery, RecoveryLimits};
use protocol::history::Page;

/// The messages of one read that is not complete.
#[derive(Debug)]
pub(super) enum Collection {
    /// All messages that a client missed, or none.
    Recovery(Recovery),
    /// As many messages as the limits allow.
    Messages(MessageCollector),
}

impl Collection {
    /// Starts to collect the messages of a range.
    ///
    /// # Errors
    /// [`NotRecovered::TooMuch`], if the positions alone show that too much is missing.
    pub(super) fn new(range: HistoryRange, limits: RecoveryLimits) -> Result<Self, NotRecovered> {
        Ok(match range {
            HistoryRange::Since { since, cut } => Self::Recovery(Recovery::new(since, cut, limits)?),
            HistoryRange::Last { cut } => Self::Messages(MessageCollector::last(cut, limits)),
            HistoryRange::Page(range) => Self::Messages(MessageCollector::page(range, limits)),
        })
    }

    /// The entries to read next, and how many of them.
    pub(super) fn next_read(&mut self, max_payload_bytes: usize) -> (EntryRange, usize) {
        match self {
            Self::Recovery(recovery) => {
                (EntryRange::After(recovery.position()), recovery.next_entries(max_payload_bytes))
            }
            Self::Messages(messages) => messages.next_read(max_payload_bytes),
        }
    }

    /// A page of this many entries timed out: the next one is shorter.
    pub(super) fn shrink_page(&mut self, entries: usize) {
        match self {
            Self::Recovery(recovery) => recovery.shrink_page(entries),
            Self::Messages(messages) => messages.shrink_page(entries),
        }
    }

    /// The most bytes that may be collected.
    pub(super) fn max_bytes(&self) -> usize {
        match self {
            Self::Recovery(recovery) => recovery.max_bytes(),
            Self::Messages(messages) => messages.max_bytes(),
        }
    }

    /// Adds the page that answers the last [`next_read`](Self::next_read). Returns whether it was the last page.
    ///
    /// # Errors
    /// The history does not continue from the client's position, or more is missing than the limits allow.
    pub(super) fn add_page(&mut self, page: &Page) -> Result<bool, NotRecovered> {
        match self {
            Self::Recovery(recovery) => recovery.add_page(page),
            Self::Messages(messages) => Ok(messages.add_page(page)),
        }
    }

    pub(super) fn finish(self) -> Recovered {
        match self {
            Self::Recovery(recovery) => recovery.finish(),
            Self::Messages(messages) => messages.finish(),
        }
    }
}
