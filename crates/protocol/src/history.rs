//! What is kept of a channel, and what can be proven from it.
//!
//! A history is read behind a place; whether nothing is missing between that place and its end is then a
//! matter of arithmetic, with no memory of the reader needed. Where it cannot be proven it is not claimed.

use std::sync::Arc;

use super::position::Position;
use super::publication::Publication;

/// One message of a history.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub position: Position,
    /// On the first message of an epoch that continues an older one (after a restart of the server that keeps
    /// the history): the last place of the older one, as the server knew it then.
    pub after: Option<Position>,
    /// `None` when what was stored cannot be delivered to anybody, for example because it is not JSON. Its
    /// place still counts.
    pub publication: Option<Arc<Publication>>,
}

/// What stands in a history behind a place, read in one atomic step.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, in order; no more than were asked for.
    pub entries: Vec<Entry>,
    /// The last place of the history; [`Position::before`] the present when there is none.
    pub tail: Position,
    /// From this Unix time in milliseconds on, no history can have come and gone unseen: it is neither older
    /// than what is kept, nor was everything deleted since.
    pub whole_since_ms: u64,
}

/// Where a history ends, as far as that could be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Here.
    At(Position),
    /// There is no history.
    Nothing,
    /// Whoever keeps it did not say. It may be there or not: nothing follows from that.
    Unreadable,
}

/// Why nothing can be said about what stands behind a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Hole {
    /// The history is another one, or has lost its end, or its beginning was trimmed.
    #[error("the history does not continue from this place")]
    Lost,
    /// More is missing than may be read.
    #[error("more is missing than may be recovered")]
    TooMuch,
}

impl Page {
    /// Whether the entries are everything between `since` and the tail, without a hole.
    pub fn prove(&self, since: Position) -> Result<(), Hole> {
        // A place before the beginning says only that there was no history then. Whether one has come and gone
        // since, only the whole can tell.
        let is_whole = self.whole_since_ms <= since.epoch;
        let mut place = since;
        for entry in &self.entries {
            let begins = place.is_beginning() && entry.position.epoch != place.epoch;
            if !entry.follows(place) || (begins && !is_whole) {
                return Err(Hole::Lost);
            }
            place = entry.position;
        }
        let nothing_yet =
            self.entries.is_empty() && since.is_beginning() && self.tail.is_beginning() && is_whole;
        if nothing_yet || (place == self.tail && !self.tail.is_beginning()) {
            Ok(())
        } else if self.entries.is_empty() {
            Err(Hole::Lost)
        } else {
            Err(Hole::TooMuch)
        }
    }
}

impl Entry {
    /// Whether this is the very next message behind `place`.
    pub fn follows(&self, place: Position) -> bool {
        place.is_followed_by(self.position, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    fn page(entries: &[(&str, Option<&str>)], tail: &str) -> Page {
        let entries = entries.iter().map(|(position, after)| Entry {
            position: at(position),
            after: after.map(at),
            publication: None,
        });
        Page { entries: entries.collect(), tail: at(tail), whole_since_ms: 500 }
    }

    #[test]
    fn what_follows_without_a_hole_is_proven() {
        for (since, entries, tail) in [
            ("1000-41", &[("1000-42", None), ("1000-43", None)][..], "1000-43"),
            ("1000-43", &[], "1000-43"),
            // Nothing was there when the client was told its position; the history began later.
            ("900-0", &[("1000-1", None), ("1000-2", None)], "1000-2"),
            ("1000-0", &[("1000-1", None)], "1000-1"),
            // Nothing was there and nothing is.
            ("900-0", &[], "1200-0"),
            // The server was restarted and says itself what it had.
            ("1000-41", &[("1000-42", None), ("2000-1", Some("1000-42"))], "2000-1"),
            ("1000-42", &[("2000-1", Some("1000-42")), ("2000-2", None)], "2000-2"),
        ] {
            assert_eq!(page(entries, tail).prove(at(since)), Ok(()), "{since} {entries:?} {tail}");
        }
    }

    #[test]
    fn anything_else_is_a_hole() {
        for (since, entries, tail, hole) in [
            // Trimmed past us.
            ("1000-41", &[("1000-43", None)][..], "1000-43", Hole::Lost),
            ("900-0", &[("1000-2", None)], "1000-2", Hole::Lost),
            // One deleted in between.
            ("1000-41", &[("1000-42", None), ("1000-44", None)], "1000-44", Hole::Lost),
            // Another history: expired, deleted, or another server.
            ("1000-41", &[("2000-1", None)], "2000-1", Hole::Lost),
            ("1000-41", &[], "1200-0", Hole::Lost),
            // Its end was lost in a failover.
            ("1000-43", &[], "1000-42", Hole::Lost),
            ("1000-43", &[("2000-1", Some("1000-42"))], "2000-1", Hole::Lost),
            // It began before the client was told that there was none.
            ("1001-0", &[], "1000-5", Hole::Lost),
            // Everything may have been deleted since.
            ("400-0", &[], "1200-0", Hole::Lost),
            // So may what came within this millisecond.
            ("400-0", &[], "400-0", Hole::Lost),
            // This may not be the first history since then.
            ("400-0", &[("1000-1", None)], "1000-1", Hole::Lost),
            // There is more.
            ("1000-41", &[("1000-42", None)], "1000-43", Hole::TooMuch),
        ] {
            assert_eq!(page(entries, tail).prove(at(since)), Err(hole), "{since} {entries:?} {tail}");
        }
    }
}
