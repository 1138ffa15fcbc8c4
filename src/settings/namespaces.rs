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

    /// A short hash that is equal on replicas that treat each channel alike: entries without an effect do not count.
    ///
    /// Replicas of different versions compare it, so a new option must not change the hash where it is not used.
    pub fn fingerprint(&self) -> String {
        let default = self.options("default");
        let has_effect = |name: &str, options: NamespaceSettings| match name {
            "default" => options != NamespaceSettings::default(),
            _ => options != default,
        };
        let effective: BTreeMap<_, _> =
            self.0.iter().filter(|(name, options)| has_effect(name, **options)).collect();
        // Serialising these fields cannot fail.
        let text = serde_json::to_string(&effective).unwrap_or_default();
        format!("{:08x}", fnv1a(text.as_bytes()))
    }
}

/// FNV-1a of 32 bits. The hash of the standard library may change between versions of Rust.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl FromIterator<(String, NamespaceSettings)> for Namespaces {
    fn from_iter<I: IntoIterator<Item = (String, NamespaceSettings)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(entries: &[(&str, RoomPresence, bool)]) -> String {
        let entry = |&(name, presence, occupancy): &(&str, _, _)| {
            (name.to_owned(), NamespaceSettings { presence, occupancy })
        };
        Namespaces::from_iter(entries.iter().map(entry)).fingerprint()
    }

    #[test]
    fn the_fingerprint_is_the_same_in_every_version() {
        assert_eq!([fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")], [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
        assert_eq!(fingerprint(&[]), format!("{:08x}", fnv1a(b"{}")));
        let text =
            r#"{"list":{"presence":"off","occupancy":true},"room":{"presence":"members","occupancy":false}}"#;
        let rooms = [("room", RoomPresence::Members, false), ("list", RoomPresence::Off, true)];
        assert_eq!(fingerprint(&rooms), format!("{:08x}", fnv1a(text.as_bytes())));
    }

    #[test]
    fn the_fingerprint_ignores_entries_without_an_effect() {
        use RoomPresence::{Count, Off};
        assert_eq!(fingerprint(&[("default", Off, false), ("room", Off, false)]), fingerprint(&[]));
        let counted = fingerprint(&[("default", Count, false)]);
        assert_eq!(fingerprint(&[("default", Count, false), ("room", Count, false)]), counted);
        let others = [
            fingerprint(&[]),
            fingerprint(&[("default", Count, true)]),
            fingerprint(&[("room", Count, false)]),
            fingerprint(&[("default", Count, false), ("room", Off, false)]),
        ];
        assert!(!others.contains(&counted), "{counted}: {others:?}");
    }
}
