//! Commands: the frames that a client may send.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Version;
use super::client_message::SendCommand;
use super::history_page::HistoryCommand;
use super::members::{MAX_REQUEST_ID_BYTES, MembersCommand};
use super::payload_limits::PayloadLimits;
use super::signal::SignalCommand;

/// The opcodes of both directions.
pub mod op {
    #![allow(missing_docs, reason = "docs/protocol.md has the table of the opcodes")]
    pub const HELLO: u64 = 0;
    pub const IDENTIFY: u64 = 1;
    pub const READY: u64 = 2;
    pub const MESSAGE: u64 = 3;
    pub const SUBSCRIBE: u64 = 4;
    pub const UNSUBSCRIBE: u64 = 5;
    pub const SUBSCRIPTION: u64 = 6;
    pub const RECONNECT: u64 = 7;
    pub const GAP: u64 = 8;
    pub const ERROR: u64 = 9;
    pub const HEARTBEAT: u64 = 10;
    pub const HEARTBEAT_ACK: u64 = 11;
    pub const REFRESH: u64 = 12;
    pub const REFRESHED: u64 = 13;
    pub const ROOM: u64 = 14;
    pub const MEMBERS: u64 = 15;
    pub const SEND: u64 = 16;
    pub const SENT: u64 = 17;
    pub const SIGNAL: u64 = 18;
    pub const HISTORY: u64 = 19;
    pub const HISTORY_PAGE: u64 = 20;
}

/// The maximum number of channels in one Identify, Subscribe or Unsubscribe, unless a session may have more
/// subscriptions.
pub const MAX_LISTED_CHANNELS: usize = 1_000;

/// One parsed frame from a client. Texts borrow from the frame unless they contain escapes.
#[derive(Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// Op 1: the token of the user, and in version 2 the channels to subscribe to.
    Identify {
        /// The login token. Never logged.
        token: Cow<'a, str>,
        /// The channels to subscribe to in addition to the session's own. Empty in version 1.
        channels: Vec<ChannelRequest<'a>>,
    },
    /// Op 4.
    Subscribe {
        /// The channels: one, unless this is a batch; never none.
        channels: Vec<ChannelRequest<'a>>,
        /// Whether the client sent a list, which is answered by a list.
        is_batch: bool,
    },
    /// Op 5.
    Unsubscribe {
        /// The names as the client sent them, not yet validated: one, unless this is a batch; never none.
        channels: Vec<Cow<'a, str>>,
        /// Whether the client sent a list, which is answered by a list.
        is_batch: bool,
    },
    /// Op 10: the gateway answers with op 11.
    Heartbeat {
        /// The JSON number in `time`, returned to the client byte for byte.
        time: Option<&'a str>,
    },
    /// Op 11: the answer to the gateway's own op 10.
    HeartbeatAck,
    /// Op 12: a newer token for the same user.
    Refresh {
        /// The login token. Never logged.
        token: Cow<'a, str>,
    },
    /// Op 15: a page of the members of a channel.
    Members(MembersCommand<'a>),
    /// Op 16: a message for the backend.
    Send(SendCommand<'a>),
    /// Op 18: a signal for the other sessions of a channel.
    Signal(SignalCommand<'a>),
    /// Op 19: a page of the history of a channel.
    History(HistoryCommand<'a>),
}

/// A channel that a client requests, not yet validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRequest<'a> {
    /// The name as the client sent it.
    pub channel: Cow<'a, str>,
    /// The position after which the client wants to continue.
    pub since: Option<Cow<'a, str>>,
    /// The number of the last durable messages that the client wants first.
    pub last: Option<u32>,
}

impl std::fmt::Debug for Command<'_> {
    /// Prints only the name of the op: tokens must not appear in logs or test output.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Identify { .. } => "Identify",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe { .. } => "Unsubscribe",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::HeartbeatAck => "HeartbeatAck",
            Self::Refresh { .. } => "Refresh",
            Self::Members(_) => "Members",
            Self::Send(_) => "Send",
            Self::Signal(_) => "Signal",
            Self::History(_) => "History",
        })
    }
}

