//! The options of namespaces: `[namespaces.<name>]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `namespaces.<name>.presence`: what subscribers of a channel know about each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomPresence {
    /// Nothing.
    #[default]
    Off,
    /// How many sessions are subscribed.
    Count,
    /// Which users are subscribed.
    Members,
}

/// Whether a section may have this name. Names with other characters would have to be quoted in TOML, and could not be
/// set by an environment variable. The channels of `online` are those of presence itself.
pub(super) fn is_namespace(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && name != "online"
}

/// `[namespaces.<name>]`: the options of all channels of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceSettings {
    /// What subscribers of a channel know about each other.
    pub presence: RoomPresence,
    /// Whether replicas report which channels have subscribers.
    pub occupancy: bool,
}

impl NamespaceSettings {
    /// Whether replicas report anything about the subscribers of a channel.
    pub fn reports_subscribers(self) -> bool {
        self.presence != RoomPresence::Off || self.occupancy
    }

    /// Whether replicas report the users that are subscribed to a channel.
    pub fn reports_members(self) -> bool {
        self.presence == RoomPresence::Members
    }

    /// Whether replicas report how many sessions are subscribed to a channel. Lists of channels in use need it too.
    pub fn reports_count(self) -> bool {
        self.presence == RoomPresence::Count || self.occupancy && self.presence == RoomPresence::Off
    }
}

/// `[namespaces]`: the options of all namespaces. Every entry is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Namespaces(BTreeMap<String, NamespaceSettings>);

impl Namespaces {
    /// The options of a namespace: its own, or those of `[namespaces.default]`. `online` has none.
    pub fn options(&self, namespace: &str) -> NamespaceSettings {
        if namespace == "online" {
            return NamespaceSettings::default();
        }
        self.0.get(namespace).or_else(|| self.0.get("default")).copied().unwrap_or_default()
    }

    /// Whether any namespace has such options.
    pub fn any(&self, is_such: impl Fn(NamespaceSettings) -> bool) -> bool {
        self.0.values().any(|options| is_such(*options))
    }
}

impl FromIterator<(String, NamespaceSettings)> for Namespaces {
    fn from_iter<I: IntoIterator<Item = (String, NamespaceSettings)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}
