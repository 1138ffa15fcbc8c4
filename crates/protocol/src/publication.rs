//! Publications: messages on a channel, validated once and encoded once for each variant of receiver.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::channel::ChannelName;
use super::event;
use super::payload_limits::PayloadLimits;
use super::position::Position;
use super::{Encoding, Variant};

/// A message for the subscribers of one channel. All threads share it.
#[derive(Debug)]
pub struct Publication {
    channel: ChannelName,
    position: Option<Position>,
    message: Arc<RawValue>,
    received: Option<Instant>,
    /// The frame of each variant, encoded when the first receiver needs it: most channels have receivers of
    /// only one variant.
    frames: [OnceLock<Bytes>; 5],
}

/// A parsed payload, not yet assigned to a channel.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The message's position in the channel's history; `None` if it was not published durably.
    pub position: Option<Position>,
    /// The message, byte for byte, without surrounding white space.
    pub message: Arc<RawValue>,
    /// The time of arrival; `None` if the latency of the message is not measured.
    pub received: Option<Instant>,
}

/// The maximum length of the position in a durable payload: `@`, two 64-bit numbers with a hyphen, and a space.
const MAX_POSITION_BYTES: usize = 1 + 20 + 1 + 20 + 1;

/// Why a payload is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PayloadError {
    /// Not UTF-8 or not one JSON value.
    #[error("the payload is not valid JSON")]
    NotJson,
    /// Longer than `broker.max_payload_bytes`.
    #[error("the payload is too big")]
    TooBig,
    /// The nesting depth is more than `broker.max_payload_depth`.
    #[error("the payload is nested too deeply")]
    TooDeep,
    /// An escape such as `\ud800` without the other half of its pair.
    #[error("the payload has a lone surrogate")]
    LoneSurrogate,
    /// It begins with `@`, but no valid position and space follow.
    #[error("the payload begins with @ but has no position")]
    BadPosition,
    /// On the channel for many users: not `{"users":[…],"message":…}` with valid user ids.
    #[error("the payload does not name its users and message")]
    BadUsers,
    /// The channel is not one that a session can subscribe to.
    #[error("the channel has no valid name")]
    BadChannel,
    /// It begins with `~`, but is no signal.
    #[error("the payload begins with ~ but is no signal")]
    BadSignal,
}

impl PayloadError {
    /// Every error.
    pub const ALL: [Self; 8] = [
        Self::NotJson,
        Self::TooBig,
        Self::TooDeep,
        Self::LoneSurrogate,
        Self::BadPosition,
        Self::BadUsers,
        Self::BadChannel,
        Self::BadSignal,
    ];

    /// The value of the label `reason` in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::TooBig => "too_big",
            Self::TooDeep => "too_deep",
            Self::LoneSurrogate => "lone_surrogate",
            Self::BadPosition => "bad_position",
            Self::BadUsers => "bad_users",
            Self::BadChannel => "bad_channel",
            Self::BadSignal => "bad_signal",
        }
    }
}

impl Payload {
    /// Parses `<json>`, or `@<position> <json>` if `gateway_publish` wrote the payload.
    ///
    /// # Errors
    /// The payload is invalid and is dropped.
    pub fn parse(payload: &[u8], limits: impl Into<PayloadLimits>) -> Result<Self, PayloadError> {
        let limits = limits.into();
        // The limit applies to the message alone, so a durable message may be as long as any other.
        if payload.len() > limits.max_bytes.saturating_add(MAX_POSITION_BYTES) {
            return Err(PayloadError::TooBig);
        }
        let text = std::str::from_utf8(payload).map_err(|_| PayloadError::NotJson)?;
        let (position, json) = match text.strip_prefix('@') {
            None => (None, text),
            Some(rest) => {
                let (position, json) = rest.split_once(' ').ok_or(PayloadError::BadPosition)?;
                (Some(Position::parse(position).ok_or(PayloadError::BadPosition)?), json)
            }
        };
        Ok(Self { position, message: limits.parse(json)?.into(), received: None })
    }
}

