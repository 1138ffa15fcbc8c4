//! Schedules reads of histories for clients: deduplicated, fair among users, bounded in bytes. Plain data.
//!
//! The history up to a subscription's cut is immutable, so a failed read can be repeated on any connection, and equal
//! reads are made once. Pages end at any message, so each page has a read of its own.

use std::collections::{BTreeSet, HashMap, VecDeque};

use slab::Slab;

use super::Hashing;
use crate::broker::collection::Collection;
use crate::broker::newest::EntryRange;
use crate::broker::recovery::{NotRecovered, Recovered, RecoveryLimits};
use crate::broker::{HistoryRange, HistoryRequest, HubId, ReadId};
use protocol::channel::ChannelName;
use protocol::history::Page;

/// The most bytes of all pages in flight, if every message has the maximum length. It bounds Redis' output buffers and
/// the gateway's memory when many clients reconnect at once.
const MAX_IN_FLIGHT_BYTES: usize = 32 << 20;

/// The most bytes that all started recoveries may collect together; further recoveries wait. Without this limit, 700
/// clients with different positions took 120 MB.
const MAX_BEGUN_BYTES: usize = 64 << 20;

/// The most users without a job that may stay in the round-robin order.
const IDLE_USERS: usize = 64;

/// The reads that wait or are in flight.
#[derive(Debug)]
pub(crate) struct ClientReads {
    jobs: Slab<Job>,
    by_key: HashMap<Key, usize, Hashing>,
    by_reader: HashMap<WaitingRead, usize, Hashing>,
    /// The jobs of each user that have not begun.
    queues: HashMap<ChannelName, VecDeque<usize>, Hashing>,
    /// The users in round-robin order.
    turns: VecDeque<ChannelName>,
    /// The jobs that have begun and wait for their next page.
    begun: VecDeque<usize>,
    /// The most bytes that the jobs which have begun may collect.
    begun_bytes: usize,
    in_flight_bytes: usize,
    max_payload_bytes: usize,
}

/// What an immutable read returns: the channel, the messages, and how many.
type Key = (ChannelName, HistoryRange, usize);
/// A read that waits for a job.
type WaitingRead = (HubId, ReadId);

#[derive(Debug)]
struct Job {
    channel: ChannelName,
    /// `None`: no other read returns the same messages.
    key: Option<Key>,
    user: ChannelName,
    range: HistoryRange,
    limits: RecoveryLimits,
    /// The reads that wait for this job; empty once all are cancelled. A job without readers is removed, but not before
    /// its page in flight returns.
    readers: Vec<WaitingRead>,
    collection: Collection,
    /// The most bytes that the job may collect; 0 until it begins.
    begun_bytes: usize,
    /// The bytes reserved for the page in flight.
    reserved_bytes: usize,
}

/// A read of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageWork {
    pub(crate) reader: PageReader,
    pub(crate) channel: ChannelName,
    pub(crate) range: EntryRange,
    pub(crate) max_entries: usize,
}

/// The reader of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageReader {
    /// The repair of its channel that has this number.
    Repair(u64),
    /// A job of [`ClientReads`].
    Client(usize),
}

/// The outcome of one job, for all its readers.
#[derive(Debug, Clone)]
pub(crate) struct ReadDone {
    pub(crate) readers: Vec<WaitingRead>,
    pub(crate) outcome: Result<Recovered, NotRecovered>,
}

impl ClientReads {
    pub(crate) fn new(max_payload_bytes: usize) -> Self {
        Self {
            jobs: Slab::new(),
            by_key: HashMap::default(),
            by_reader: HashMap::default(),
            queues: HashMap::default(),
            turns: VecDeque::new(),
            begun: VecDeque::new(),
            begun_bytes: 0,
            in_flight_bytes: 0,
            max_payload_bytes: max_payload_bytes.max(1),
        }
    }

