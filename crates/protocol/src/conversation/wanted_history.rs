//! What a subscription wants from the history of its channel.

use super::Rules;
use crate::channel::ChannelName;
use crate::position::Position;

/// The messages that a client wants before the live ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedHistory {
    /// None.
    Nothing,
    /// All messages that it missed.
    Since(ResumePoint),
    /// The newest ones, at most this number, which is not 0.
    Last(u32),
}

/// The client's `since`: where to resume a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumePoint {
    /// Resume after this position in the channel's history.
    Position(Position),
    /// The text is not a position, so no message can be recovered.
    Invalid,
}

impl WantedHistory {
    /// What a client asks for: `since` takes precedence over `last`, of which the channel's namespace has a maximum.
    pub(super) fn new(
        rules: &Rules,
        channel: &ChannelName,
        since: Option<ResumePoint>,
        last: Option<u32>,
    ) -> Self {
        match (since, last.map(|last| last.min(rules.namespaces.of(channel).max_last))) {
            (Some(since), _) => Self::Since(since),
            (None, Some(last @ 1..)) => Self::Last(last),
            (None, Some(0) | None) => Self::Nothing,
        }
    }

    /// What two requests for one channel ask for together. The first `since` takes precedence, then the greater
    /// `last`.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Since(_), _) | (_, Self::Nothing) => self,
            (Self::Last(one), Self::Last(other)) => Self::Last(one.max(other)),
            (Self::Nothing | Self::Last(_), _) => other,
        }
    }
}

impl ResumePoint {
    pub(super) fn parse(text: &str) -> Self {
        Position::parse(text).map_or(Self::Invalid, Self::Position)
    }
}
