//! Events: what a client is told, and how it is spelt.
//!
//! Frames are written by hand, field by field, because their order and their absence are part of the contract
//! with version 1; only texts go through serde_json, for their escapes.

use std::fmt::Write as _;

use bytes::Bytes;

use super::channel::ChannelName;
use super::frame::{self, FrameKind};
use super::position::Position;
use super::publication::Publication;
use super::{SessionId, Variant, Version};

/// One frame for one client. Messages are not among them: they are encoded once for all receivers, by
/// [`Publication::frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Op 0, at once after the upgrade.
    Hello {
        /// How often the gateway sends op 10, in milliseconds.
        heartbeat_interval_ms: u64,
        /// What version 2 is told besides.
        session: SessionId,
        /// The limits that a version 2 client must know.
        limits: HelloLimits,
    },
    /// Op 2: identified, and subscribed to everything listed.
    Ready {
        /// The user that the token named.
        user: Box<str>,
        /// The session's name.
        session: SessionId,
        /// How long the token is still good, in milliseconds.
        expires_in_ms: Option<u64>,
        /// Every channel of the session.
        channels: Vec<ChannelState>,
    },
    /// Op 6, the answer to Subscribe and Unsubscribe.
    Subscription {
        /// The channel as the client spelt it.
        channel: Box<str>,
        /// What came of it.
        outcome: SubscriptionOutcome,
    },
    /// Op 7: come back after so many milliseconds.
    Reconnect {
        /// When to come back.
        after_ms: u64,
    },
    /// Op 8: messages of the channel may be missing here; fetch what matters anew.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// What happened.
        reason: GapReason,
    },
    /// Op 9: a soft error; the socket stays open.
    Error(SoftError),
    /// Op 10.
    Heartbeat {
        /// Unix time in milliseconds.
        time_ms: u64,
    },
    /// Op 11.
    HeartbeatAck {
        /// The `time` of the op 10 that it answers, as the client wrote it.
        time: Option<Box<str>>,
    },
    /// Op 13.
    Refreshed {
        /// How long the new token is good, in milliseconds.
        expires_in_ms: Option<u64>,
    },
}

/// The limits that Hello announces to version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloLimits {
    /// How long the client may take to identify, in milliseconds.
    pub identify_timeout_ms: u64,
    /// The longest message that it may send, in bytes.
    pub message_bytes: usize,
    /// How many messages it may send in a minute; 0 means no limit.
    pub messages_per_minute: u32,
    /// How many channels it may subscribe to besides its own; 0 means no limit.
    pub subscriptions: u32,
}

/// One channel of a session, as Ready lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Its name.
    pub channel: ChannelName,
    /// Its state.
    pub state: SubscriptionState,
}

/// The state of a subscription, as its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Everything behind a position follows.
    Live {
        /// The position after which `since` continues.
        position: Position,
        /// Present when the client asked to continue: whether nothing is missing.
        recovered: Option<bool>,
    },
    /// The channel's history cannot be read at this moment. Nothing is delivered until another state follows.
    Recovering {
        /// The position that the client has named.
        since: Option<Position>,
    },
    /// The gateway itself may not subscribe to the channel. Ready does not list it; an op 6 says so.
    Refused,
}

impl SubscriptionState {
    /// Whether messages follow.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live { .. })
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Live { .. } => "subscribed",
            Self::Recovering { .. } => "recovering",
            Self::Refused => "refused",
        }
    }

    fn write(self, json: &mut Json) {
        match self {
            Self::Live { position, recovered } => {
                json.text("position", &position.to_string());
                if let Some(recovered) = recovered {
                    json.raw("recovered", if recovered { "true" } else { "false" });
                }
            }
            Self::Recovering { since } => {
                if let Some(since) = since {
                    json.text("position", &since.to_string());
                }
            }
            Self::Refused => {
                json.text("reason", RefusalReason::Unavailable.label());
            }
        }
    }
}

/// What came of a Subscribe or Unsubscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionOutcome {
    /// On it, in this state.
    Subscribed(SubscriptionState),
    /// No longer on it.
    Unsubscribed {
        /// Why, when the client did not ask for it.
        reason: Option<&'static str>,
    },
    /// Not put on it.
    Refused(RefusalReason),
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// It is not a channel name.
    BadChannel,
    /// Neither the token nor the settings allow it.
    NotAllowed,
    /// The session is on as many channels as it may be.
    TooMany,
    /// The broker does not let the gateway subscribe to it. An operator can change that, so the client may ask again later.
    Unavailable,
}

impl RefusalReason {
    /// The text on the wire.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadChannel => "bad_channel",
            Self::NotAllowed => "not_allowed",
            Self::TooMany => "too_many_subscriptions",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why messages of a channel may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Redis was out of reach for a while: what was published plainly meanwhile is lost.
    LinkLost,
    /// The channel's history does not continue where it was left: it was lost, trimmed or has expired.
    HistoryLost,
    /// The history could not be read.
    HistoryUnreadable,
    /// More came than this replica could take.
    Overflow,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::LinkLost, Self::HistoryLost, Self::HistoryUnreadable, Self::Overflow];

    /// The text on the wire, and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::LinkLost => "link_lost",
            Self::HistoryLost => "history_lost",
            Self::HistoryUnreadable => "history_unreadable",
            Self::Overflow => "overflow",
        }
    }
}

