//! What a link does besides following its channels. Where there is one link, it has all duties.

/// The duties of a link. Each concerns a key or a channel that is on one server, and exactly one link has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duties {
    /// Receives the writes to many users at once.
    pub(super) users: bool,
    /// Keeps the lease, reports, and reads the presence of users and rooms.
    pub(super) presence: bool,
    /// Follows commands and revocations.
    pub(super) control: bool,
    /// Counts the entries of the inbox.
    pub(super) inbox: bool,
    /// Records rejected payloads.
    pub(super) rejected: bool,
}

impl Duties {
    pub(super) const ALL: Self =
        Self { users: true, presence: true, control: true, inbox: true, rejected: true };
}
