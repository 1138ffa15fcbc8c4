//! Collects the messages that one client missed from a channel's history. The client gets all of them, within limits,
//! or none.

use std::sync::Arc;

use super::page_size::PageSize;
use crate::metrics::RecoveryResult;
use protocol::history::{Page, Proof};
use protocol::position::Position;
use protocol::publication::Publication;

/// How much one client may receive from a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryLimits {
    /// The most messages of one channel.
    pub messages: usize,
    /// The most bytes of frames, over all channels of one request. The longest message is not counted if it takes more
    /// than half of them, so any single message can be recovered.
    pub bytes: usize,
}

/// The sizes of a number of frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameSizes {
    /// The approximate size of all frames together, in bytes.
    pub all: usize,
    /// The approximate size of the longest frame, in bytes.
    pub longest: usize,
}

impl FrameSizes {
    /// The sizes of both sets of frames together.
    pub fn plus(self, other: Self) -> Self {
        Self { all: self.all.saturating_add(other.all), longest: self.longest.max(other.longest) }
    }

    /// The bytes that count against the limit. If the longest message counted, a long message could be published but
    /// never be recovered together with another one.
    pub fn counted(self, limits: RecoveryLimits) -> usize {
        if self.longest > limits.bytes / 2 { self.all - self.longest } else { self.all }
    }

    /// The approximate size of the frame of one message.
    pub fn of(publication: &Publication) -> Self {
        let bytes = publication.message().get().len() + FRAME_BYTES;
        Self { all: bytes, longest: bytes }
    }
}

/// Bytes of a frame besides its message: field names, the position, and a channel name of usual length.
const FRAME_BYTES: usize = 128;

/// The messages of one read of a history.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The position before the first message. Without a message: the client's position, or the cut of its subscription.
    pub position: Position,
    /// The messages, in order.
    pub publications: Arc<[Arc<Publication>]>,
    /// The sizes of the frames of `publications`.
    pub sizes: FrameSizes,
    /// Whether a page is followed by another one. `false` for the reads of subscriptions.
    pub has_more: bool,
}

impl Recovered {
    /// No message. `position`: where the client begins.
    pub fn nothing(position: Position) -> Self {
        Self { position, publications: Arc::new([]), sizes: FrameSizes::default(), has_more: false }
    }

    /// The newest of these messages whose sizes together are accepted by `fits`.
    #[must_use]
    pub fn newest(self, fits: impl Fn(FrameSizes) -> bool) -> Self {
        if fits(self.sizes) {
            return self;
        }
        let mut sizes = FrameSizes::default();
        let mut first = self.publications.len();
        for publication in self.publications.iter().rev() {
            let with_one_more = sizes.plus(FrameSizes::of(publication));
            if !fits(with_one_more) {
                break;
            }
            (sizes, first) = (with_one_more, first - 1);
        }
        let (dropped, kept) = self.publications.split_at(first);
        let position = dropped.last().and_then(|publication| publication.position()).unwrap_or(self.position);
        Self { position, publications: kept.into(), sizes, has_more: self.has_more }
    }
}

/// Why a client does not continue from its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRecovered {
    /// The history was replaced or trimmed, or lost its end.
    #[error("the history does not continue from this position")]
    Lost,
    /// The client missed more than the limits allow.
    #[error("more messages are missing than may be recovered")]
    TooMuch,
    /// The history's data cannot be read: the key has another type, or a permission is missing.
    #[error("the history cannot be read")]
    Unreadable,
}

impl From<NotRecovered> for RecoveryResult {
    fn from(reason: NotRecovered) -> Self {
        match reason {
            NotRecovered::Lost => Self::Lost,
            NotRecovered::TooMuch => Self::TooMuch,
            NotRecovered::Unreadable => Self::Unreadable,
        }
    }
}

/// Collects the pages of one recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    since: Position,
    cut: Position,
    limits: RecoveryLimits,
    position: Position,
    publications: Vec<Arc<Publication>>,
    sizes: FrameSizes,
    page_size: PageSize,
}

impl Recovery {
    /// Starts a recovery of the messages after `since`, up to `cut`.
    ///
    /// # Errors
    /// [`NotRecovered::TooMuch`], if the positions alone show that too much is missing.
    pub(super) fn new(since: Position, cut: Position, limits: RecoveryLimits) -> Result<Self, NotRecovered> {
        let recovery = Self {
            since,
            cut,
            limits,
            position: since,
            publications: Vec::new(),
            sizes: FrameSizes::default(),
            page_size: PageSize::new(),
        };
        match recovery.missing() {
            Some(missing) if missing > limits.messages as u64 => Err(NotRecovered::TooMuch),
            _ => Ok(recovery),
        }
    }

    /// The position after which to read next.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// How many messages are missing; `None`: the positions have different epochs, so it is not known.
    fn missing(&self) -> Option<u64> {
        let is_one_epoch = self.position.epoch == self.cut.epoch;
        is_one_epoch.then(|| self.cut.offset.saturating_sub(self.position.offset))
    }

    /// How many entries to read next. It depends on the limits and not on the size of the history, and so does the cost
    /// of a read.
    pub(super) fn next_entries(&self, max_payload_bytes: usize) -> usize {
        let left = self.limits.bytes.saturating_sub(self.sizes.counted(self.limits));
        let entries = self.page_size.entries(left, max_payload_bytes);
        let missing = self.missing().and_then(|missing| usize::try_from(missing).ok());
        // One message more than allowed shows that there are too many.
        let allowed = self.limits.messages - self.publications.len().min(self.limits.messages) + 1;
        entries.min(missing.unwrap_or(usize::MAX)).min(allowed).max(1)
    }