/// The frame is not a command of this version. The session closes with 4001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed command")]
pub struct MalformedCommand;

/// The fields of every op up to op 12, and of a channel in a list. They stay raw JSON, so that only the ops that use
/// a field validate it.
#[derive(Deserialize)]
struct CommandFields<'a> {
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    op: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    token: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    since: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    last: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    time: Option<&'a RawValue>,
}

/// Distinguishes `null`, which has the wrong type, from an absent field.
fn deserialize_present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Command<'a> {
    /// Parses a text message. Unknown fields are ignored. A duplicate known field is an error, and so are more than
    /// [`MAX_LISTED_CHANNELS`] channels in a list.
    pub fn parse(version: Version, text: &'a str) -> Result<Self, MalformedCommand> {
        Self::parse_within(version, text, MAX_LISTED_CHANNELS)
    }

    /// Like [`parse`](Self::parse), with another limit on the channels in a list. Parsing stops at the limit.
    pub fn parse_within(
        version: Version,
        text: &'a str,
        max_channels: usize,
    ) -> Result<Self, MalformedCommand> {
        if is_plain_heartbeat_ack(text) {
            return Ok(Self::HeartbeatAck);
        }
        let fields = CommandFields::read(text)?;
        let number: u64 = fields.op.ok_or(MalformedCommand)?.get().parse().map_err(|_| MalformedCommand)?;
        match (number, version) {
            (op::IDENTIFY, Version::V1) if fields.channels.is_some() => Err(MalformedCommand),
            (op::IDENTIFY, _) => fields.identify(max_channels),
            (op::HEARTBEAT, _) => fields.heartbeat(),
            (op::HEARTBEAT_ACK, _) => Ok(Self::HeartbeatAck),
            (op::SUBSCRIBE, Version::V2) => fields.subscribe(max_channels),
            (op::UNSUBSCRIBE, Version::V2) => fields.unsubscribe(max_channels),
            (op::REFRESH, Version::V2) => Ok(Self::Refresh { token: parse_text(fields.token)? }),
            (op::MEMBERS, Version::V2) => MembersCommand::parse(text).map(Self::Members),
            (op::SEND, Version::V2) => SendCommand::parse(text).map(Self::Send),
            (op::SIGNAL, Version::V2) => SignalCommand::parse(text).map(Self::Signal),
            (op::HISTORY, Version::V2) => HistoryCommand::parse(text).map(Self::History),
            _ => Err(MalformedCommand),
        }
    }
}

