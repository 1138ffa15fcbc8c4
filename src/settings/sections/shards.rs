//! How a Redis Cluster is used: `broker.shards` and what depends on it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::BrokerSettings;

/// `broker.shards`: how the keys are distributed over the masters of a Redis Cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shards {
    /// All keys are in one slot, so one master has them all.
    One,
    /// Each channel is in its own slot, so every master has a share.
    Slots,
}

/// `broker.ready_with_shards`: with how many masters a replica is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyWithShards {
    /// With all of them.
    All,
    /// With at least one.
    Any,
}

impl BrokerSettings {
    /// Whether the URL leads to a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        ["redis+cluster://", "rediss+cluster://"].iter().any(|scheme| self.url.starts_with(scheme))
    }

    /// The prefix of every key and channel in Redis, without the colon. Braces make it the hash tag of all keys, which
    /// are then in one slot.
    pub fn redis_prefix(&self) -> Cow<'_, str> {
        if self.is_cluster() && self.shards == Shards::One && !self.has_tagged_prefix() {
            return Cow::Owned(format!("{{{}}}", self.prefix));
        }
        Cow::Borrowed(&self.prefix)
    }

    /// Whether the whole prefix is a hash tag.
    pub(in crate::settings) fn has_tagged_prefix(&self) -> bool {
        self.prefix.starts_with('{') && self.prefix.ends_with('}')
    }
}