    /// Adds a read. Returns its outcome if no page needs to be read.
    pub(crate) fn add(&mut self, hub: HubId, request: HistoryRequest) -> Option<ReadDone> {
        let reader = (hub, request.read);
        let key = request
            .range
            .is_immutable()
            .then(|| (request.channel.clone(), request.range, request.limits.messages));
        let known = key.as_ref().and_then(|key| self.by_key.get(key)).copied();
        let index = match known.map_or_else(|| self.add_job(request, key), Ok) {
            Ok(index) => index,
            Err(reason) => return Some(ReadDone { readers: vec![reader], outcome: Err(reason) }),
        };
        self.by_reader.insert(reader, index);
        self.jobs.get_mut(index)?.readers.push(reader);
        None
    }

    /// Adds a job without readers.
    fn add_job(&mut self, request: HistoryRequest, key: Option<Key>) -> Result<usize, NotRecovered> {
        let HistoryRequest { user, channel, range, limits, .. } = request;
        let collection = Collection::new(range, limits)?;
        let index = self.jobs.insert(Job {
            channel,
            key: key.clone(),
            user: user.clone(),
            range,
            limits,
            readers: Vec::new(),
            collection,
            begun_bytes: 0,
            reserved_bytes: 0,
        });
        if let Some(key) = key {
            self.by_key.insert(key, index);
        }
        let queue = self.queues.entry(user.clone()).or_insert_with(|| {
            // A user with a queue already has a turn, also if all its reads were cancelled.
            self.turns.push_back(user);
            VecDeque::new()
        });
        queue.push_back(index);
        Ok(index)
    }

    /// Cancels a read.
    pub(crate) fn cancel(&mut self, reader: WaitingRead) {
        let Some(index) = self.by_reader.remove(&reader) else { return };
        let Some(job) = self.jobs.get_mut(index) else { return };
        job.readers.retain(|other| *other != reader);
        // While the link is down no job is taken from its queue, so jobs without readers would accumulate.
        if job.readers.is_empty() && job.reserved_bytes == 0 {
            if let Some(queue) = self.queues.get_mut(&job.user) {
                queue.retain(|waiting| *waiting != index);
            }
            self.begun.retain(|waiting| *waiting != index);
            self.remove(index);
            self.drop_idle_users();
        }
    }

    /// Drops the turns of users without a job once they outnumber the others: any number of users may come and go while
    /// the link is down.
    fn drop_idle_users(&mut self) {
        if self.turns.len() > 2 * self.jobs.len() + IDLE_USERS {
            self.queues.retain(|_, queue| !queue.is_empty());
            self.turns.retain(|user| self.queues.contains_key(user));
        }
    }

    /// The next page to read: of a job that has begun, otherwise of the user whose turn it is.
    pub(crate) fn next(&mut self) -> Option<PageWork> {
        while self.in_flight_bytes < MAX_IN_FLIGHT_BYTES {
            let index = match self.begun.pop_front() {
                Some(index) => index,
                None if self.begun_bytes >= MAX_BEGUN_BYTES => return None,
                None => self.next_to_begin()?,
            };
            let Some(job) = self.jobs.get_mut(index) else { continue };
            if job.readers.is_empty() {
                self.remove(index);
                continue;
            }
            if job.begun_bytes == 0 {
                job.begun_bytes = job.collection.max_bytes().max(1);
                self.begun_bytes += job.begun_bytes;
            }
            let (range, max_entries) = job.collection.next_read(self.max_payload_bytes);
            job.reserved_bytes = max_entries.saturating_mul(self.max_payload_bytes).min(MAX_IN_FLIGHT_BYTES);
            self.in_flight_bytes += job.reserved_bytes;
            let channel = job.channel.clone();
            return Some(PageWork { reader: PageReader::Client(index), channel, range, max_entries });
        }
        None
    }

