//! What sessions may do on a channel, by its namespace.

use std::collections::HashMap;

use super::channel::ChannelName;

/// Namespaces whose channels belong to users. The rules for all other namespaces never make them public.
const USER_NAMESPACES: [&str; 4] = ["user", "users", "online", "all"];

/// What sessions may do on a channel. The default allows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelRules {
    /// Whether every session may subscribe, without a grant in its token.
    pub is_public: bool,
    /// Whether clients may send messages to the backend on it.
    pub send: bool,
    /// Whether subscribers may send signals.
    pub signals: bool,
    /// The maximum number of durable messages that a subscriber may ask for; 0 means none.
    pub max_last: u32,
}

/// The rules of each namespace, and those of all other namespaces.
#[derive(Debug, Clone, Default)]
pub struct NamespaceRules {
    others: ChannelRules,
    named: HashMap<Box<str>, ChannelRules>,
}

impl NamespaceRules {
    /// Rules by the name of the namespace; `others` are those of a namespace without a name here.
    pub fn new(others: ChannelRules, named: impl IntoIterator<Item = (Box<str>, ChannelRules)>) -> Self {
        Self { others, named: named.into_iter().collect() }
    }

    /// Every session may subscribe to the channels of these namespaces. Nothing else is allowed without a token.
    pub fn public(namespaces: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let rules = ChannelRules { is_public: true, ..ChannelRules::default() };
        let named = namespaces.into_iter().map(|namespace| (namespace.as_ref().into(), rules));
        Self::new(ChannelRules::default(), named)
    }

    /// The rules of a channel.
    pub fn of(&self, channel: &ChannelName) -> ChannelRules {
        let namespace = channel.namespace();
        self.named.get(namespace).copied().unwrap_or_else(|| ChannelRules {
            is_public: self.others.is_public && !USER_NAMESPACES.contains(&namespace),
            ..self.others
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_namespaces_may_be_public_but_users_channels_never() {
        let public = ChannelRules { is_public: true, send: true, signals: true, max_last: 50 };
        let room = ChannelRules { max_last: 10, ..ChannelRules::default() };
        let rules = NamespaceRules::new(public, [("room".into(), room)]);
        let of = |name| rules.of(&ChannelName::parse(name).unwrap());
        assert_eq!(of("news:1"), public);
        assert_eq!(of("room:1"), room);
        for own in ["user:42", "users:1", "online:42", "all"] {
            assert_eq!(of(own), ChannelRules { is_public: false, ..public }, "{own}");
        }
    }
}
