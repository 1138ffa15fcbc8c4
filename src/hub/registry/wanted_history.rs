//! What a subscription wants from the history of its channel.

use protocol::conversation::ResumePoint;

/// The messages that a client wants before the live ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedHistory {
    /// None.
    Nothing,
    /// All messages that it missed.
    Since(ResumePoint),
    /// The newest ones, at most this number.
    Last(u32),
}

impl WantedHistory {
    /// What a request wants: `since` takes precedence over `last`, and a `last` of 0 is none.
    pub const fn new(since: Option<ResumePoint>, last: u32) -> Self {
        match (since, last) {
            (Some(since), _) => Self::Since(since),
            (None, 0) => Self::Nothing,
            (None, last) => Self::Last(last),
        }
    }
}

impl From<Option<ResumePoint>> for WantedHistory {
    fn from(since: Option<ResumePoint>) -> Self {
        Self::new(since, 0)
    }
}
