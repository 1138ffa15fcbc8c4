//! The inbox: messages of clients for the backend.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Broker;
use protocol::SessionId;
use protocol::channel::ChannelName;
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;
use protocol::publication::PayloadError;

/// About the most bytes of a page.
pub(super) const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The limits of the inbox.
#[derive(Debug, Clone, Copy)]
pub struct InboxOptions {
    /// The inbox accepts no message while it has so many entries.
    pub max_entries: usize,
    /// Whether any namespace lets clients send, so the number of entries is watched.
    pub is_used: bool,
}

/// One message of a client for the backend.
#[derive(Debug, Clone, Copy)]
pub struct InboxMessage<'a> {
    /// The sender's user id.
    pub user: &'a str,
    /// The sender's session.
    pub session: SessionId,
    /// The channel that the client named.
    pub channel: &'a ChannelName,
    /// The client's id of the message, 1 to 64 bytes. Repeated within `broker.idempotency_window`, it adds nothing.
    pub id: &'a str,
    /// The message, stored byte for byte.
    pub message: &'a RawValue,
}

/// Why a message of a client was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxSendError {
    /// The inbox is full, or too many messages wait for Redis. Nothing was stored.
    #[error("the inbox is full")]
    Full,
    /// The user sent another message with this id. Nothing was stored.
    #[error("this id was used with another message")]
    IdReused,
    /// Backends could not read the message. Nothing was stored.
    #[error("{0}")]
    BadMessage(PayloadError),
    /// Redis cannot be reached, or did not answer in time. The message may have been stored, or may still be.
    #[error("Redis did not answer; the message may have been stored")]
    Unavailable,
    /// Redis answered with this error. Nothing was stored.
    #[error("Redis refused the message: {0}")]
    Refused(String),
}

/// Why the inbox cannot be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// There is no connection to Redis.
    #[error("there is no connection to Redis")]
    Unavailable,
    /// Redis did not answer within `broker.response_timeout`.
    #[error("Redis did not answer within broker.response_timeout")]
    Timeout,
    /// Redis answered with this error.
    #[error("Redis refused the request: {0}")]
    Refused(String),
}

/// The id of an entry in the inbox: `<milliseconds>-<number>`, as Redis writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(Position);

impl EntryId {
    pub(super) const fn new(unix_ms: u64, number: u64) -> Self {
        Self(Position { epoch: unix_ms, offset: number })
    }

    /// The least id above this one; `None` after the last.
    pub(super) const fn next(self) -> Option<Self> {
        match (self.0.epoch.checked_add(1), self.0.offset.checked_add(1)) {
            (_, Some(number)) => Some(Self::new(self.0.epoch, number)),
            (Some(unix_ms), None) => Some(Self::new(unix_ms, 0)),
            (None, None) => None,
        }
    }

    /// Parses the text form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Position::parse(text).map(Self)
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// An entry of the inbox.
#[derive(Debug, Clone, Serialize)]
pub struct InboxEntry {
    /// The id of the entry.
    pub entry: EntryId,
    /// The sender's user id.
    pub user: Box<str>,
    /// The sender's session, 32 hexadecimal digits.
    pub session: Box<str>,
    /// The channel that the client named.
    pub channel: Box<str>,
    /// The client's id of the message.
    pub id: Box<str>,
    /// The message, byte for byte.
    pub message: Box<RawValue>,
    /// When the message was stored, in Unix milliseconds.
    pub at: u64,
}

/// A page of the inbox, the oldest entry first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InboxPage {
    /// The entries.
    pub messages: Vec<InboxEntry>,
    /// The `after` of the next page; `None`: this is the last page.
    pub next: Option<EntryId>,
}

impl Broker {
    /// Puts a client's message into the inbox. Waits for the answer until `broker.response_timeout`; meanwhile the
    /// message is sent again if the connection is replaced.
    ///
    /// # Errors
    /// The message is not acknowledged. A later call with the same user and id is safe.
    pub async fn send(&self, message: &InboxMessage<'_>) -> Result<(), InboxSendError> {
        match self {
            Self::Memory(broker) => broker.send(message),
            Self::Redis(broker) => broker.send(message).await,
        }
    }

    /// A page of the inbox: at most `limit` entries after `after`.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn inbox(&self, after: Option<EntryId>, limit: usize) -> Result<InboxPage, InboxError> {
        match self {
            Self::Memory(broker) => Ok(broker.inbox(after, limit)),
            Self::Redis(broker) => broker.inbox(after, limit).await,
        }
    }

    /// Deletes the entries up to and including `through`. Returns how many.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn delete_inbox(&self, through: EntryId) -> Result<u64, InboxError> {
        match self {
            Self::Memory(broker) => Ok(broker.delete_inbox(through)),
            Self::Redis(broker) => broker.delete_inbox(through).await,
        }
    }
}

/// Refuses messages that a backend's parser could not read.
pub(super) fn check_message(message: &InboxMessage<'_>, limits: PayloadLimits) -> Result<(), InboxSendError> {
    limits.check_text(message.message.get()).map_err(InboxSendError::BadMessage)
}

/// The note in `/readyz` while the inbox is full.
pub(super) fn full_note(entries: u64, max_entries: u64) -> Option<String> {
    (entries >= max_entries).then(|| {
        format!(
            "inbox: full with {entries} entries (inbox.max_entries is {max_entries}): clients get `busy` until \
             the backend deletes what it has processed"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_the_least_above() {
        for (id, next) in [
            ("1-0", Some("1-1")),
            ("1-18446744073709551615", Some("2-0")),
            ("18446744073709551615-18446744073709551615", None),
        ] {
            assert_eq!(EntryId::parse(id).unwrap().next(), next.and_then(EntryId::parse), "{id}");
        }
    }
}
