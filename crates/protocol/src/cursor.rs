//! How far one reader has followed a channel.

use crate::position::Position;

/// The position up to which one reader has received everything on a channel.
///
/// The follower of the link and the hub each keep one cursor for each channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelCursor {
    position: Position,
}

/// Where a durable message is relative to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorStep {
    /// The message directly after the cursor.
    Next,
    /// The reader has already received it.
    Past,
    /// Messages before it are missing, or it belongs to another history.
    Hole,
}

impl ChannelCursor {
    /// A cursor of a reader that has received everything up to `position`.
    pub const fn at(position: Position) -> Self {
        Self { position }
    }

    /// The position up to which the reader has received everything.
    pub const fn position(self) -> Position {
        self.position
    }

    /// Whether the channel had a history when the cursor was set. Without a history, messages published while nobody
    /// was subscribed cannot be detected.
    pub const fn has_history(self) -> bool {
        !self.position.is_beginning()
    }

    /// Where the message at `next` is relative to the cursor, if the subscription was not interrupted since.
    ///
    /// Redis sends each publication once and in order, so no message precedes the first one of a newer epoch.
    pub fn step(self, next: Position) -> CursorStep {
        let starts_new_epoch = next.offset == 1 && next.epoch > self.position.epoch;
        if starts_new_epoch || self.position.is_followed_by(next, None) {
            CursorStep::Next
        } else if self.covers(next) {
            CursorStep::Past
        } else {
            CursorStep::Hole
        }
    }

    /// Whether `position` is in the cursor's epoch and not after the cursor.
    pub const fn covers(self, position: Position) -> bool {
        position.epoch == self.position.epoch && position.offset <= self.position.offset
    }

    /// Moves the cursor to a message that the reader has received.
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
    fn a_message_is_next_or_past_or_after_a_hole() {
        for (cursor, next, step) in [
            ("1000-41", "1000-42", CursorStep::Next),
            ("1000-41", "1000-41", CursorStep::Past),
            ("1000-41", "1000-7", CursorStep::Past),
            ("1000-41", "1000-43", CursorStep::Hole),
            // The history was lost or expired, and a new one begins.
            ("1000-41", "2000-1", CursorStep::Next),
            ("1000-41", "2000-2", CursorStep::Hole),
            ("1000-41", "900-1", CursorStep::Hole),
            // There was no history when the cursor was set.
            ("900-0", "1000-1", CursorStep::Next),
            ("900-0", "900-1", CursorStep::Next),
            ("900-0", "1000-2", CursorStep::Hole),
        ] {
            assert_eq!(ChannelCursor::at(at(cursor)).step(at(next)), step, "{cursor} {next}");
        }
    }
}
