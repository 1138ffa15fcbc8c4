//! Pages of a channel's history, and whether a page is complete.
//!
//! A page starts after a position. Arithmetic on positions shows whether a message is missing between that position and
//! the tail of the history, without any state of the reader. In doubt the history counts as lost.

use std::sync::Arc;

use super::position::Position;
use super::publication::Publication;

/// One message of a history.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The message's position in the history.
    pub position: Position,
    /// On the first message of an epoch that continues an older one (after a restart of the server that stores the
    /// history): the last position of the older epoch. `None` on all other messages.
    pub after: Option<Position>,
    /// `None` if the stored message cannot be delivered, for example because it is not JSON. Its position still
    /// counts.
    pub publication: Option<Arc<Publication>>,
}

/// The part of a history after a position, read in one atomic step.
#[derive(Debug, Clone)]
pub struct Page {
    /// The messages in order, at most the requested number.
    pub entries: Vec<Entry>,
    /// The last position of the history; without a history, [`Position::before`] the time of the read.
    pub tail: Position,
    /// The Unix time in milliseconds from which on the data is complete: no history that began later has expired or
    /// been deleted.
    pub whole_since_ms: u64,
}

/// The tail of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The position of the last message.
    At(Position),
    /// The channel has no history.
    Nothing,
}

/// How far a page follows a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The entries are all messages between the two positions.
    Complete,
    /// No message is missing up to this position, and more entries must be read.
    Partial(Position),
}

/// The history does not continue after a position: it was replaced or trimmed, or lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the history does not continue from this position")]
pub struct HistoryLost;

impl Page {
    /// Whether the entries up to `until` are all messages between `since` and `until`. Entries after `until` are
    /// ignored. The history up to `until` never changes, so a page may be read at any time and more than once.
    ///
    /// # Errors
    /// A message between the two positions was lost, or may have been lost.
    pub fn prove(&self, since: Position, until: Position) -> Result<Proof, HistoryLost> {
        // A position with offset 0 says only that there was no history at that time. A later history may have been
        // created and removed, unless the data is complete from that time on.
        let is_complete_since = self.whole_since_ms <= since.epoch;
        let mut position = since;
        for entry in self.entries_until(until) {
            let begins = position.is_beginning() && entry.position.epoch != position.epoch;
            if !entry.follows(position) || (begins && !is_complete_since) {
                return Err(HistoryLost);
            }
            position = entry.position;
        }
        let has_no_entry = position == since;
        let had_no_history =
            has_no_entry && since.is_beginning() && until.is_beginning() && is_complete_since;
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
            // Messages after `until` do not matter.
            ("1000-41", &[("1000-42", None), ("1000-43", None)], "1000-42"),
            // There was no history at `since`; it began later.
            ("900-0", &[("1000-1", None), ("1000-2", None)], "1000-2"),
            ("1000-0", &[("1000-1", None)], "1000-1"),
            // There was no history at `since` and none at `until`.
            ("900-0", &[], "1200-0"),
            ("900-0", &[("1300-1", None)], "1200-0"),
            // The server restarted and stored the last position of the older epoch.
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
            // Trimmed after the position.
            ("1000-41", &[("1000-43", None)][..], "1000-43"),
            ("900-0", &[("1000-2", None)], "1000-2"),
            // A message in between was deleted.
            ("1000-41", &[("1000-42", None), ("1000-44", None)], "1000-44"),
            // Another history: the first one expired, was deleted, or is on another server.
            ("1000-41", &[("2000-1", None)], "2000-1"),
            ("1000-41", &[], "1200-0"),
            // The end of the history was lost in a failover.
            ("1000-43", &[], "1000-42"),
            ("1000-43", &[("2000-1", Some("1000-42"))], "2000-1"),
            // The message at `until` is missing; later messages exist.
            ("1000-41", &[("1000-42", None), ("2000-1", None)], "1000-43"),
            ("1000-41", &[("1000-44", None)], "1000-42"),
            // The history began before `since`, where there was none.
            ("1001-0", &[], "1000-5"),
            // A history may have been created and deleted since.
            ("400-0", &[], "1200-0"),
            // Another history may have existed before this one.
            ("400-0", &[("1000-1", None)], "1000-1"),
        ] {
            let proof = page(entries).prove(at(since), at(until));
            assert_eq!(proof, Err(HistoryLost), "{since} {entries:?} {until}");
        }
    }
}
