//! Messages from a client to the backend: op 16, acknowledged by op 17.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::channel::ChannelName;
use super::command::{MalformedCommand, check_request_id, check_value};

/// Op 16 from a client, with a channel that is not yet validated.
#[derive(Debug, Clone, Deserialize)]
pub struct SendCommand<'a> {
    /// The id that the answer repeats: 1 to [`MAX_REQUEST_ID_BYTES`](crate::members::MAX_REQUEST_ID_BYTES) bytes. A
    /// repeated id of a user is one message.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The name as the client sent it.
    #[serde(borrow)]
    pub channel: Cow<'a, str>,
    /// The message, byte for byte.
    #[serde(borrow)]
    pub message: &'a RawValue,
}

impl<'a> SendCommand<'a> {
    /// Parses a JSON object with op 16.
    pub(super) fn parse(text: &'a str) -> Result<Self, MalformedCommand> {
        let command: Self = serde_json::from_str(text).map_err(|_| MalformedCommand)?;
        check_request_id(&command.id)?;
        check_value(command.message)?;
        Ok(command)
    }
}

impl PartialEq for SendCommand<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.channel, self.message.get()) == (&other.id, &other.channel, other.message.get())
    }
}

impl Eq for SendCommand<'_> {}

/// A message of a client that the backend is to receive.
#[derive(Debug, Clone)]
pub struct ClientMessage {
    /// The id that the client chose; the answer repeats it.
    pub id: Box<str>,
    /// The channel; its namespace allows messages, and the session is subscribed or may subscribe.
    pub channel: ChannelName,
    /// The message, byte for byte.
    pub message: Box<RawValue>,
}

impl PartialEq for ClientMessage {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.channel, self.message.get()) == (&other.id, &other.channel, other.message.get())
    }
}

impl Eq for ClientMessage {}

/// Why a client's message is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The channel takes no messages of this session.
    NotAllowed,
    /// The user has sent another message with this id.
    IdReused,
    /// The inbox is full, or the session has too many messages without an answer.
    Busy {
        /// The time after which the client may send the message again, in milliseconds.
        after_ms: u64,
    },
    /// It is unknown whether the inbox has the message. The client may send it again with the same id.
    Unavailable,
}
