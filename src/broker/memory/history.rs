//! Stores histories in memory, as Redis streams do for the Redis broker. Plain data, without clock or lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;
use sha1::{Digest as _, Sha1};

use super::super::HistoryOptions;
use super::super::history::{HistoryLimits, milliseconds};
use super::super::newest::EntryRange;
use protocol::channel::ChannelName;
use protocol::history::{Entry, Page};
use protocol::position::Position;
use protocol::publication::Publication;

/// The approximate overhead of a message, in bytes: its queue entry and its reference-counted allocation.
const ENTRY_BYTES: usize = 48;
/// The approximate overhead of a channel or an idempotency key, in bytes.
const MAP_ENTRY_BYTES: usize = 192;

/// The histories of all channels. Callers pass the time in Unix milliseconds; an earlier time than before is ignored.
pub(super) struct MemoryHistory {
    options: HistoryOptions,
    channels: HashMap<ChannelName, ChannelHistory>,
    /// The channels by the number of their last append, the longest idle first.
    by_idleness: BTreeMap<u64, ChannelName>,
    /// The channels by the time at which their histories expire, and by the number of their last append.
    by_expiry: BTreeMap<(u64, u64), ChannelName>,
    receipts: HashMap<ReceiptKey, Receipt>,
    /// When each receipt expires, the earliest first.
    expiring: VecDeque<(u64, ReceiptKey)>,
    bytes: usize,
    appends: u64,
    now_ms: u64,
    last_epoch: u64,
    started_ms: u64,
    /// Every history that was removed began before this time, for each section of `[namespaces]`.
    whole_since_ms: HashMap<Box<str>, u64>,
}

type ReceiptKey = (ChannelName, Box<str>);

/// The result of a publication with an idempotency key.
struct Receipt {
    position: Position,
    /// The SHA-1 digest of the message.
    digest: [u8; 20],
    is_pushed: bool,
}

/// The idempotency key was used with another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyReused;

struct ChannelHistory {
    /// The last position of the channel.
    tail: Position,
    /// The newest messages; the last one is at the tail.
    messages: VecDeque<Arc<RawValue>>,
    /// Resolved when the history began.
    limits: HistoryLimits,
    expires_ms: u64,
    /// The number of the last append: the channel's key in `by_idleness`.
    append: u64,
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appended {
    /// The position of the message, also if it was appended by an earlier call.
    pub(super) position: Position,
    /// Whether the idempotency key was used before. Then the message was not appended and must not be published again.
    pub(super) is_repeated: bool,
    /// Whether the first use of the idempotency key was [marked as pushed](MemoryHistory::mark_pushed).
    pub(super) was_pushed: bool,
}

impl MemoryHistory {
    pub(super) fn new(options: HistoryOptions, now_ms: u64) -> Self {
        Self {
            options,
            channels: HashMap::new(),
            by_idleness: BTreeMap::new(),
            by_expiry: BTreeMap::new(),
            receipts: HashMap::new(),
            expiring: VecDeque::new(),
            bytes: 0,
            appends: 0,
            now_ms,
            last_epoch: 0,
            started_ms: now_ms,
            whole_since_ms: HashMap::new(),
        }
    }

    /// Appends a message to the history of `channel`.
    ///
    /// # Errors
    /// The idempotency key was used with another message.
    pub(super) fn append(
        &mut self,
        channel: &ChannelName,
        message: Arc<RawValue>,
        idempotency_key: Option<&str>,
        now_ms: u64,
    ) -> Result<Appended, KeyReused> {
        self.advance_clock(now_ms);
        let receipt = idempotency_key.map(|key| {
            let digest = Sha1::digest(message.get().as_bytes()).into();
            ((channel.clone(), Box::from(key)), digest)
        });
        if let Some((key, digest)) = &receipt
            && let Some(before) = self.receipts.get(key)
        {
            let repeated =
                Appended { position: before.position, is_repeated: true, was_pushed: before.is_pushed };
            return if before.digest == *digest { Ok(repeated) } else { Err(KeyReused) };
        }
        let position = self.push(channel, message);
        if let Some((receipt, digest)) = receipt {
            self.bytes += receipt_bytes(&receipt);
            let until_ms = self.now_ms.saturating_add(milliseconds(self.options.idempotency_window));
            self.expiring.push_back((until_ms, receipt.clone()));
            self.receipts.insert(receipt, Receipt { position, digest, is_pushed: false });
        }
        self.enforce_memory_limit(channel);
        Ok(Appended { position, is_repeated: false, was_pushed: false })
    }