impl Publication {
    /// Creates a publication of a validated message.
    pub fn new(channel: ChannelName, position: Option<Position>, message: Arc<RawValue>) -> Self {
        Self { channel, position, message, received: None, frames: [const { OnceLock::new() }; 5] }
    }

    /// Sets the time of arrival.
    pub fn received_at(self, received: Option<Instant>) -> Self {
        Self { received, ..self }
    }

    /// The time of arrival; `None` if the latency of the message is not measured.
    pub fn received(&self) -> Option<Instant> {
        self.received
    }

    /// Parses a payload that was published on `channel`.
    ///
    /// # Errors
    /// Those of [`Payload::parse`].
    pub fn decode(
        channel: ChannelName,
        payload: &[u8],
        limits: impl Into<PayloadLimits>,
    ) -> Result<Self, PayloadError> {
        let Payload { position, message, .. } = Payload::parse(payload, limits)?;
        Ok(Self::new(channel, position, message))
    }

    /// The channel of the publication.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The position in the channel's history; `None` if the message was not published durably.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The message, byte for byte as published.
    pub fn message(&self) -> &RawValue {
        &self.message
    }

    /// The complete frame for receivers of this variant.
    pub fn frame(&self, variant: impl Into<Variant>) -> &Bytes {
        let variant = variant.into();
        let index = match variant.encoding {
            Encoding::Plain => variant.version as usize,
            Encoding::Deflated => 2 + variant.version as usize,
            Encoding::EventStream => 4,
        };
        self.frames[index].get_or_init(|| event::encode_message(variant, self))
    }

    /// The approximate memory of the publication in a queue, in bytes.
    pub fn queued_bytes(&self) -> usize {
        size_of::<Self>() + self.message.get().len() + self.channel.as_str().len()
    }
}