impl<'a> CommandFields<'a> {
    fn read(text: &'a str) -> Result<Self, MalformedCommand> {
        // serde also accepts an array for a struct, but the protocol allows only objects.
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(MalformedCommand);
        }
        serde_json::from_str(text).map_err(|_| MalformedCommand)
    }

    fn identify(self, max_channels: usize) -> Result<Command<'a>, MalformedCommand> {
        let channels = self.channels.map_or(Ok(Vec::new()), |raw| channel_requests(raw, max_channels))?;
        Ok(Command::Identify { token: parse_text(self.token)?, channels })
    }

    /// One channel, or a list of at least one.
    fn subscribe(self, max_channels: usize) -> Result<Command<'a>, MalformedCommand> {
        let Some(raw) = self.channels else {
            return Ok(Command::Subscribe { channels: vec![self.channel_request()?], is_batch: false });
        };
        if self.channel.is_some() || self.since.is_some() || self.last.is_some() {
            return Err(MalformedCommand);
        }
        let channels = channel_requests(raw, max_channels)?;
        if channels.is_empty() {
            return Err(MalformedCommand);
        }
        Ok(Command::Subscribe { channels, is_batch: true })
    }

    fn unsubscribe(self, max_channels: usize) -> Result<Command<'a>, MalformedCommand> {
        let Some(raw) = self.channels else {
            return Ok(Command::Unsubscribe { channels: vec![parse_text(self.channel)?], is_batch: false });
        };
        if self.channel.is_some() {
            return Err(MalformedCommand);
        }
        let channels: Vec<_> = bounded_list(raw, max_channels)?
            .into_iter()
            .map(|raw| parse_text(Some(raw)))
            .collect::<Result<_, _>>()?;
        if channels.is_empty() {
            return Err(MalformedCommand);
        }
        Ok(Command::Unsubscribe { channels, is_batch: true })
    }

    fn channel_request(self) -> Result<ChannelRequest<'a>, MalformedCommand> {
        let since = self.since.map(|raw| parse_text(Some(raw))).transpose()?;
        let last = self.last.map(|raw| parse_count(raw.get())).transpose()?;
        Ok(ChannelRequest { channel: parse_text(self.channel)?, since, last })
    }

    fn heartbeat(self) -> Result<Command<'a>, MalformedCommand> {
        let time = self.time.map(RawValue::get);
        // The value is valid JSON, so its first byte shows whether it is a number.
        match time.map(str::as_bytes) {
            Some([first, ..]) if *first != b'-' && !first.is_ascii_digit() => Err(MalformedCommand),
            _ => Ok(Command::Heartbeat { time }),
        }
    }
}

/// Whether this is op 11 as most clients send it: without spaces, and with no field or a whole number in `time`. It is
/// the only frame of an idle client, and the JSON parser took a tenth of the instructions of an exchange.
fn is_plain_heartbeat_ack(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(r#"{"op":11"#).and_then(|rest| rest.strip_suffix('}')) else {
        return false;
    };
    match rest.strip_prefix(r#","time":"#).map(str::as_bytes) {
        None => rest.is_empty(),
        Some([b'0']) => true,
        Some([b'1'..=b'9', more @ ..]) => more.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

fn channel_requests(
    raw: &RawValue,
    max_channels: usize,
) -> Result<Vec<ChannelRequest<'_>>, MalformedCommand> {
    let list = bounded_list(raw, max_channels)?.into_iter();
    list.map(|raw| CommandFields::read(raw.get())?.channel_request()).collect()
}

fn bounded_list(raw: &RawValue, max_values: usize) -> Result<Vec<&RawValue>, MalformedCommand> {
    BoundedList(max_values)
        .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
        .map_err(|_| MalformedCommand)
}

/// A whole number. One that is too large for the type becomes its maximum: the settings clamp it further.
fn parse_count(text: &str) -> Result<u32, MalformedCommand> {
    let number: u64 = text.parse().map_err(|_| MalformedCommand)?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Checks the id of a request, which its answer repeats.
pub(super) fn check_request_id(id: &str) -> Result<(), MalformedCommand> {
    if (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) { Ok(()) } else { Err(MalformedCommand) }
}

/// Checks a value that other parsers will read: its depth and its surrogates are those of a published message.
pub(super) fn check_value(value: &RawValue) -> Result<(), MalformedCommand> {
    PayloadLimits::from(usize::MAX).check_text(value.get()).map_err(|_| MalformedCommand)
}

/// Deserializes a list of at most this number of values. Parsing stops at the first value over the limit.
struct BoundedList(usize);

impl<'de> DeserializeSeed<'de> for BoundedList {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for BoundedList {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a list of at most {} values", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() == self.0 {
                return Err(A::Error::custom("the list is too long"));
            }
            values.push(value);
        }
        Ok(values)
    }
}

fn parse_text(raw: Option<&RawValue>) -> Result<Cow<'_, str>, MalformedCommand> {
    /// serde borrows into a `Cow` only with the attribute `borrow`.
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let raw = raw.ok_or(MalformedCommand)?;
    serde_json::from_str::<Text<'_>>(raw.get()).map(|text| text.0).map_err(|_| MalformedCommand)
}

#[cfg(test)]
mod tests;
