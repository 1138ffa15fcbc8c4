//! The frames of events: WebSocket frames, or blocks of server-sent events.

use bytes::Bytes;

use super::{Event, SubscriptionOutcome, SubscriptionState};
use crate::channel::ChannelName;
use crate::event_stream::{self, HEARTBEAT, entry};
use crate::frame::{self, FrameKind};
use crate::position::Position;
use crate::{Encoding, Variant, Version};

/// The frames of one event for all receivers of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFrames {
    websocket: Bytes,
    event_stream: Bytes,
}

impl EventFrames {
    /// The frame for receivers of this variant. Events are not compressed.
    pub fn of(&self, variant: Variant) -> &Bytes {
        match variant.encoding {
            Encoding::EventStream => &self.event_stream,
            Encoding::Plain | Encoding::Deflated => &self.websocket,
        }
    }
}

impl Event {
    /// The frame of this event for a client of `variant`. An event stream has no frame for some events; the frame is then
    /// empty.
    pub fn to_frame(&self, variant: impl Into<Variant>) -> Bytes {
        let variant = variant.into();
        match variant.encoding {
            Encoding::EventStream => self.to_block(),
            Encoding::Plain | Encoding::Deflated => {
                frame::encode(FrameKind::Text, self.to_json(variant.version).as_bytes())
            }
        }
    }

    /// The frames of this event for all receivers of version 2.
    pub fn to_frames(&self) -> EventFrames {
        EventFrames { websocket: self.to_frame(Version::V2), event_stream: self.to_block() }
    }

    fn to_block(&self) -> Bytes {
        let (name, moved) = match self {
            Self::Ready { channels, .. } => {
                let moved = channels.iter().filter_map(|one| moved(&one.channel, one.state));
                ("ready", Some(moved.collect::<Vec<_>>().join(" ")))
            }
            Self::Subscription { channel, outcome } => ("subscription", moved_by(channel, outcome)),
            Self::Gap { .. } => ("gap", None),
            Self::Room { .. } => ("room", None),
            Self::Heartbeat { .. } => return HEARTBEAT,
            Self::Reconnect { after_ms } => return event_stream::encode_retry(*after_ms),
            // Hello is for clients that send. The others answer requests, which a stream does not have.
            Self::Hello { .. }
            | Self::HeartbeatAck { .. }
            | Self::Subscriptions(_)
            | Self::Error(_)
            | Self::RequestError { .. }
            | Self::ChannelError { .. }
            | Self::Refreshed { .. }
            | Self::Members { .. }
            | Self::Sent { .. }
            | Self::History { .. } => return Bytes::new(),
        };
        event_stream::encode(name, moved.as_deref(), self.to_json(Version::V2).as_bytes())
    }
}

/// The entry of the id for a subscription in this state.
fn moved(channel: &ChannelName, state: SubscriptionState) -> Option<String> {
    let position = match state {
        SubscriptionState::Live { position, .. } => Some(position),
        SubscriptionState::Recovering { since } => since,
        SubscriptionState::Refused => None,
    };
    position.map(|position: Position| entry(channel, Some(position)))
}

fn moved_by(channel: &str, outcome: &SubscriptionOutcome) -> Option<String> {
    let channel = ChannelName::parse(channel).ok()?;
    match outcome {
        SubscriptionOutcome::Subscribed(state) => moved(&channel, *state),
        SubscriptionOutcome::Unsubscribed { .. } => Some(entry(&channel, None)),
        SubscriptionOutcome::Refused(_) => None,
    }
}
