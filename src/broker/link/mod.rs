//! The decisions of the link, without IO, clock or tasks. One task drives it over Redis; the simulation drives it in
//! tests.
//!
//! # Layout, lowest first
//!
//! - `hubs`: the inboxes of hubs, and sets of hubs.
//! - `follower`: follows the history of one channel.
//! - `reads`: reads of histories for clients.
//! - `core`: all channels: which hubs want them, which are subscribed, and what to do next.
//! - `shared`: the core under its lock, with the notifications that wake the activities of the link.
//! - `router`: the links of a process, and which of them owns a channel.

mod core;
mod follower;
mod hubs;
mod reads;
mod router;
mod shared;

pub(crate) use self::core::{
    HistoryWork, LinkCore, LinkLimits, PresenceQuery, ReadErrorKind, SubscriptionBatch,
};
pub(crate) use self::follower::TailRead;
pub(crate) use self::hubs::{HubSet, Inboxes};
pub(crate) use self::reads::{PageReader, PageWork};
pub(crate) use self::router::{LinkId, LinkRouter};
pub(crate) use self::shared::SharedLink;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;

/// The hash of the link's maps. Tests use a fixed one, so the order of channels is the same in each run.
#[cfg(test)]
type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
#[cfg(not(test))]
type Hashing = std::hash::RandomState;

/// Keeps the gauges of channels, and of users among them, exact.
pub(super) fn count_channel(metrics: &Metrics, channel: &ChannelName, change: i64) {
    metrics.channels.inc_by(change);
    if channel.namespace() == "user" {
        metrics.users.inc_by(change);
    }
}