    /// A page of this many entries timed out: the next one is shorter.
    pub(super) fn shrink_page(&mut self, entries: usize) {
        self.page_size.shrink(entries);
    }

    /// The most bytes that this recovery may collect.
    pub(super) fn max_bytes(&self) -> usize {
        self.limits.bytes
    }

    /// Adds the page after [`position`](Self::position). Returns whether it was the last page.
    ///
    /// # Errors
    /// The history does not continue from the position, or the limits are exceeded: nothing is recovered.
    pub(super) fn add_page(&mut self, page: &Page) -> Result<bool, NotRecovered> {
        let proof = page.prove(self.position, self.cut).map_err(|_| NotRecovered::Lost)?;
        let bytes_before = self.sizes.all;
        for entry in page.entries_until(self.cut) {
            self.position = entry.position;
            if let Some(publication) = &entry.publication {
                self.sizes = self.sizes.plus(FrameSizes::of(publication));
                self.publications.push(Arc::clone(publication));
            }
        }
        self.page_size.grow(page.entries.len(), self.sizes.all - bytes_before);
        let is_too_long = self.sizes.counted(self.limits) > self.limits.bytes;
        if self.publications.len() > self.limits.messages || is_too_long {
            return Err(NotRecovered::TooMuch);
        }
        Ok(proof == Proof::Complete)
    }

    pub(super) fn finish(self) -> Recovered {
        let publications = self.publications.into();
        Recovered { position: self.since, publications, sizes: self.sizes, has_more: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::channel::ChannelName;
    use protocol::history::Entry;

    fn at(offset: u64) -> Position {
        Position { epoch: 9, offset }
    }

    fn page(offsets: std::ops::RangeInclusive<u64>, message: &str) -> Page {
        let entries = offsets.map(|offset| {
            let position = at(offset);
            let payload = format!("@{position} {message}");
            let publication = Publication::decode(ChannelName::all(), payload.as_bytes(), 10_000).unwrap();
            Entry { position, after: None, publication: Some(Arc::new(publication)) }
        });
        Page { entries: entries.collect(), tail: at(100), whole_since_ms: 0 }
    }

    const LIMITS: RecoveryLimits = RecoveryLimits { messages: 5, bytes: 5 * FRAME_BYTES + 7 };

    #[test]
    fn pages_are_joined_up_to_the_cut() {
        let mut recovery = Recovery::new(at(1), at(5), LIMITS).unwrap();
        assert_eq!(recovery.add_page(&page(2..=3, "1")), Ok(false));
        assert_eq!(recovery.position().offset, 3);
        assert_eq!(recovery.add_page(&page(4..=7, "1")), Ok(true), "entries after the cut are skipped");
        assert_eq!(recovery.finish().publications.len(), 4);
    }

    #[test]
    fn over_the_limit_nothing_is_recovered() {
        assert_eq!(
            Recovery::new(at(1), at(7), LIMITS).err(),
            Some(NotRecovered::TooMuch),
            "no read is needed"
        );
        let two_epochs = Position { epoch: 8, offset: 0 };
        let many = Recovery::new(two_epochs, at(6), LIMITS).unwrap().add_page(&page(1..=6, "1"));
        assert_eq!(many, Err(NotRecovered::TooMuch));
        let long = Recovery::new(at(9), at(14), LIMITS).unwrap().add_page(&page(10..=14, "100"));
        assert_eq!(long, Err(NotRecovered::TooMuch));
    }

    #[test]
    fn any_single_message_can_be_recovered() {
        let message = "1".repeat(9_000);
        let mut recovery = Recovery::new(at(1), at(2), LIMITS).unwrap();
        assert_eq!(recovery.add_page(&page(2..=2, &message)), Ok(true));
        let mut recovery = Recovery::new(at(1), at(5), LIMITS).unwrap();
        for (offset, message) in [(2, "1"), (3, &*message), (4, "1")] {
            assert_eq!(recovery.add_page(&page(offset..=offset, message)), Ok(false));
        }
        assert_eq!(
            recovery.add_page(&page(5..=5, &message)),
            Err(NotRecovered::TooMuch),
            "two long messages exceed the limit"
        );
    }

    #[test]
    fn a_page_has_no_more_entries_than_can_be_recovered() {
        let limits = RecoveryLimits { messages: 1_000, bytes: 64_000 };
        let mut recovery = Recovery::new(at(0), at(900), limits).unwrap();
        assert_eq!(recovery.next_entries(1_000_000), 1, "one message may reach the limit");
        assert_eq!(recovery.next_entries(1_000), 64);
        recovery.add_page(&page(1..=1, &"1".repeat(900))).unwrap();
        assert_eq!(recovery.next_entries(1_000_000), 4, "the page grows");
        recovery.add_page(&page(2..=5, &"1".repeat(900))).unwrap();
        recovery.add_page(&page(6..=21, &"1".repeat(900))).unwrap();
        assert_eq!(recovery.next_entries(1_000_000), (64_000 - 21 * 1_028) * 21 / (21 * 1_028));
        let few = Recovery::new(at(0), at(3), limits).unwrap();
        assert_eq!(few.next_entries(1), 3, "only three messages are missing");
    }

    #[test]
    fn a_page_that_timed_out_is_followed_by_shorter_ones() {
        let mut recovery =
            Recovery::new(at(0), at(100), RecoveryLimits { messages: 100, bytes: 100_000 }).unwrap();
        assert_eq!(recovery.next_entries(1_000), 100);
        for entries in [100, 12, 1] {
            recovery.shrink_page(entries);
        }
        assert_eq!(recovery.next_entries(1_000), 1);
        recovery.add_page(&page(1..=1, "1")).unwrap();
        assert_eq!(recovery.next_entries(1_000), 4, "the page grows again");
    }
}
