//! The reads of a link: repairs first, then what clients have missed.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::follower::{Follower, TailRead};
use super::super::reads::ClientPage;
use super::LinkCore;
use protocol::channel::ChannelName;
use protocol::history::{Page, Tail};
use protocol::position::Position;

/// Channels whose ends are asked for in one round trip.
const TAILS_AT_ONCE: usize = 256;
/// Pages of repairs on their way: a few round trips' worth, so that ten thousand channels that missed a message each are
/// repaired in a fraction of a second.
const REPAIRS_AT_ONCE: usize = 32;

/// The repairs that wait for their turn. Each is named with its number, so one that has ended meanwhile is passed over.
#[derive(Debug, Default)]
pub(super) struct RepairQueue {
    tails: VecDeque<(ChannelName, u64)>,
    pages: VecDeque<(ChannelName, u64)>,
    pages_in_flight: usize,
}

impl RepairQueue {
    pub(super) fn push_tail(&mut self, channel: ChannelName, number: u64) {
        self.tails.push_back((channel, number));
    }

    pub(super) fn push_page(&mut self, channel: ChannelName, number: u64) {
        self.pages.push_back((channel, number));
    }
}

/// Something to be read from histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HistoryWork {
    /// The ends of the histories of these channels, each with the number of its repair.
    Tails(Vec<(ChannelName, u64)>),
    /// A page.
    Page(PageWork),
}

/// One page to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageWork {
    Repair { channel: ChannelName, number: u64, since: Position, max_entries: usize },
    Client(ClientPage),
}

impl PageWork {
    /// The channel, the position behind which to read, and how many entries at most.
    pub(crate) fn query(&self) -> (&ChannelName, Position, usize) {
        match self {
            Self::Repair { channel, since, max_entries, .. } => (channel, *since, *max_entries),
            Self::Client(ClientPage { channel, since, max_entries, .. }) => (channel, *since, *max_entries),
        }
    }
}

impl LinkCore {
    /// A channel has just been subscribed: the end of its history tells whether something was missed.
    pub(super) fn ask_for_tail(&mut self, name: &ChannelName) {
        if let Some(Follower::Repairing(repair)) = self.channels.get(name).map(|channel| &channel.follower) {
            let number = repair.number();
            self.repairs.push_tail(name.clone(), number);
        }
    }

    /// What is to be read next; `None`: nothing, or as much is on its way as may be.
    pub(crate) fn next_read(&mut self) -> Option<HistoryWork> {
        if !self.is_up {
            return None;
        }
        let mut tails = Vec::new();
        while tails.len() < TAILS_AT_ONCE {
            let Some((name, number)) = self.repairs.tails.pop_front() else { break };
            if let Some(repair) =
                self.channels.get_mut(&name).and_then(|channel| channel.follower.repair(number))
            {
                repair.ask();
                tails.push((name, number));
            }
        }
        if !tails.is_empty() {
            return Some(HistoryWork::Tails(tails));
        }
        let page = self.next_repair().or_else(|| self.reads.next().map(PageWork::Client));
        page.map(HistoryWork::Page)
    }

    fn next_repair(&mut self) -> Option<PageWork> {
        while self.repairs.pages_in_flight < REPAIRS_AT_ONCE {
            let (channel, number) = self.repairs.pages.pop_front()?;
            let Some(found) = self.channels.get_mut(&channel) else { continue };
            let Some(repair) = found.follower.repair(number) else { continue };
            let Some(since) = repair.reads_from() else { continue };
            repair.ask();
            self.repairs.pages_in_flight += 1;
            let max_entries = repair.page_entries(self.first_page_entries);
            return Some(PageWork::Repair { channel, number, since, max_entries });
        }
        None
    }

    /// The ends of histories were told, in the order asked.
    pub(crate) fn on_tails(&mut self, channels: Vec<(ChannelName, u64)>, read: TailsRead, now: Instant) {
        let TailsRead { now_ms, whole_since_ms, tails } = read;
        for ((name, number), tail) in channels.into_iter().zip(tails) {
            match tail {
                Ok(tail) => {
                    let read = TailRead { tail, now_ms, whole_since_ms };
                    self.advance(&name, |follower| follower.on_tail(number, read), now);
                }
                Err(ReadFailure::Data) => self.advance(&name, |follower| follower.on_unreadable(number), now),
                Err(ReadFailure::Later) => self.repairs.push_tail(name, number),
            }
        }
    }

    /// A page was read, or was not.
    pub(crate) fn on_page(&mut self, work: PageWork, outcome: Result<Page, ReadFailure>, now: Instant) {
        match work {
            PageWork::Repair { channel, number, .. } => {
                self.repairs.pages_in_flight = self.repairs.pages_in_flight.saturating_sub(1);
                match outcome {
                    Ok(page) => self.advance(&channel, |follower| follower.on_page(number, &page), now),
                    Err(ReadFailure::Data) => {
                        self.advance(&channel, |follower| follower.on_unreadable(number), now)
                    }
                    Err(ReadFailure::Later) => self.repairs.push_page(channel, number),
                }
            }
            PageWork::Client(ClientPage { job, .. }) => {
                let done = match outcome {
                    Ok(page) => self.reads.on_page(job, &page),
                    Err(ReadFailure::Data) => self.reads.on_unreadable(job),
                    Err(ReadFailure::Later) => {
                        self.reads.retry(job);
                        None
                    }
                };
                if let Some(done) = done {
                    self.tell_read(done);
                }
            }
        }
    }
}

/// The ends of several histories.
#[derive(Debug, Clone)]
pub(crate) struct TailsRead {
    /// What the server's clock showed before.
    pub(crate) now_ms: u64,
    /// Since when the data has been whole, asked for afterwards.
    pub(crate) whole_since_ms: u64,
    pub(crate) tails: Vec<Result<Tail, ReadFailure>>,
}

impl TailsRead {
    /// None of so many was told.
    pub(crate) fn failed(failure: ReadFailure, channels: usize) -> Self {
        Self { now_ms: 0, whole_since_ms: u64::MAX, tails: vec![Err(failure); channels] }
    }
}

/// Why something was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFailure {
    /// Nothing is known of the history: the connection broke, the answer did not come in time, or the server is busy. It is
    /// read again.
    Later,
    /// The history's own data cannot be read: another kind of key, a missing right, an entry that nobody understands.
    Data,
}
