//! The inbox in memory, as gateway_send keeps it in Redis. Plain data, without clock or lock.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;
use sha1::{Digest as _, Sha1};

use super::super::HistoryOptions;
use super::super::history::milliseconds;
use super::super::inbox::{
    EntryId, InboxEntry, InboxMessage, InboxPage, InboxSendError, MAX_PAGE_BYTES, full_note,
};

/// The approximate overhead of an entry or of a receipt, in bytes.
const ENTRY_BYTES: usize = 192;

/// The messages of clients that wait for a backend, and which messages were stored.
pub(super) struct MemoryInbox {
    max_entries: usize,
    window_ms: u64,
    max_bytes: usize,
    entries: VecDeque<InboxEntry>,
    /// The digest of each stored message, by the user and the client's id.
    receipts: HashMap<SendReceiptKey, [u8; 20]>,
    /// When each receipt expires, the earliest first.
    expiring: VecDeque<(u64, SendReceiptKey)>,
    bytes: usize,
    last: EntryId,
}

type SendReceiptKey = (Box<str>, Box<str>);

impl MemoryInbox {
    pub(super) fn new(options: &HistoryOptions) -> Self {
        Self {
            max_entries: options.inbox.max_entries,
            window_ms: milliseconds(options.idempotency_window),
            max_bytes: options.memory_bytes,
            entries: VecDeque::new(),
            receipts: HashMap::new(),
            expiring: VecDeque::new(),
            bytes: 0,
            last: EntryId::new(0, 0),
        }
    }