/// Parses a payload of the channel for many users, `{"users":["42","43"],"message":{…}}`. Returns the users' own
/// channels without duplicates, and the message.
///
/// # Errors
/// The payload is invalid and is dropped.
pub fn decode_for_users(
    payload: &[u8],
    limits: impl Into<PayloadLimits>,
) -> Result<(Vec<ChannelName>, Arc<RawValue>), PayloadError> {
    #[derive(Deserialize)]
    struct ForUsers<'a> {
        users: Vec<std::borrow::Cow<'a, str>>,
        message: Box<RawValue>,
    }
    let limits = limits.into();
    if payload.len() > limits.max_bytes {
        return Err(PayloadError::TooBig);
    }
    let text = std::str::from_utf8(payload).map_err(|_| PayloadError::NotJson)?;
    let object: &RawValue = serde_json::from_str(text).map_err(|_| PayloadError::NotJson)?;
    // serde also accepts an array for a struct.
    if !object.get().starts_with('{') {
        return Err(PayloadError::BadUsers);
    }
    let ForUsers { users, message } = serde_json::from_str(text).map_err(|_| PayloadError::BadUsers)?;
    let mut channels = users
        .iter()
        .map(|user| ChannelName::of_user(user).map_err(|_| PayloadError::BadUsers))
        .collect::<Result<Vec<_>, _>>()?;
    limits.check_text(message.get())?;
    channels.sort_unstable();
    channels.dedup();
    Ok((channels, message.into()))
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::*;

    fn decode(payload: &[u8]) -> Result<Publication, PayloadError> {
        Publication::decode(ChannelName::parse("room:7").unwrap(), payload, 200)
    }

    fn text(frame: &Bytes) -> &str {
        std::str::from_utf8(&frame[2..]).unwrap()
    }

    #[test]
    fn the_published_json_reaches_the_client_byte_for_byte() {
        let json = r#"{"id": 5306328986810385677, "content":"Testing post","timestamp":1579248521580}"#;
        let publication = decode(json.as_bytes()).unwrap();
        assert_eq!(text(publication.frame(Version::V1)), format!(r#"{{"op":3,"message":{json}}}"#));
        let expected = format!(r#"{{"op":3,"channel":"room:7","message":{json}}}"#);
        assert_eq!(text(publication.frame(Version::V2)), expected);
    }

    #[test]
    fn a_durable_payload_carries_its_position() {
        let publication = decode(b"@1732390000000-42 {\"a\":1}").unwrap();
        assert_eq!(publication.position(), Some(Position { epoch: 1_732_390_000_000, offset: 42 }));
        assert_eq!(text(publication.frame(Version::V1)), r#"{"op":3,"message":{"a":1}}"#);
        assert_eq!(
            text(publication.frame(Version::V2)),
            r#"{"op":3,"channel":"room:7","position":"1732390000000-42","message":{"a":1}}"#
        );
    }

    #[test]
    fn only_a_json_value_is_a_message() {
        let longest = format!("@1732390000000-42 {}", "1".repeat(200));
        assert_eq!(decode(longest.as_bytes()).unwrap().message().get().len(), 200);
        for good in ["1", "\"x\"", "null", "[]", " {\"a\":1}\n", "{\"a\":1,\"a\":2}"] {
            assert_eq!(decode(good.as_bytes()).unwrap().message().get(), good.trim(), "{good:?}");
        }
        let unclosed = format!("@1-2 {}", "[".repeat(150));
        for (bad, error) in [
            (&b""[..], PayloadError::NotJson),
            (b"{", PayloadError::NotJson),
            (b"{} {}", PayloadError::NotJson),
            (b"nonsense", PayloadError::NotJson),
            (b"\"\xFF\"", PayloadError::NotJson),
            (b"{\"a\":NaN}", PayloadError::NotJson),
            (unclosed.as_bytes(), PayloadError::NotJson),
            (br#""\ud800""#, PayloadError::LoneSurrogate),
            (b"@", PayloadError::BadPosition),
            (b"@1-2", PayloadError::BadPosition),
            (b"@x-2 {}", PayloadError::BadPosition),
            (b"@1-2 {", PayloadError::NotJson),
            (&[b' '; 201], PayloadError::TooBig),
            (&[b' '; 300], PayloadError::TooBig),
            (&[b"@1732390000000-42 ".as_slice(), &[b'1'; 201]].concat(), PayloadError::TooBig),
        ] {
            assert_eq!(decode(bad).unwrap_err(), error, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_message_over_the_depth_limit_is_refused() {
        let decode_nested = |depth| {
            let payload = format!("@1-2 {}{}", "[".repeat(depth), "]".repeat(depth));
            let limits = PayloadLimits { max_bytes: 1_000, max_depth: 128 };
            Publication::decode(ChannelName::all(), payload.as_bytes(), limits).err()
        };
        assert_eq!(decode_nested(128), None);
        assert_eq!(decode_nested(129), Some(PayloadError::TooDeep));
    }

    #[test]
    fn a_multi_user_payload_becomes_one_publication_per_user() {
        let (channels, message) =
            decode_for_users(br#"{"users":["43","42","43"],"message":{"a": 1}}"#, 200).unwrap();
        let channels: Vec<_> = channels.iter().map(ChannelName::as_str).collect();
        assert_eq!(channels, ["user:42", "user:43"]);
        assert_eq!(message.get(), r#"{"a": 1}"#);
    }

    #[test]
    fn a_multi_user_payload_requires_valid_users() {
        for (bad, error) in [
            (&b"x"[..], PayloadError::NotJson),
            (b"[]", PayloadError::BadUsers),
            (br#" [["42"],{"a":1}]"#, PayloadError::BadUsers),
            (br#"{"users":["42"]}"#, PayloadError::BadUsers),
            (br#"{"users":[42],"message":1}"#, PayloadError::BadUsers),
            (br#"{"users":["4 2"],"message":1}"#, PayloadError::BadUsers),
            (br#"{"users":[""],"message":1}"#, PayloadError::BadUsers),
        ] {
            assert_eq!(decode_for_users(bad, 200).unwrap_err(), error);
        }
    }
}
