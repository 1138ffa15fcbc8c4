//! Stores histories in memory, as Redis streams do for the Redis broker. Plain data, without clock or lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;
use sha1::{Digest as _, Sha1};

use super::super::HistoryOptions;
use super::super::history::milliseconds;
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
    receipts: HashMap<ReceiptKey, Receipt>,
    /// When each receipt expires, the earliest first.
    expiring: VecDeque<(u64, ReceiptKey)>,
    bytes: usize,
    appends: u64,
    now_ms: u64,
    last_epoch: u64,
    /// Every history that was removed began before this time.
    whole_since_ms: u64,
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
    appended_ms: u64,
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
            receipts: HashMap::new(),
            expiring: VecDeque::new(),
            bytes: 0,
            appends: 0,
            now_ms,
            last_epoch: 0,
            whole_since_ms: now_ms,
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
            None => (Vec::new(), Position::before(self.present_ms())),
        };
        Page { entries, tail, whole_since_ms: self.whole_since_ms }
    }

    /// The last position of a channel's history, if it has one.
    pub(super) fn tail(&mut self, channel: &ChannelName, now_ms: u64) -> Option<Position> {
        self.advance_clock(now_ms);
        self.channels.get(channel).map(|found| found.tail)
    }

    /// The time for the position of a channel without a history. It is later than any such position that was given
    /// before a history was removed.
    fn present_ms(&self) -> u64 {
        self.now_ms.max(self.whole_since_ms)
    }

    fn push(&mut self, channel: &ChannelName, message: Arc<RawValue>) -> Position {
        self.appends += 1;
        self.bytes += message_bytes(&message);
        if !self.channels.contains_key(channel) {
            // No two histories of this process share an epoch, so a channel's new history differs from its last one.
            self.last_epoch = self.present_ms().max(self.last_epoch + 1);
            self.bytes += channel_bytes(channel);
        }
        let beginning = Position::before(self.last_epoch);
        let found = self.channels.entry(channel.clone()).or_insert_with(|| ChannelHistory {
            tail: beginning,
            messages: VecDeque::new(),
            appended_ms: 0,
            append: 0,
        });
        self.by_idleness.remove(&found.append);
        self.by_idleness.insert(self.appends, channel.clone());
        (found.append, found.appended_ms) = (self.appends, self.now_ms);
        found.tail.offset += 1;
        found.messages.push_back(message);
        if found.messages.len() > self.options.size {
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
        let ttl_ms = milliseconds(self.options.ttl);
        while let Some(channel) = self.longest_idle() {
            let is_due = self
                .channels
                .get(&channel)
                .is_none_or(|found| self.now_ms.saturating_sub(found.appended_ms) > ttl_ms);
            if !is_due {
                break;
            }
            self.drop_longest_idle();
        }
    }

    /// Keeps all histories within `memory_bytes`. Removes the other histories first, the longest idle one before the
    /// others; then the oldest messages of the history that was just written, except its last message; then receipts.
    fn enforce_memory_limit(&mut self, written: &ChannelName) {
        while self.bytes > self.options.memory_bytes {
            if self.longest_idle().is_some_and(|channel| channel != *written) {
                self.drop_longest_idle();
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

    fn drop_longest_idle(&mut self) {
        let Some((_, channel)) = self.by_idleness.pop_first() else { return };
        if let Some(found) = self.channels.remove(&channel) {
            let messages: usize = found.messages.iter().map(message_bytes).sum();
            self.bytes -= messages + channel_bytes(&channel);
            // A position given before this history began must not count as the beginning of the channel's next history.
            self.whole_since_ms = self.whole_since_ms.max(found.tail.epoch + 1);
        }
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
