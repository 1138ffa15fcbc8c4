//! The fields of the frames that `tail` reads.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The fields of a frame that a client reads.
#[derive(Deserialize)]
pub(super) struct EventFields<'a> {
    pub(super) op: u64,
    pub(super) user: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) position: Option<String>,
    pub(super) state: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) recovered: Option<bool>,
    pub(super) time: Option<u64>,
    pub(super) heartbeat_interval: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) presence: Option<PresenceFields>,
    pub(super) count: Option<u64>,
    pub(super) last: Option<u64>,
    #[serde(default)]
    pub(super) joined: Vec<String>,
    #[serde(default)]
    pub(super) left: Vec<String>,
    pub(super) channels: Option<Vec<ChannelFields>>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "deserialize_present")]
    pub(super) signal: Option<&'a RawValue>,
}

/// Without it, the message or signal `null` would count as absent.
fn deserialize_present<'a, 'de: 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A channel in Ready or Subscription. Ready has a state only while the history cannot be read.
#[derive(Deserialize)]
pub(super) struct ChannelFields {
    pub(super) channel: String,
    pub(super) position: Option<String>,
    pub(super) state: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) recovered: Option<bool>,
    pub(super) presence: Option<PresenceFields>,
    pub(super) last: Option<u64>,
}

/// The state of the user of a channel `online:<user>`.
#[derive(Deserialize)]
pub(super) struct PresenceFields {
    pub(super) online: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_null_is_a_message() {
        let event = |text| serde_json::from_str::<EventFields<'_>>(text).unwrap();
        assert_eq!(event(r#"{"op":3,"message":null}"#).message.map(RawValue::get), Some("null"));
        assert!(event(r#"{"op":3}"#).message.is_none());
    }

    #[test]
    fn ready_has_the_state_of_recovering_channels_only() {
        let text = r#"{"op":2,"user":"42","channels":[{"channel":"all","position":"7-0"},
            {"channel":"room:7","state":"recovering"}]}"#;
        let event: EventFields<'_> = serde_json::from_str(text).unwrap();
        let states = event.channels.unwrap().into_iter().map(|one| (one.channel, one.state));
        let expected = [("all", None), ("room:7", Some("recovering"))]
            .map(|(channel, state): (&str, Option<&str>)| (channel.to_owned(), state.map(str::to_owned)));
        assert_eq!(states.collect::<Vec<_>>(), expected);
    }
}
