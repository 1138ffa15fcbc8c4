//! What one client has missed, read from a channel's history: everything within bounds, or nothing.

use std::sync::Arc;

use protocol::history::{Hole, Page};
use protocol::position::Position;
use protocol::publication::Publication;

/// How much one client may catch up with.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryLimits {
    /// Messages of one channel.
    pub messages: usize,
    /// Bytes of the frames that it takes, over all channels asked for at once.
    pub bytes: usize,
}

/// What a frame has besides its message: names, the position, and the channel's name up to a usual length.
const FRAME_BYTES: usize = 128;

/// Everything behind a client's position, up to the end of the history.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The messages, in order.
    pub publications: Vec<Arc<Publication>>,
    /// About how many bytes their frames have.
    pub bytes: usize,
    /// Where the history ended.
    pub position: Position,
}

/// Why a client does not continue where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRecovered {
    /// The history is another one, or has been trimmed or lost its end.
    #[error("the history does not continue from this place")]
    Lost,
    /// More is missing than may be recovered.
    #[error("more is missing than may be recovered")]
    TooMuch,
    /// The broker is out of reach, or too many are recovering.
    #[error("the history is out of reach")]
    Unavailable,
    /// The broker refuses to read it.
    #[error("the history cannot be read")]
    Unreadable,
}

impl NotRecovered {
    /// A short name for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::TooMuch => "too_much",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The link was lost before a history was read, which says nothing of the history: it is to be read again, over another
/// link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link was lost before the history was read")]
pub struct Interrupted;

/// Puts the pages of one recovery together.
#[derive(Debug)]
pub(super) struct Recovery {
    limits: RecoveryLimits,
    place: Position,
    publications: Vec<Arc<Publication>>,
    bytes: usize,
}

impl Recovery {
    pub(super) fn new(since: Position, limits: RecoveryLimits) -> Self {
        Self { limits, place: since, publications: Vec::new(), bytes: 0 }
    }

    /// The place behind which to read next.
    pub(super) fn place(&self) -> Position {
        self.place
    }

    /// Takes the page behind [`place`](Self::place). `Ok(true)` when it was the last.
    pub(super) fn take(&mut self, page: Page) -> Result<bool, NotRecovered> {
        let is_last = match page.prove(self.place) {
            Ok(()) => true,
            Err(Hole::TooMuch) => false,
            Err(Hole::Lost) => return Err(NotRecovered::Lost),
        };
        self.place = page.entries.last().map_or(page.tail, |entry| entry.position);
        for publication in page.entries.into_iter().filter_map(|entry| entry.publication) {
            self.bytes += publication.message().get().len() + FRAME_BYTES;
            self.publications.push(publication);
        }
        if self.publications.len() > self.limits.messages || self.bytes > self.limits.bytes {
            return Err(NotRecovered::TooMuch);
        }
        Ok(is_last)
    }

    pub(super) fn finish(self) -> Recovered {
        Recovered { publications: self.publications, bytes: self.bytes, position: self.place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::channel::ChannelName;
    use protocol::history::Entry;

    fn page(offsets: std::ops::RangeInclusive<u64>, tail: u64) -> Page {
        let entries = offsets.map(|offset| {
            let position = Position { epoch: 9, offset };
            let payload = format!("@{position} {offset}");
            let publication = Publication::decode(ChannelName::all(), payload.as_bytes(), 100).unwrap();
            Entry { position, after: None, publication: Some(Arc::new(publication)) }
        });
        Page { entries: entries.collect(), tail: Position { epoch: 9, offset: tail }, whole_since_ms: 0 }
    }

    const LIMITS: RecoveryLimits = RecoveryLimits { messages: 5, bytes: 5 * FRAME_BYTES + 7 };

    #[test]
    fn pages_are_put_together_up_to_the_end() {
        let mut recovery = Recovery::new(Position { epoch: 9, offset: 1 }, LIMITS);
        assert_eq!(recovery.take(page(2..=3, 4)), Ok(false));
        assert_eq!(recovery.place().offset, 3);
        assert_eq!(recovery.take(page(4..=5, 5)), Ok(true), "it has grown meanwhile");
        let recovered = recovery.finish();
        assert_eq!(recovered.publications.len(), 4);
        assert_eq!(recovered.position.offset, 5);
    }

    #[test]
    fn beyond_a_bound_nothing_is_recovered() {
        let many = Recovery::new(Position { epoch: 9, offset: 0 }, LIMITS).take(page(1..=6, 6));
        assert_eq!(many, Err(NotRecovered::TooMuch));
        let long = Recovery::new(Position { epoch: 9, offset: 9 }, LIMITS).take(page(10..=14, 14));
        assert_eq!(long, Err(NotRecovered::TooMuch));
    }
}
