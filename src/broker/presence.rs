//! Presence: which users are online, which channels are in use, and who is in a room.
//!
//! - `reporter`: the reports of one process to the others.

mod reporter;

use std::sync::Arc;
use std::time::Duration;

use crate::settings::Namespaces;
use protocol::channel::ChannelName;

pub(crate) use self::reporter::{LocalUsers, PresenceReport};

/// Presence, as the settings want it.
#[derive(Debug, Clone)]
pub struct PresenceOptions {
    /// A user is away after this time without a session.
    pub grace: Duration,
    /// The most entries of the stream of edges.
    pub max_edges: usize,
    /// Subscribers of a channel with more members do not learn of joins and leaves.
    pub max_members: usize,
    /// What each namespace wants.
    pub namespaces: Arc<Namespaces>,
}

/// Why it is not known who is online.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// Presence is off in the settings.
    #[error("presence is off: set presence.enabled")]
    Disabled,
    /// The namespace lacks this option.
    #[error("the namespace has no {0}")]
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

/// What a hub reports of its own sessions. A hub reports only what the namespace of the channel wants, and each change
/// once.
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
pub struct MembersPage {
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
