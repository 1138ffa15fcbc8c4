//! An in-memory Redis with the operations of `gateway_publish.lua`, `gateway_mark.lua` and `history.rs`, and its
//! faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::inbox::SimulatedInbox;
use crate::broker::newest::EntryRange;
use protocol::channel::ChannelName;
use protocol::history::{Entry, Page, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// One server.
pub(super) struct Server {
    address: usize,
    /// Whether the server is the master of its data.
    pub(super) is_alive: bool,
    /// The server's clock, in Unix milliseconds.
    pub(super) clock_ms: u64,
    data: RedisData,
    /// The data of the last save.
    saved: RedisData,
    function: PublishFunction,
    /// The maximum number of messages in a history.
    history_size: usize,
    ttl_ms: u64,
    /// The number of publications at the last save.
    pub(super) saved_at: u64,
}

#[derive(Clone, Default)]
pub(super) struct RedisData {
    streams: BTreeMap<ChannelName, Stream>,
    inbox: SimulatedInbox,
    /// The time since which no data of a channel's slot was lost.
    markers_ms: BTreeMap<ChannelName, u64>,
}

#[derive(Clone)]
pub(super) struct Stream {
    /// The server that appended the last entry.
    writer: usize,
    entries: VecDeque<Stored>,
    last: Position,
    expires_ms: u64,
}

#[derive(Clone)]
struct Stored {
    position: Position,
    after: Option<Position>,
    publication: Arc<Publication>,
}

/// The variables of the Lua function. A restart of the server resets them.
#[derive(Default)]
struct PublishFunction {
    incarnation: Option<u64>,
    last_epoch: u64,
    begun: BTreeSet<ChannelName>,
}

impl Server {
    pub(super) fn new(address: usize, clock_ms: u64, history_size: usize, ttl_ms: u64) -> Self {
        let (data, saved, function) =
            (RedisData::default(), RedisData::default(), PublishFunction::default());
        let (is_alive, saved_at) = (true, 0);
        Self { address, is_alive, clock_ms, data, saved, function, history_size, ttl_ms, saved_at }
    }

    /// Another master, without data.
    pub(super) fn empty(&self, address: usize) -> Self {
        Self::new(address, self.clock_ms, self.history_size, self.ttl_ms)
    }

    /// Takes a slot out: its stream, its marker, and the last epoch that may have been used in it.
    pub(super) fn take_slot(&mut self, channel: &ChannelName) -> (Option<Stream>, Option<u64>, u64) {
        let (streams, markers_ms) = (&mut self.data.streams, &mut self.data.markers_ms);
        (streams.remove(channel), markers_ms.remove(channel), self.function.last_epoch)
    }

    /// Takes over a slot. The clocks of masters agree, so no epoch of a removed stream is used again.
    pub(super) fn put_slot(
        &mut self,
        channel: &ChannelName,
        stream: Option<Stream>,
        marker_ms: Option<u64>,
        last_epoch: u64,
    ) {
        self.data.streams.extend(stream.map(|stream| (channel.clone(), stream)));
        self.data.markers_ms.extend(marker_ms.map(|marker_ms| (channel.clone(), marker_ms)));
        self.function.on_slot(channel, last_epoch);
    }

    /// The data of a replica that is promoted, and the number of publications that it has.
    pub(super) fn replicated(&self, loses_end: bool) -> (RedisData, Option<u64>) {
        if loses_end { (self.saved.clone(), Some(self.saved_at)) } else { (self.data.clone(), None) }
    }

    /// A replica is promoted.
    pub(super) fn become_master(&mut self, data: RedisData, saved_at: Option<u64>) {
        (self.saved, self.data) = (data.clone(), data);
        self.saved_at = saved_at.unwrap_or(self.saved_at);
    }

    pub(super) fn inbox(&mut self) -> &mut SimulatedInbox {
        &mut self.data.inbox
    }

    /// Removes the stream if it has expired.
    fn expire(&mut self, channel: &ChannelName) {
        let now = self.clock_ms;
        if self.data.streams.get(channel).is_some_and(|stream| now > stream.expires_ms) {
            self.data.streams.remove(channel);
        }
    }

    /// `gateway_publish`.
    pub(super) fn append(&mut self, channel: &ChannelName, number: u64) -> Position {
        self.expire(channel);
        let now = self.clock_ms;
        let function = &mut self.function;
        let incarnation = *function.incarnation.get_or_insert_with(|| now.max(function.last_epoch + 1));
        let stream = self.data.streams.get(channel);
        let (last, writer) = (stream.map(|stream| stream.last), stream.map(|stream| stream.writer));
        let (position, after) = match last {
            None => (function.start_epoch(channel, now), None),
            // Another master may have lost later messages of the epoch.
            Some(last)
                if writer == Some(self.address)
                    && (incarnation..=function.last_epoch).contains(&last.epoch) =>
            {
                (Position { epoch: last.epoch, offset: last.offset + 1 }, None)
            }
            Some(last) => (function.start_epoch(channel, now.max(last.epoch + 1)), Some(last)),
        };
        let payload = format!("@{position} {number}");
        let publication = Publication::decode(channel.clone(), payload.as_bytes(), 100).unwrap();
        let stored = Stored { position, after, publication: Arc::new(publication) };
        let stream = self.data.streams.entry(channel.clone()).or_insert_with(|| Stream {
            writer: self.address,
            entries: VecDeque::new(),
            last: position,
            expires_ms: 0,
        });
        stream.entries.push_back(stored);
        (stream.last, stream.writer) = (position, self.address);
        stream.expires_ms = now + self.ttl_ms;
        while stream.entries.len() > self.history_size {
            stream.entries.pop_front();
        }
        position
    }

    /// The last position of a history (`XREVRANGE … COUNT 1`).
    pub(super) fn tail(&mut self, channel: &ChannelName) -> Tail {
        self.expire(channel);
        let last = self.data.streams.get(channel).and_then(|stream| stream.entries.back());
        last.map_or(Tail::Nothing, |last| Tail::At(last.position))
    }

    /// The page that `history::page` reads.
    pub(super) fn page(&mut self, channel: &ChannelName, range: EntryRange, max: usize) -> Page {
        let tail = match self.tail(channel) {
            Tail::At(tail) => tail,
            Tail::Nothing => Position::before(self.clock_ms),
        };
        let stored = self.data.streams.get(channel).into_iter().flat_map(|stream| &stream.entries);
        let mut entries: Vec<_> = stored
            .filter(|stored| match range {
                EntryRange::After(since) => stored.position > since,
                EntryRange::UpTo(last) => stored.position <= last,
            })
            .map(|stored| Entry {
                position: stored.position,
                after: stored.after,
                publication: Some(Arc::clone(&stored.publication)),
            })
            .collect();
        match range {
            EntryRange::After(_) => entries.truncate(max),
            EntryRange::UpTo(_) => drop(entries.drain(..entries.len().saturating_sub(max))),
        }
        Page { entries, tail, whole_since_ms: self.whole_since_ms(channel) }
    }

    /// The time since which no history can have been created and lost undetected.
    pub(super) fn whole_since_ms(&self, channel: &ChannelName) -> u64 {
        let marker_ms = self.data.markers_ms.get(channel).copied().unwrap_or(u64::MAX);
        marker_ms.max(self.clock_ms.saturating_sub(self.ttl_ms))
    }

    /// `gateway_mark`.
    pub(super) fn mark(&mut self, channels: &[ChannelName]) {
        for channel in channels {
            self.data.markers_ms.entry(channel.clone()).or_insert(self.clock_ms + 1);
        }
    }

    /// Saves the data to disk, or replicates it to the next master.
    pub(super) fn save(&mut self, published: u64) {
        (self.saved, self.saved_at) = (self.data.clone(), published);
    }

    /// Restarts with all data.
    pub(super) fn restart(&mut self) {
        self.function = PublishFunction::default();
    }

    /// Restarts with the data of the last save.
    pub(super) fn restart_with_lost_end(&mut self) {
        self.restart();
        self.data = self.saved.clone();
    }

    /// Restarts without data.
    pub(super) fn restart_empty(&mut self) {
        self.restart();
        self.data = RedisData::default();
    }

    /// `FLUSHALL`, which keeps the function and its variables.
    pub(super) fn flush(&mut self) {
        self.data = RedisData::default();
    }

    /// `DEL`.
    pub(super) fn delete(&mut self, channel: &ChannelName) {
        self.data.streams.remove(channel);
    }
}

impl PublishFunction {
    /// A slot came from another master, which may have used epochs up to `last_epoch`.
    fn on_slot(&mut self, channel: &ChannelName, last_epoch: u64) {
        if last_epoch > self.last_epoch {
            self.last_epoch = last_epoch;
            self.begun.clear();
        }
        self.begun.insert(channel.clone());
    }

    /// Starts a new epoch of a channel; returns its first position.
    fn start_epoch(&mut self, channel: &ChannelName, not_before: u64) -> Position {
        if not_before > self.last_epoch {
            self.last_epoch = not_before;
            self.begun.clear();
        } else if self.begun.contains(channel) {
            self.last_epoch += 1;
            self.begun.clear();
        }
        self.begun.insert(channel.clone());
        Position { epoch: self.last_epoch, offset: 1 }
    }
}