/// What op 9 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoftError {
    /// Subscribe to a channel that the session is on, or is about to be.
    AlreadySubscribed,
    /// Unsubscribe from one of the session's own channels.
    OwnChannel,
    /// The new token is bad, or another user's; the old one still counts.
    RefreshFailed,
}

impl SoftError {
    const fn code_and_detail(self) -> (&'static str, &'static str) {
        match self {
            Self::AlreadySubscribed => ("already_subscribed", "the session is on this channel"),
            Self::OwnChannel => ("own_channel", "a session stays on its user's channel and on all"),
            Self::RefreshFailed => ("refresh_failed", "the token is not valid for this user"),
        }
    }
}

impl Event {
    /// The JSON text of this event for a client of `version`.
    pub fn to_json(&self, version: Version) -> String {
        let mut json = Json::default();
        match self {
            Self::Hello { heartbeat_interval_ms, session, limits } => {
                json.op(0).number("heartbeat_interval", *heartbeat_interval_ms);
                if version == Version::V2 {
                    json.number("v", 2)
                        .text("session", &session.to_string())
                        .raw("limits", &limits.to_json());
                }
            }
            Self::Ready { user, session, expires_in_ms, channels } => {
                json.op(2).text("user", user);
                if version == Version::V2 {
                    json.text("session", &session.to_string()).optional("expires_in", *expires_in_ms);
                    let listed: Vec<_> = channels.iter().map(ChannelState::to_json).collect();
                    json.raw("channels", &format!("[{}]", listed.join(",")));
                }
            }
            Self::Subscription { channel, outcome } => outcome.write(json.op(6).text("channel", channel)),
            Self::Reconnect { after_ms } => {
                json.op(7).number("after", *after_ms).text("reason", "draining");
            }
            Self::Gap { channel, reason } => {
                json.op(8).text("channel", channel.as_str()).text("reason", reason.label());
            }
            Self::Error(error) => {
                let (code, detail) = error.code_and_detail();
                json.op(9).text("code", code).text("detail", detail);
            }
            Self::Heartbeat { time_ms } => {
                json.op(10).number("time", *time_ms);
            }
            Self::HeartbeatAck { time } => {
                json.op(11);
                if let Some(time) = time {
                    json.raw("time", time);
                }
            }
            Self::Refreshed { expires_in_ms } => {
                json.op(13).optional("expires_in", *expires_in_ms);
            }
        }
        json.finish()
    }

    /// The WebSocket frame of this event for a client of `version`.
    pub fn to_frame(&self, version: Version) -> Bytes {
        frame::encode(FrameKind::Text, self.to_json(version).as_bytes())
    }
}

/// The WebSocket frame of op 3 for receivers that take it so.
pub(super) fn encode_message(variant: Variant, publication: &Publication) -> Bytes {
    let mut json = Json::default();
    json.op(3);
    if variant.version == Version::V2 {
        json.text("channel", publication.channel().as_str());
        if let Some(position) = publication.position() {
            json.text("position", &position.to_string());
        }
    }
    json.raw("message", publication.message().get());
    let encode = if variant.is_deflated { frame::encode_shorter } else { frame::encode };
    encode(FrameKind::Text, json.finish().as_bytes())
}

impl HelloLimits {
    fn to_json(self) -> String {
        let mut json = Json::default();
        json.number("identify_timeout", self.identify_timeout_ms)
            .number("message_bytes", self.message_bytes as u64)
            .number("messages_per_minute", u64::from(self.messages_per_minute))
            .number("subscriptions", u64::from(self.subscriptions));
        json.finish()
    }
}

impl ChannelState {
    fn to_json(&self) -> String {
        let mut json = Json::default();
        json.text("channel", self.channel.as_str());
        if !self.state.is_live() {
            json.text("state", self.state.label());
        }
        self.state.write(&mut json);
        json.finish()
    }
}

impl SubscriptionOutcome {
    fn write(&self, json: &mut Json) {
        match self {
            Self::Subscribed(state) => {
                json.text("state", state.label());
                state.write(json);
            }
            Self::Unsubscribed { reason } => {
                json.text("state", "unsubscribed");
                if let Some(reason) = reason {
                    json.text("reason", reason);
                }
            }
            Self::Refused(reason) => {
                json.text("state", "refused").text("reason", reason.label());
            }
        }
    }
}

/// One JSON object in the making.
#[derive(Default)]
struct Json(String);

impl Json {
    fn op(&mut self, op: u64) -> &mut Self {
        self.number("op", op)
    }

    fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    fn optional(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name, &serde_json::Value::from(value).to_string())
    }

    fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.0.push_str(json);
        self
    }

    fn name(&mut self, name: &str) {
        self.0.push_str(if self.0.is_empty() { "{\"" } else { ",\"" });
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests;
