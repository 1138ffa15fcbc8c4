//! The options of namespaces: `[namespaces.<name>]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BrokerSettings, duration};

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

/// Why no section may have this name; `None`: it may. Names with other characters would have to be quoted in TOML, and
/// could not be set by an environment variable.
pub(super) fn refused_namespace(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name == "online" {
        return Some(
            "must not be set: the channels of online belong to presence and have no options; \
             channels.public_namespaces may contain online",
        );
    }
    let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
    (!is_name).then_some("must name a namespace of 1 to 64 letters, digits, hyphens and underscores")
}

/// `namespaces.<name>.subscribe`: who may subscribe to the channels of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscribeRule {
    /// Users whose token grants the channel.
    #[default]
    Token,
    /// Every identified user.
    Public,
}

/// `[namespaces.<name>]`: the options of all channels of a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceSettings {
    /// Who may subscribe.
    pub subscribe: SubscribeRule,
    /// Durable messages in the history of each channel. 0 = that of `[broker]`; [`Namespaces::options`] resolves it.
    pub history_size: usize,
    /// The lifetime of the history of an idle channel. 0 = that of `[broker]`; [`Namespaces::options`] resolves it.
    #[serde(with = "duration")]
    pub history_ttl: Duration,
    /// What subscribers of a channel know about each other.
    pub presence: RoomPresence,
    /// Whether replicas report which channels have subscribers.
    pub occupancy: bool,
    /// Whether subscribers may send signals to each other.
    pub signals: bool,
    /// Whether clients may send messages to the inbox.
    pub send: bool,
    /// The most messages of the history that a subscriber may ask for. At most `history_size`.
    pub max_last: u32,
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
pub struct Namespaces {
    entries: BTreeMap<String, NamespaceSettings>,
    /// The size and TTL of histories in `[broker]`.
    #[serde(skip)]
    history: BrokerHistory,
    /// `channels.public_namespaces`.
    #[serde(skip)]
    public: BTreeSet<String>,
}

/// The size and TTL of histories where no namespace sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BrokerHistory {
    size: usize,
    ttl: Duration,
}

impl Default for BrokerHistory {
    /// The defaults of `broker.history_size` and `broker.history_ttl`.
    fn default() -> Self {
        Self { size: 1000, ttl: Duration::from_secs(24 * 60 * 60) }
    }
}

impl Namespaces {
    /// The options of a namespace: its own, or those of `[namespaces.default]`. `online` has only the history of
    /// `[broker]`.
    pub fn options(&self, namespace: &str) -> NamespaceSettings {
        self.resolve(namespace, self.history)
    }

    /// The size and TTL of the histories of a namespace; `size` and `ttl` are those of `[broker]`.
    pub fn history(&self, namespace: &str, size: usize, ttl: Duration) -> (usize, Duration) {
        let options = self.resolve(namespace, BrokerHistory { size, ttl });
        (options.history_size, options.history_ttl)
    }

    /// The name of the section with the options of a namespace. `online` counts as a section.
    pub fn section<'a>(&self, namespace: &'a str) -> &'a str {
        if namespace == "online" || self.entries.contains_key(namespace) { namespace } else { "default" }
    }

    fn resolve(&self, namespace: &str, history: BrokerHistory) -> NamespaceSettings {
        let mut options = match namespace {
            "online" => NamespaceSettings::default(),
            _ => self.own_or_default(namespace),
        };
        if options.history_size == 0 {
            options.history_size = history.size;
        }
        if options.history_ttl.is_zero() {
            options.history_ttl = history.ttl;
        }
        if self.public.contains(namespace) {
            options.subscribe = SubscribeRule::Public;
        }
        options
    }

    /// `user` and `all` hold the messages of every user, so they are never public by default.
    fn own_or_default(&self, namespace: &str) -> NamespaceSettings {
        if let Some(own) = self.entries.get(namespace) {
            return *own;
        }
        let default = self.entries.get("default").copied().unwrap_or_default();
        match namespace {
            "user" | "all" => NamespaceSettings { subscribe: SubscribeRule::Token, ..default },
            _ => default,
        }
    }

    /// Every namespace with a section, and its options.
    pub fn entries(&self) -> impl Iterator<Item = (&str, NamespaceSettings)> {
        self.entries.keys().map(|name| (name.as_str(), self.options(name)))
    }

    /// The namespaces that `channels.public_namespaces` opens to every user.
    pub fn public_names(&self) -> impl Iterator<Item = &str> {
        self.public.iter().map(String::as_str)
    }

    /// Resolves what the entries leave to `[broker]`, and takes over the shorthand of `subscribe = "public"`.
    pub(super) fn complete(&mut self, broker: &BrokerSettings, public: &[String]) {
        self.history = BrokerHistory { size: broker.history_size, ttl: broker.history_ttl };
        let complete: Vec<_> = self.entries().map(|(name, options)| (name.to_owned(), options)).collect();
        self.entries.extend(complete);
        self.public = public.iter().cloned().collect();
    }

    /// Whether any namespace has such options.
    pub fn any(&self, is_such: impl Fn(NamespaceSettings) -> bool) -> bool {
        self.entries.values().any(|options| is_such(*options))
    }
}

impl FromIterator<(String, NamespaceSettings)> for Namespaces {
    fn from_iter<I: IntoIterator<Item = (String, NamespaceSettings)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), ..Self::default() }
    }
}