    /// Records that the publication with this idempotency key was handed to push.
    pub(super) fn mark_pushed(&mut self, channel: &ChannelName, idempotency_key: &str) {
        if let Some(receipt) = self.receipts.get_mut(&(channel.clone(), Box::from(idempotency_key))) {
            receipt.is_pushed = true;
        }
    }

    /// The entries of a range, at most `max_entries`.
    pub(super) fn page(
        &mut self,
        channel: &ChannelName,
        range: EntryRange,
        max_entries: usize,
        now_ms: u64,
    ) -> Page {
        self.advance_clock(now_ms);
        let (entries, tail) = match self.channels.get(channel) {
            Some(found) => (found.entries(channel, range, max_entries), found.tail),
            None => (Vec::new(), Position::before(self.present_ms(channel))),
        };
        Page { entries, tail, whole_since_ms: self.whole_since_ms(channel) }
    }

    /// The last position of a channel's history, if it has one.
    pub(super) fn tail(&mut self, channel: &ChannelName, now_ms: u64) -> Option<Position> {
        self.advance_clock(now_ms);
        self.channels.get(channel).map(|found| found.tail)
    }

    /// The time for the position of a channel without a history. It is later than any such position that was given
    /// before a history was removed.
    fn present_ms(&self, channel: &ChannelName) -> u64 {
        self.now_ms.max(self.whole_since_ms(channel))
    }

    /// Every removed history of the channel began before this time. A section has its own time, so a short TTL of
    /// another section does not make this channel's positions uncertain.
    fn whole_since_ms(&self, channel: &ChannelName) -> u64 {
        let section = self.options.namespaces.section(channel.namespace());
        self.whole_since_ms.get(section).copied().unwrap_or(self.started_ms)
    }

    fn push(&mut self, channel: &ChannelName, message: Arc<RawValue>) -> Position {
        self.appends += 1;
        self.bytes += message_bytes(&message);
        if !self.channels.contains_key(channel) {
            // No two histories of this process share an epoch, so a channel's new history differs from its last one.
            self.last_epoch = self.present_ms(channel).max(self.last_epoch + 1);
            self.bytes += channel_bytes(channel);
        }
        let beginning = Position::before(self.last_epoch);
        let options = &self.options;
        let found = self.channels.entry(channel.clone()).or_insert_with(|| ChannelHistory {
            tail: beginning,
            messages: VecDeque::new(),
            limits: options.limits(channel.namespace()),
            expires_ms: 0,
            append: 0,
        });
        self.by_idleness.remove(&found.append);
        self.by_expiry.remove(&(found.expires_ms, found.append));
        (found.append, found.expires_ms) = (self.appends, self.now_ms.saturating_add(found.limits.ttl_ms));
        self.by_idleness.insert(found.append, channel.clone());
        self.by_expiry.insert((found.expires_ms, found.append), channel.clone());
        found.tail.offset += 1;
        found.messages.push_back(message);
        if found.messages.len() > found.limits.size {
            self.bytes -= found.drop_oldest();
        }
        found.tail
    }

    /// Removes expired receipts and histories.
    fn advance_clock(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while self.expiring.front().is_some_and(|(until_ms, _)| *until_ms < self.now_ms) {
            self.expire_receipt();
        }
        while let Some((&(expires_ms, _), channel)) = self.by_expiry.first_key_value()
            && expires_ms < self.now_ms
        {
            self.drop_history(&channel.clone());
        }
    }