    /// Stores a message, unless the user has sent it before.
    pub(super) fn push(&mut self, message: &InboxMessage<'_>, now_ms: u64) -> Result<(), InboxSendError> {
        self.expire_receipts(now_ms);
        let key: SendReceiptKey = (message.user.into(), message.id.into());
        let digest = digest_of(message);
        if let Some(before) = self.receipts.get(&key) {
            return if *before == digest { Ok(()) } else { Err(InboxSendError::IdReused) };
        }
        let entry = self.entry_of(message, now_ms);
        let bytes = self.bytes + entry_bytes(&entry) + receipt_bytes(&key);
        // Receipts are kept however full the inbox is, because a message must not be stored twice.
        if self.entries.len() >= self.max_entries || bytes > self.max_bytes {
            return Err(InboxSendError::Full);
        }
        self.bytes = bytes;
        self.last = entry.entry;
        self.entries.push_back(entry);
        self.expiring.push_back((now_ms.saturating_add(self.window_ms), key.clone()));
        self.receipts.insert(key, digest);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The note in `/readyz` while the inbox is full.
    pub(super) fn note(&self) -> Option<String> {
        full_note(self.entries.len() as u64, self.max_entries as u64)
    }

    pub(super) fn page(&self, after: Option<EntryId>, limit: usize) -> InboxPage {
        let start = after.map_or(0, |after| self.entries.partition_point(|entry| entry.entry <= after));
        let mut bytes_left = MAX_PAGE_BYTES;
        let has_room = |entry: &&InboxEntry| {
            let has_room = bytes_left > 0;
            bytes_left = bytes_left.saturating_sub(entry_bytes(entry));
            has_room
        };
        let entries = self.entries.iter().skip(start).take(limit).take_while(has_room);
        let messages: Vec<InboxEntry> = entries.cloned().collect();
        let has_more = start + messages.len() < self.entries.len();
        let next = messages.last().map(|last| last.entry).filter(|_| has_more);
        InboxPage { messages, next }
    }

    /// Deletes the entries up to and including `through`. Returns how many.
    pub(super) fn delete(&mut self, through: EntryId) -> usize {
        let count = self.entries.partition_point(|entry| entry.entry <= through);
        self.bytes -= self.entries.drain(..count).map(|entry| entry_bytes(&entry)).sum::<usize>();
        count
    }

    fn entry_of(&self, message: &InboxMessage<'_>, now_ms: u64) -> InboxEntry {
        let entry = EntryId::new(now_ms, 0).max(self.last.next().unwrap_or(self.last));
        InboxEntry {
            entry,
            user: message.user.into(),
            session: message.session.to_string().into(),
            channel: message.channel.as_str().into(),
            id: message.id.into(),
            message: RawValue::to_owned(message.message),
            at: now_ms,
        }
    }

    fn expire_receipts(&mut self, now_ms: u64) {
        while self.expiring.front().is_some_and(|(until_ms, _)| *until_ms < now_ms) {
            if let Some((_, key)) = self.expiring.pop_front() {
                self.receipts.remove(&key);
                self.bytes -= receipt_bytes(&key);
            }
        }
    }
}

fn digest_of(message: &InboxMessage<'_>) -> [u8; 20] {
    let mut digest = Sha1::new();
    digest.update(message.channel.as_str());
    // No channel contains a space.
    digest.update(" ");
    digest.update(message.message.get());
    digest.finalize().into()
}

fn entry_bytes(entry: &InboxEntry) -> usize {
    let texts = [&entry.user, &entry.session, &entry.channel, &entry.id];
    texts.iter().map(|text| text.len()).sum::<usize>() + entry.message.get().len() + ENTRY_BYTES
}

fn receipt_bytes((user, id): &SendReceiptKey) -> usize {
    // The key is stored twice.
    2 * (user.len() + id.len()) + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::super::InboxOptions;
    use super::*;
    use protocol::SessionId;
    use protocol::channel::ChannelName;

    fn inbox(max_entries: usize, memory_bytes: usize) -> MemoryInbox {
        let inbox = InboxOptions { max_entries, is_used: true };
        MemoryInbox::new(&HistoryOptions { memory_bytes, inbox, ..HistoryOptions::of_size(1) })
    }

    fn push(
        inbox: &mut MemoryInbox,
        user: &str,
        id: &str,
        json: &str,
        now: u64,
    ) -> Result<(), InboxSendError> {
        let channel = ChannelName::parse("room:7").unwrap();
        let message = RawValue::from_string(json.into()).unwrap();
        let message = InboxMessage { user, session: SessionId(1), channel: &channel, id, message: &message };
        inbox.push(&message, now)
    }

    fn ids(page: &InboxPage) -> Vec<String> {
        page.messages.iter().map(|entry| entry.entry.to_string()).collect()
    }

    #[test]
    fn a_repeated_id_adds_nothing_until_the_window_ends() {
        let mut inbox = inbox(10, 1_000_000);
        assert_eq!(push(&mut inbox, "42", "c1", "1", 0), Ok(()));
        assert_eq!(push(&mut inbox, "42", "c1", "1", 600_000), Ok(()));
        assert_eq!(push(&mut inbox, "42", "c1", "2", 600_000), Err(InboxSendError::IdReused));
        assert_eq!(push(&mut inbox, "43", "c1", "2", 600_000), Ok(()));
        assert_eq!(inbox.len(), 2);
        assert_eq!(push(&mut inbox, "42", "c1", "1", 600_001), Ok(()));
        assert_eq!(inbox.len(), 3);
    }

    #[test]
    fn a_full_inbox_refuses_and_accepts_again_after_a_deletion() {
        let mut inbox = inbox(2, 1_000_000);
        for id in ["a", "b"] {
            assert_eq!(push(&mut inbox, "42", id, "1", 5), Ok(()));
        }
        assert_eq!(push(&mut inbox, "42", "c", "1", 5), Err(InboxSendError::Full));
        assert_eq!(push(&mut inbox, "42", "a", "1", 5), Ok(()), "it is stored");
        let page = inbox.page(None, 1);
        assert_eq!((ids(&page), page.next), (vec!["5-0".to_owned()], EntryId::parse("5-0")));
        assert_eq!(inbox.delete(page.next.unwrap()), 1);
        assert_eq!(push(&mut inbox, "42", "c", "1", 4), Ok(()), "the clock was set back");
        assert_eq!(ids(&inbox.page(None, 10)), ["5-1", "5-2"]);
        let page = inbox.page(EntryId::parse("5-1"), 10);
        assert_eq!((ids(&page), page.next), (vec!["5-2".to_owned()], None));
    }

    #[test]
    fn a_page_has_about_8_mib_at_most() {
        let mut inbox = inbox(1_000, 64 << 20);
        let text = format!("\"{}\"", "x".repeat(1 << 20));
        (0..20).for_each(|id| assert_eq!(push(&mut inbox, "42", &id.to_string(), &text, 0), Ok(())));
        let page = inbox.page(None, 1_000);
        assert_eq!((page.messages.len(), page.next), (8, EntryId::parse("0-8")));
        assert_eq!(inbox.page(EntryId::parse("0-16"), 1_000).messages.len(), 4);
        assert_eq!(inbox.page(EntryId::parse("0-16"), 4).next, None, "it is the last page");
    }

    #[test]
    fn the_bytes_of_entries_and_receipts_are_bounded() {
        let mut inbox = inbox(1_000, 10_000);
        let text = format!("\"{}\"", "x".repeat(1_000));
        let stored = (0..100).filter(|id| push(&mut inbox, "42", &id.to_string(), &text, 0).is_ok()).count();
        assert!((5..9).contains(&stored), "{stored}");
        assert_eq!(inbox.delete(EntryId::new(u64::MAX, 0)), stored);
        assert_eq!(inbox.bytes, stored * receipt_bytes(&("42".into(), "1".into())));
        inbox.expire_receipts(u64::MAX);
        assert_eq!(inbox.bytes, 0);
    }
}
