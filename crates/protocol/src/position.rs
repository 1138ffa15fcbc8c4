//! Positions in the history of a channel.

use std::fmt;

use serde::{Serialize, Serializer};

/// A position in a channel's history: `<epoch>-<offset>`. Clients treat it as an opaque text.
///
/// The epoch is the time at which this count began; the offset numbers the messages of the epoch from 1 without holes.
/// Arithmetic therefore shows whether a message is missing between two positions. The messages after a loss have another
/// epoch.
///
/// Positions of one history grow with time, by epoch and then by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The time at which the count of offsets began, in Unix milliseconds.
    pub epoch: u64,
    /// The number of the message in its epoch; 0 before the first.
    pub offset: u64,
}

impl Position {
    /// The position before the first message of a history that begins at `unix_ms` or later.
    pub const fn before(unix_ms: u64) -> Self {
        Self { epoch: unix_ms, offset: 0 }
    }

    /// Whether this position is before the first message of its history.
    pub const fn is_beginning(self) -> bool {
        self.offset == 0
    }

    /// Whether the message at `next` is directly after this position. `after` is the last position of the older epoch
    /// if the message is the first of an epoch that continues an older one.
    pub fn is_followed_by(self, next: Self, after: Option<Self>) -> bool {
        let is_successor = next.epoch == self.epoch && self.offset.checked_add(1) == Some(next.offset);
        // The first message of a history that began after this position.
        let is_first = self.is_beginning() && next.offset == 1 && next.epoch >= self.epoch && after.is_none();
        is_successor || is_first || after == Some(self)
    }

    /// Parses `<epoch>-<offset>`: two decimal numbers without sign or leading zeros, so that each position has one
    /// text form. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('-')?;
        Some(Self { epoch: parse_number(epoch)?, offset: parse_number(offset)? })
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let is_canonical =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if is_canonical { text.parse().ok() } else { None }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_text_form() {
        let position = Position { epoch: 1_732_390_000_000, offset: 41 };
        assert_eq!(Position::parse("1732390000000-41"), Some(position));
        assert_eq!(position.to_string(), "1732390000000-41");
        assert_eq!(Position::parse("0-0"), Some(Position::before(0)));
        for wrong in
            ["", "-", "1-", "-1", "1-+2", "01-2", "1-02", "1-2-3", "a-1", "1 -2", "99999999999999999999-1"]
        {
            assert_eq!(Position::parse(wrong), None, "{wrong:?}");
        }
    }
}
