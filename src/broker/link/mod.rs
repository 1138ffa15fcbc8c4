//! What the link decides, without IO, clock or task: driven by tasks over a real Redis, and by the simulation.
//!
//! # Layout, lowest first
//!
//! - `hubs`: the hubs that want a channel.
//! - `follower`: follows the log of one channel.
//! - `reads`: histories that are read for clients.
//! - `core`: all channels: who wants them, what the link carries, and what is to be done next.
//! - `shared`: the core under its lock, with the bells that wake the tasks which drive it.

mod core;
pub(crate) mod follower;
mod hubs;
mod reads;
mod shared;

pub(crate) use self::core::{HistoryWork, LinkCore, ReadFailure, SubscriptionBatch, TailsRead};
#[cfg(test)]
pub(crate) use self::core::{LinkLimits, PageWork};
pub(crate) use self::hubs::Hubs;
pub(super) use self::shared::SharedLink;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;

/// Tests repeat themselves, so the order of channels is the same there each time.
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