    /// Keeps all histories within `memory_bytes`. Removes the other histories first, the longest idle one before the
    /// others; then the oldest messages of the history that was just written, except its last message; then receipts.
    fn enforce_memory_limit(&mut self, written: &ChannelName) {
        while self.bytes > self.options.memory_bytes {
            if let Some(channel) = self.longest_idle().filter(|channel| channel != written) {
                self.drop_history(&channel);
                continue;
            }
            match self.channels.get_mut(written) {
                Some(found) if found.messages.len() > 1 => self.bytes -= found.drop_oldest(),
                _ if self.expiring.len() > 1 => self.expire_receipt(),
                _ => break,
            }
        }
    }

    fn longest_idle(&self) -> Option<ChannelName> {
        self.by_idleness.first_key_value().map(|(_, channel)| channel.clone())
    }

    fn drop_history(&mut self, channel: &ChannelName) {
        let Some(found) = self.channels.remove(channel) else { return };
        self.by_idleness.remove(&found.append);
        self.by_expiry.remove(&(found.expires_ms, found.append));
        let messages: usize = found.messages.iter().map(message_bytes).sum();
        self.bytes -= messages + channel_bytes(channel);
        // A position given before this history began must not count as the beginning of the channel's next history.
        let since_ms = self.whole_since_ms(channel).max(found.tail.epoch + 1);
        let section = self.options.namespaces.section(channel.namespace());
        self.whole_since_ms.insert(section.into(), since_ms);
    }

    fn expire_receipt(&mut self) {
        if let Some((_, receipt)) = self.expiring.pop_front() {
            self.receipts.remove(&receipt);
            self.bytes -= receipt_bytes(&receipt);
        }
    }
}

impl ChannelHistory {
    /// Returns the bytes that this frees.
    fn drop_oldest(&mut self) -> usize {
        self.messages.pop_front().as_ref().map_or(0, message_bytes)
    }

    /// How many stored messages are not after a position.
    fn count_up_to(&self, last: Position) -> usize {
        let trimmed = self.tail.offset - self.messages.len() as u64;
        let count = match last.epoch.cmp(&self.tail.epoch) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => last.offset.saturating_sub(trimmed),
            std::cmp::Ordering::Greater => u64::MAX,
        };
        usize::try_from(count).unwrap_or(usize::MAX).min(self.messages.len())
    }

    fn entries(&self, channel: &ChannelName, range: EntryRange, max_entries: usize) -> Vec<Entry> {
        let epoch = self.tail.epoch;
        // The first stored message has the next offset.
        let trimmed = self.tail.offset - self.messages.len() as u64;
        let (skipped, entries) = match range {
            EntryRange::After(since) => (self.count_up_to(since), max_entries),
            EntryRange::UpTo(last) => {
                let count = self.count_up_to(last);
                (count.saturating_sub(max_entries), count.min(max_entries))
            }
        };
        let offsets = trimmed + 1..;
        let entries = offsets.zip(&self.messages).skip(skipped).take(entries);
        entries
            .map(|(offset, message)| {
                let position = Position { epoch, offset };
                let publication = Publication::new(channel.clone(), Some(position), Arc::clone(message));
                Entry { position, after: None, publication: Some(Arc::new(publication)) }
            })
            .collect()
    }
}

fn message_bytes(message: &Arc<RawValue>) -> usize {
    message.get().len() + ENTRY_BYTES
}

fn channel_bytes(channel: &ChannelName) -> usize {
    channel.as_str().len() + MAP_ENTRY_BYTES
}

fn receipt_bytes((channel, key): &ReceiptKey) -> usize {
    // The channel name may be shared but is counted in full. The key is stored twice: in `receipts` and in `expiring`.
    channel.as_str().len() + 2 * (key.len() + MAP_ENTRY_BYTES)
}

#[cfg(test)]
mod tests;
