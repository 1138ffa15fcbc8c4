//! Selects the next read of the link, repairs before reads for clients, and applies the results.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::follower::Follower;
use super::super::follower::TailRead;
use super::super::reads::{PageReader, PageWork};
use super::LinkCore;
use crate::broker::newest::EntryRange;
use protocol::channel::ChannelName;
use protocol::history::Page;

/// The most channels whose tails are read in one round trip.
const MAX_TAILS_PER_READ: usize = 256;
/// The most pages of repairs in flight: enough to repair ten thousand channels that missed one message each in a
/// fraction of a second.
const MAX_REPAIR_PAGES_IN_FLIGHT: usize = 32;

/// The channels whose repair waits for a read, each with the number of the repair. A repair that ended in the meantime
/// is skipped.
#[derive(Debug, Default)]
pub(super) struct RepairQueue {
    pub(super) tails: VecDeque<(ChannelName, u64)>,
    pub(super) pages: VecDeque<(ChannelName, u64)>,
    pages_in_flight: usize,
}

/// A read to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HistoryWork {
    /// The tails of these channels, each with the number of its repair.
    Tails(Vec<(ChannelName, u64)>),
    /// One page of a history.
    Page(PageWork),
}

impl LinkCore {
    /// Queues a read of the tail of a channel that had no hub and has one again: [`next_read`](Self::next_read) skips a
    /// channel without hubs. The repair gets another number, so the answer to a read in flight is ignored. That read
    /// began before the new one, so it does not cover all messages that the ring counts as covered.
    pub(super) fn requeue_tail(&mut self, name: &ChannelName) {
        let number = self.next_number();
        let Some(channel) = self.channels.get_mut(name) else { return };
        if let Follower::Repairing(repair) = &mut channel.follower {
            repair.renumber(number);
            self.repairs.tails.push_back((name.clone(), number));
        }
    }

    /// The next read; `None`: there is none, or too many are in flight.
    pub(crate) fn next_read(&mut self) -> Option<HistoryWork> {
        if !self.is_up {
            return None;
        }
        let mut tails = Vec::new();
        while tails.len() < MAX_TAILS_PER_READ {
            let Some((name, number)) = self.repairs.tails.pop_front() else { break };
            // A channel without hubs needs no read. `requeue_tail` queues one if a hub wants the channel again.
            let wanted = self.channels.get_mut(&name).filter(|channel| !channel.hubs.is_empty());
            if let Some(repair) = wanted.and_then(|channel| channel.follower.repair(number)) {
                repair.begin_read();
                tails.push((name, number));
            }
        }
        if !tails.is_empty() {
            return Some(HistoryWork::Tails(tails));
        }
        self.next_repair().or_else(|| self.reads.next()).map(HistoryWork::Page)
    }

    fn next_repair(&mut self) -> Option<PageWork> {
        while self.repairs.pages_in_flight < MAX_REPAIR_PAGES_IN_FLIGHT {
            let (channel, number) = self.repairs.pages.pop_front()?;
            let Some(found) = self.channels.get_mut(&channel) else { continue };
            let Some(repair) = found.follower.repair(number) else { continue };
            let Some(since) = repair.reads_from() else { continue };
            repair.begin_read();
            self.repairs.pages_in_flight += 1;
            let max_entries = repair.page_entries(self.limits.payload_bytes);
            let (reader, range) = (PageReader::Repair(number), EntryRange::After(since));
            return Some(PageWork { reader, channel, range, max_entries });
        }
        None
    }

    /// Applies the results of a read of tails, which are in the order of `channels`.
    pub(crate) fn on_stream_tails(
        &mut self,
        channels: Vec<(ChannelName, u64)>,
        tails: Vec<Result<TailRead, ReadErrorKind>>,
        now: Instant,
    ) {
        for ((name, number), tail) in channels.into_iter().zip(tails) {
            match tail {
                Ok(read) => self.advance(&name, |follower| follower.on_stream_tail(number, read), now),
                Err(ReadErrorKind::Unreadable) => {
                    self.advance(&name, |follower| follower.on_unreadable(number), now)
                }
                Err(ReadErrorKind::Transient) => self.repairs.tails.push_back((name, number)),
            }
        }
    }

    /// Applies the result of the read of a page.
    pub(crate) fn on_page(&mut self, work: PageWork, outcome: Result<Page, ReadErrorKind>, now: Instant) {
        let PageWork { reader, channel, max_entries, .. } = work;
        match reader {
            PageReader::Repair(number) => {
                self.repairs.pages_in_flight = self.repairs.pages_in_flight.saturating_sub(1);
                match outcome {
                    Ok(page) => self.advance(&channel, |follower| follower.on_page(number, &page), now),
                    Err(ReadErrorKind::Unreadable) => {
                        self.advance(&channel, |follower| follower.on_unreadable(number), now)
                    }
                    Err(ReadErrorKind::Transient) => {
                        let found = self.channels.get_mut(&channel);
                        if let Some(repair) = found.and_then(|channel| channel.follower.repair(number)) {
                            repair.shrink_page(max_entries);
                        }
                        self.repairs.pages.push_back((channel, number));
                    }
                }
            }
            PageReader::Client(job) => {
                let done = match outcome {
                    Ok(page) => self.reads.on_page(job, &page),
                    Err(ReadErrorKind::Unreadable) => self.reads.on_unreadable(job),
                    Err(ReadErrorKind::Transient) => {
                        self.reads.retry(job, max_entries);
                        None
                    }
                };
                if let Some(done) = done {
                    self.notify_readers(done);
                }
            }
        }
    }
}

/// What a failed read says about the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadErrorKind {
    /// Nothing: the connection broke, the answer timed out, or the server is busy. The read is repeated.
    Transient,
    /// The history's data cannot be read: a key of another type, a missing permission, or an invalid entry.
    Unreadable,
}
