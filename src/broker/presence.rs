//! Presence: which users are online, which channels are in use, and which users are in a room.
//!
//! - `reporter`: the reports of one process: its users, channels and members.
//! - `counts`: its reports of how many sessions are subscribed to each room.
//! - `rooms`: what the hubs of one process learn about rooms.

mod counts;
mod reporter;
mod rooms;

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{NamespaceSettings, Namespaces, RoomPresence};
use protocol::channel::ChannelName;

pub(crate) use self::counts::{CountReporter, HubSizes};
pub(crate) use self::reporter::LocalNames;
pub(crate) use self::rooms::{RoomChange, RoomEvent, RoomFeed};

/// The options of presence.
#[derive(Debug, Clone)]
pub struct PresenceOptions {
    /// A user is away after this time without a session.
    pub grace: Duration,
    /// The most entries of each stream: of the edges of users, of those of channels, and of messages for push.
    pub max_edges: usize,
    /// Subscribers of a channel with more members do not learn of joins and leaves.
    pub max_members: usize,
    /// The options of each namespace.
    pub namespaces: Arc<Namespaces>,
}

impl PresenceOptions {
    /// Whether the subscribers of any channel learn how many they are.
    pub(crate) fn has_rooms(&self) -> bool {
        self.namespaces.any(|options| options.presence != RoomPresence::Off)
    }

    /// Whether subscribers of a channel learn how many they are.
    pub(crate) fn has_room_events(&self, channel: &ChannelName) -> bool {
        self.of(channel).presence != RoomPresence::Off
    }

    /// Whether the members of the channels of a namespace are reported.
    pub(crate) fn has_members(&self, namespace: &str) -> bool {
        self.namespaces.options(namespace).reports_members()
    }

    /// Checks that the members of a channel are reported.
    pub(crate) fn check_members(&self, channel: &ChannelName) -> Result<(), PresenceError> {
        let is_on = self.has_members(channel.namespace());
        is_on.then_some(()).ok_or(PresenceError::NamespaceOff(r#"presence = "members""#))
    }

    /// Checks that the channels in use of a namespace are reported; without a namespace, those of any.
    pub(crate) fn check_occupancy(&self, namespace: Option<&str>) -> Result<(), PresenceError> {
        let is_on = match namespace {
            Some(namespace) => self.namespaces.options(namespace).occupancy,
            None => self.namespaces.any(|options| options.occupancy),
        };
        is_on.then_some(()).ok_or(PresenceError::NamespaceOff("occupancy = true"))
    }

    /// The count that the namespace of a channel has: of sessions, of members, or none.
    pub(crate) fn choose_count(&self, channel: &ChannelName, sessions: u64, members: u64) -> Option<u64> {
        let options = self.of(channel);
        let members = options.reports_members().then_some(members);
        members.or_else(|| options.reports_count().then_some(sessions))
    }

    fn of(&self, channel: &ChannelName) -> NamespaceSettings {
        self.namespaces.options(channel.namespace())
    }
}

/// Why a query about presence has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Presence is off in the settings.
    #[error("presence is off: set presence.enabled")]
    Disabled,
    /// The namespace of the channel, or every namespace, lacks this option.
    #[error("this request needs {0} in [namespaces.<name>]")]
    NamespaceOff(&'static str),
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

/// A change among the sessions of one hub. A hub reports only what the options of the channel's namespace need, and each
/// change once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalReport {
    /// The hub has the first session of a user, or none any more.
    User {
        /// The user's own channel.
        user: ChannelName,
        /// Whether the hub has a session of the user.
        is_online: bool,
    },
    /// The hub has the first subscriber of a channel, or none any more. For namespaces with `occupancy`.
    Channel {
        /// The channel.
        channel: ChannelName,
        /// Whether the hub has a subscriber.
        is_occupied: bool,
    },
    /// The hub has the first subscribed session of a user, or none any more. For namespaces that
    /// [report members](crate::settings::NamespaceSettings::reports_members).
    Member {
        /// The channel.
        channel: ChannelName,
        /// The user's own channel.
        user: ChannelName,
        /// Whether the hub has a subscribed session of the user.
        is_member: bool,
    },
    /// How many sessions of the hub are subscribed to a channel. For namespaces that
    /// [report a count](crate::settings::NamespaceSettings::reports_count).
    Count {
        /// The channel.
        channel: ChannelName,
        /// The number of sessions.
        sessions: usize,
    },
}

/// A page of the members of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomMembers {
    /// How many members the channel has.
    pub count: u64,
    /// The ids of users, in byte order.
    pub members: Vec<Box<str>>,
    /// The `after` of the next page; `None`: this is the last page.
    pub next: Option<Box<str>>,
}

/// A channel that has subscribers, or had one within the grace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInUse {
    /// The channel.
    pub channel: ChannelName,
    /// How many replicas have subscribers. 0: the channel is within the grace.
    pub replicas: u32,
    /// How many sessions are subscribed; where members are reported, how many users are.
    pub count: Option<u64>,
}

/// A page of the channels in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelsPage {
    /// The channels, in byte order.
    pub channels: Vec<ChannelInUse>,
    /// The `after` of the next page; `None`: this is the last page.
    pub next: Option<Box<str>>,
}
