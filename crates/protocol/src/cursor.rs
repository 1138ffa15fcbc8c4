//! How far one reader has followed a channel.

use crate::position::Position;

/// The position up to which one reader has had everything of a channel.
///
/// The link's follower and the hub both keep one for each channel, so "what has this reader had?" has one answer and
/// one vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelCursor {
    position: Position,
}

/// How a durable message stands to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The very next one.
    Next,
    /// The reader has had it.
    Past,
    /// Messages before it are missing, or the history is another one.
    Hole,
}

impl ChannelCursor {
    /// Everything up to `position` was had.
    pub const fn at(position: Position) -> Self {
        Self { position }
    }

    /// The position up to which everything was had.
    pub const fn position(self) -> Position {
        self.position
    }

    /// Whether the channel had a history when the cursor was set. Without one nothing says what was published while
    /// nobody listened.
    pub const fn has_history(self) -> bool {
        !self.position.is_beginning()
    }

    /// How the message at `next` stands to the cursor, on a stream that was not interrupted since.
    ///
    /// Redis sends what is published in order and once. So nothing can have come before the first message of a
    /// younger epoch.
    pub fn step(self, next: Position) -> Step {
        let begins_anew = next.offset == 1 && next.epoch > self.position.epoch;
        if begins_anew || self.position.is_followed_by(next, None) {
            Step::Next
        } else if self.covers(next) {
            Step::Past
        } else {
            Step::Hole
        }
    }

    /// Whether `position` lies in the cursor's own epoch and not behind it.
    pub const fn covers(self, position: Position) -> bool {
        position.epoch == self.position.epoch && position.offset <= self.position.offset
    }

    /// Moves the cursor to a message that was had.
    pub const fn advance(&mut self, position: Position) {
        self.position = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    #[test]
    fn a_message_is_the_next_one_or_past_or_behind_a_hole() {
        for (cursor, next, step) in [
            ("1000-41", "1000-42", Step::Next),
            ("1000-41", "1000-41", Step::Past),
            ("1000-41", "1000-7", Step::Past),
            ("1000-41", "1000-43", Step::Hole),
            // The history was lost or has expired, and a new one begins.
            ("1000-41", "2000-1", Step::Next),
            ("1000-41", "2000-2", Step::Hole),
            ("1000-41", "900-1", Step::Hole),
            // No history was there when the cursor was set.
            ("900-0", "1000-1", Step::Next),
            ("900-0", "900-1", Step::Next),
            ("900-0", "1000-2", Step::Hole),
        ] {
            assert_eq!(ChannelCursor::at(at(cursor)).step(at(next)), step, "{cursor} {next}");
        }
    }
}