    fn next_to_begin(&mut self) -> Option<usize> {
        loop {
            let user = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&user) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&user);
            } else {
                self.turns.push_back(user);
            }
            if next.is_some() {
                return next;
            }
        }
    }

    /// Adds a page to its job. Returns the outcome if the page was the last one.
    pub(crate) fn on_page(&mut self, index: usize, page: &Page) -> Option<ReadDone> {
        self.release(index);
        let job = self.jobs.get_mut(index)?;
        match job.collection.add_page(page) {
            Ok(false) => {
                self.begun.push_back(index);
                None
            }
            Ok(true) => self.end(index, Ok(())),
            Err(reason) => self.end(index, Err(reason)),
        }
    }

    /// Ends the job, because the history's data cannot be read.
    pub(crate) fn on_unreadable(&mut self, index: usize) -> Option<ReadDone> {
        self.release(index);
        self.end(index, Err(NotRecovered::Unreadable))
    }

    /// Queues a read again that failed for a reason unrelated to the history, for fewer entries than `max_entries`: a
    /// page that is too long for the bandwidth would always time out.
    pub(crate) fn retry(&mut self, index: usize, max_entries: usize) {
        self.release(index);
        if let Some(job) = self.jobs.get_mut(index) {
            job.collection.shrink_page(max_entries);
            self.begun.push_back(index);
        }
    }

    /// Queues all reads in flight again, because the connection is lost.
    pub(crate) fn interrupted(&mut self) {
        let interrupted = self.jobs.iter().filter(|(_, job)| job.reserved_bytes > 0).map(|(index, _)| index);
        for index in interrupted.collect::<Vec<_>>() {
            self.release(index);
            self.begun.push_back(index);
        }
    }

    /// Takes out all reads of the channels that `leaves` accepts, so that another link can begin them again. A job with a
    /// page in flight stays without readers until the page returns, so that no other job gets its index.
    pub(crate) fn take_out(&mut self, leaves: impl Fn(&ChannelName) -> bool) -> Vec<(HubId, HistoryRequest)> {
        let mut taken = Vec::new();
        for (_, Job { channel, key, user, range, limits, readers, .. }) in &mut self.jobs {
            if !leaves(channel) {
                continue;
            }
            // A later read of the same messages must not join a job that ends without an answer.
            if let Some(key) = key.take() {
                self.by_key.remove(&key);
            }
            for (hub, read) in readers.drain(..) {
                self.by_reader.remove(&(hub, read));
                let (user, channel) = (user.clone(), channel.clone());
                taken.push((hub, HistoryRequest { read, user, channel, range: *range, limits: *limits }));
            }
        }
        let idle = |(index, job): (usize, &Job)| {
            (job.readers.is_empty() && job.reserved_bytes == 0).then_some(index)
        };
        let idle: BTreeSet<usize> = self.jobs.iter().filter_map(idle).collect();
        self.queues.values_mut().for_each(|queue| queue.retain(|index| !idle.contains(index)));
        self.begun.retain(|index| !idle.contains(index));
        idle.into_iter().for_each(|index| drop(self.remove(index)));
        self.drop_idle_users();
        taken
    }

    fn end(&mut self, index: usize, result: Result<(), NotRecovered>) -> Option<ReadDone> {
        let Job { readers, collection, .. } = self.remove(index)?;
        Some(ReadDone { readers, outcome: result.map(|()| collection.finish()) })
    }

    fn release(&mut self, index: usize) {
        if let Some(job) = self.jobs.get_mut(index) {
            self.in_flight_bytes -= std::mem::take(&mut job.reserved_bytes);
        }
    }

    fn remove(&mut self, index: usize) -> Option<Job> {
        let job = self.jobs.try_remove(index)?;
        if let Some(key) = &job.key {
            self.by_key.remove(key);
        }
        for reader in &job.readers {
            self.by_reader.remove(reader);
        }
        self.begun_bytes -= job.begun_bytes;
        Some(job)
    }
}

#[cfg(test)]
mod tests;
