//! The history of a channel, and what a page of it proves.
//!
//! A page starts after a position. Arithmetic on positions then shows whether anything is missing between that position
//! and the end of the history; no state of the reader is needed. What cannot be proven is not claimed.

use std::sync::Arc;

use super::position::Position;
use super::publication::Publication;

/// One message of a history.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its position in the history.
    pub position: Position,
    /// On the first message of an epoch that continues an older one (after a restart of the server that keeps
    /// the history): the last position of the older epoch, as the server knew it then.
    pub after: Option<Position>,
    /// `None` when the stored message cannot be delivered, for example because it is not JSON. Its position still
    /// counts.
    pub publication: Option<Arc<Publication>>,
}

/// The part of a history after a position, read in one atomic step.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages, in order, up to the requested number.
    pub entries: Vec<Entry>,
    /// The last position of the history; without a history, [`Position::before`] the time of the read.
    pub tail: Position,
    /// The time, in Unix milliseconds, since when the data has been whole: no history that began later can have
    /// expired or been deleted.
    pub whole_since_ms: u64,
}

/// Where a history ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// At its last message.
    At(Position),
    /// The channel has no history.
    Nothing,
}

/// How far a page follows a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The entries are everything between the two positions.
    Complete,
    /// The entries follow without a hole up to here, and there is more to read.
    Partial(Position),
}

/// The history does not continue from a position: it was replaced or trimmed, or has lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the history does not continue from this position")]
pub struct HistoryLost;

impl Page {
    /// Whether the entries up to `until` are everything between `since` and `until`. Entries after `until` are ignored.
    /// History up to `until` is immutable, so a page may be read at any time and more than once.
    ///
    /// # Errors
    /// Something between the two was lost, or may have been.
    pub fn prove(&self, since: Position, until: Position) -> Result<Proof, HistoryLost> {
        // A beginning says only that there was no history at that time. Whether a later one was created and removed is
        // known only while the data is whole.
        let is_whole = self.whole_since_ms <= since.epoch;
        let mut position = since;
        for entry in self.entries_until(until) {
            let begins = position.is_beginning() && entry.position.epoch != position.epoch;
            if !entry.follows(position) || (begins && !is_whole) {
                return Err(HistoryLost);
            }
            position = entry.position;
        }
        let has_no_entry = position == since;
        let had_no_history = has_no_entry && since.is_beginning() && until.is_beginning() && is_whole;
        if had_no_history || (position == until && !until.is_beginning()) {
            Ok(Proof::Complete)
        } else if has_no_entry || self.entries.last().is_none_or(|last| last.position > until) {
            Err(HistoryLost)
        } else {
            Ok(Proof::Partial(position))
        }
    }

    /// The entries up to and including `until`.
    pub fn entries_until(&self, until: Position) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take_while(move |entry| entry.position <= until)
    }
}

impl Entry {
    /// Whether this is the message directly after `position`.
    pub fn follows(&self, position: Position) -> bool {
        position.is_followed_by(self.position, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    fn page(entries: &[(&str, Option<&str>)]) -> Page {
        let entries = entries.iter().map(|(position, after)| Entry {
            position: at(position),
            after: after.map(at),
            publication: None,
        });
        Page { entries: entries.collect(), tail: at("9000-1"), whole_since_ms: 500 }
    }

    #[test]
    fn entries_without_a_hole_are_complete() {
        for (since, entries, until) in [
            ("1000-41", &[("1000-42", None), ("1000-43", None)][..], "1000-43"),
            // What was published behind the end that is asked for does not matter.
            ("1000-41", &[("1000-42", None), ("1000-43", None)], "1000-42"),
            // Nothing was there when the client was told its position; the history began later.
            ("900-0", &[("1000-1", None), ("1000-2", None)], "1000-2"),
            ("1000-0", &[("1000-1", None)], "1000-1"),
            // Nothing was there and nothing was there later.
            ("900-0", &[], "1200-0"),
            ("900-0", &[("1300-1", None)], "1200-0"),
            // The server was restarted and says itself what it had.
            ("1000-41", &[("1000-42", None), ("2000-1", Some("1000-42"))], "2000-1"),
            ("1000-42", &[("2000-1", Some("1000-42")), ("2000-2", None)], "2000-2"),
        ] {
            let proof = page(entries).prove(at(since), at(until));
            assert_eq!(proof, Ok(Proof::Complete), "{since} {entries:?} {until}");
        }
    }

    #[test]
    fn a_short_page_is_complete_up_to_its_last_entry() {
        let proof = page(&[("1000-42", None)]).prove(at("1000-41"), at("1000-43"));
        assert_eq!(proof, Ok(Proof::Partial(at("1000-42"))));
    }

    #[test]
    fn anything_else_is_a_lost_history() {
        for (since, entries, until) in [
            // Trimmed past the position.
            ("1000-41", &[("1000-43", None)][..], "1000-43"),
            ("900-0", &[("1000-2", None)], "1000-2"),
            // One deleted in between.
            ("1000-41", &[("1000-42", None), ("1000-44", None)], "1000-44"),
            // Another history: expired, deleted, or another server.
            ("1000-41", &[("2000-1", None)], "2000-1"),
            ("1000-41", &[], "1200-0"),
            // Its end was lost in a failover.
            ("1000-43", &[], "1000-42"),
            ("1000-43", &[("2000-1", Some("1000-42"))], "2000-1"),
            // The end that is asked for is gone, though later messages are there.
            ("1000-41", &[("1000-42", None), ("2000-1", None)], "1000-43"),
            ("1000-41", &[("1000-44", None)], "1000-42"),
            // It began before the client was told that there was none.
            ("1001-0", &[], "1000-5"),
            // Everything may have been deleted since.
            ("400-0", &[], "1200-0"),
            // This may not be the first history since then.
            ("400-0", &[("1000-1", None)], "1000-1"),
        ] {
            let proof = page(entries).prove(at(since), at(until));
            assert_eq!(proof, Err(HistoryLost), "{since} {entries:?} {until}");
        }
    }
}
