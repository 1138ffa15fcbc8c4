//! The settings of the data of one prefix: its gateways and `gateway_publish` share them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::history::{HistoryLimits, milliseconds};
use super::data_namespaces::DataNamespaces;
use super::options::RedisOptions;
use crate::settings::format_duration;
use protocol::payload_limits::{DEFAULT_MAX_DEPTH, PayloadLimits};

/// The settings in force for the data of one prefix, the same for every replica and for `gateway_publish`.
///
/// They are JSON at the key `<prefix>:settings`. Fields that a later version adds are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataSettings {
    /// Messages stored for each channel.
    pub(super) history_size: usize,
    /// How long a history is stored after its last message.
    pub(super) history_ttl_ms: u64,
    /// How long an idempotency key is remembered.
    pub(super) idempotency_window_ms: u64,
    /// Longer messages are refused, or dropped before they are parsed.
    pub(super) max_payload_bytes: usize,
    /// Messages with deeper nesting are refused or dropped. Older gateways do not write this field.
    #[serde(default = "default_depth")]
    pub(super) max_payload_depth: usize,
    /// The most entries of the stream for push, if presence is on. `gateway_publish` refuses push without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) presence_max_edges: Option<usize>,
    /// When a user without a session is away, if presence is on. Replicas only compare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) presence_grace_ms: Option<u64>,
    /// The options of namespaces; `None`: an older gateway has written these settings, so no namespace has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespaces: Option<DataNamespaces>,
    /// How long a revocation is kept if its command does not say it. Older gateways do not write this field.
    #[serde(default = "default_revocation_ttl")]
    pub(super) revocation_ttl_ms: u64,
    /// The inbox accepts no message while it has so many entries. Older gateways do not write this field.
    #[serde(default = "default_inbox_max_entries")]
    pub(super) inbox_max_entries: usize,
}

const fn default_depth() -> usize {
    DEFAULT_MAX_DEPTH
}

/// The default of `auth.max_age` and `auth.leeway`, as in `gateway.lua`.
const fn default_revocation_ttl() -> u64 {
    2_592_005_000
}

/// The default of `inbox.max_entries`, as in `gateway.lua`.
const fn default_inbox_max_entries() -> usize {
    100_000
}

impl DataSettings {
    /// The settings of this process.
    pub(super) fn own(options: &RedisOptions) -> Self {
        let presence = options.presence.as_ref();
        Self {
            history_size: options.history.size,
            history_ttl_ms: milliseconds(options.history.ttl),
            idempotency_window_ms: milliseconds(options.history.idempotency_window),
            max_payload_bytes: options.max_payload_bytes,
            max_payload_depth: options.max_payload_depth,
            presence_max_edges: presence.map(|presence| presence.max_edges),
            presence_grace_ms: presence.map(|presence| milliseconds(presence.grace)),
            namespaces: Some(DataNamespaces::own(&options.history)),
            revocation_ttl_ms: milliseconds(options.revocation_ttl),
            inbox_max_entries: options.history.inbox.max_entries,
        }
    }

    /// Parses the settings; `None`: the text is invalid.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The text that [`parse`](Self::parse) and `gateway_publish` read.
    pub(super) fn to_text(&self) -> String {
        // Serialising these fields cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The limits on a message.
    pub(super) fn payload_limits(&self) -> PayloadLimits {
        PayloadLimits { max_bytes: self.max_payload_bytes, max_depth: self.max_payload_depth }
    }

    /// How these settings, which are in force, differ from the process' own settings.
    pub(super) fn differences(&self, own: &Self) -> Vec<String> {
        let count = |count: usize| count.to_string();
        let time = |ms: u64| format_duration(Duration::from_millis(ms));
        let pairs = [
            ("broker.history_size", count(self.history_size), count(own.history_size)),
            ("broker.history_ttl", time(self.history_ttl_ms), time(own.history_ttl_ms)),
            ("broker.idempotency_window", time(self.idempotency_window_ms), time(own.idempotency_window_ms)),
            ("broker.max_payload_bytes", count(self.max_payload_bytes), count(own.max_payload_bytes)),
            ("broker.max_payload_depth", count(self.max_payload_depth), count(own.max_payload_depth)),
            ("inbox.max_entries", count(self.inbox_max_entries), count(own.inbox_max_entries)),
            ("auth.max_age + auth.leeway", time(self.revocation_ttl_ms), time(own.revocation_ttl_ms)),
        ];
        let pairs = pairs.into_iter().chain(self.presence_pairs(own));
        let differing = pairs.filter(|(_, in_force, here)| in_force != here);
        let values =
            differing.map(|(name, in_force, here)| format!("{name} is {in_force} in force, {here} here"));
        values.chain(self.namespaces_differences(own)).collect()
    }

    /// The settings of presence that can be shown: their names, the values in force, and the process' own values. What
    /// one side lacks is not compared: presence is off there, or an older gateway has written these settings.
    fn presence_pairs(&self, own: &Self) -> impl Iterator<Item = (&'static str, String, String)> {
        let is_enabled = |of: &Self| of.presence_max_edges.is_some().to_string();
        let edges = self.presence_max_edges.zip(own.presence_max_edges);
        let grace = self.presence_grace_ms.zip(own.presence_grace_ms);
        let time = |ms: u64| format_duration(Duration::from_millis(ms));
        let pairs = [
            Some(("presence.enabled", is_enabled(self), is_enabled(own))),
            edges.map(|(in_force, here)| ("presence.max_edges", in_force.to_string(), here.to_string())),
            grace.map(|(in_force, here)| ("presence.grace", time(in_force), time(here))),
        ];
        pairs.into_iter().flatten()
    }

    /// How the options of namespaces differ. What one side lacks is not compared: an older gateway has written these
    /// settings. Without presence, no namespace can have presence or occupancy.
    fn namespaces_differences(&self, own: &Self) -> Vec<String> {
        let Some((in_force, here)) = self.namespaces.as_ref().zip(own.namespaces.as_ref()) else {
            return Vec::new();
        };
        let broker = |of: &Self| HistoryLimits { size: of.history_size, ttl_ms: of.history_ttl_ms };
        let have_presence = self.presence_max_edges.is_some() == own.presence_max_edges.is_some();
        in_force.differences(here, [broker(self), broker(own)], have_presence)
    }

    /// How long the histories of a namespace are stored after their last message; `None`: not known.
    pub(super) fn history_ttl_ms_of(&self, namespace: &str) -> Option<u64> {
        match &self.namespaces {
            Some(namespaces) => namespaces.history_ttl_ms(namespace, self.history_ttl_ms),
            None => Some(self.history_ttl_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::{HistoryOptions, PresenceOptions};
    use super::*;
    use crate::settings::{NamespaceSettings, Namespaces, RoomPresence};

    fn settings() -> DataSettings {
        DataSettings::own(&RedisOptions {
            history: HistoryOptions::of_size(77),
            ..RedisOptions::of_url("redis://localhost")
        })
    }

    #[test]
    fn settings_round_trip_and_unknown_fields_are_ignored() {
        let text = settings().to_text();
        assert_eq!(DataSettings::parse(text.as_bytes()), Some(settings()));
        let later = text.replace(
            "\"history_size\":77,\"history_ttl",
            "\"later\":{\"x\":1},\"history_size\":77,\"history_ttl",
        );
        assert_ne!(later, text);
        let later = later.replacen(",\"send\":false", ",\"send\":false,\"later\":[1]", 1);
        let parsed = DataSettings::parse(later.as_bytes()).unwrap();
        assert!(parsed.differences(&settings()).is_empty() && settings().differences(&parsed).is_empty());
        let older = text.replace(
            ",\"max_payload_depth\":128,\"revocation_ttl_ms\":2592005000,\"inbox_max_entries\":100000",
            "",
        );
        assert_eq!(DataSettings::parse(older.as_bytes()), Some(settings()));
        for bad in ["", "1", "{}", "{\"history_size\":-1}", "\u{fffd}"] {
            assert_eq!(DataSettings::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn differences_are_named_as_in_the_settings_file() {
        let in_force = DataSettings { history_size: 5, history_ttl_ms: 3_600_000, ..settings() };
        assert_eq!(
            in_force.differences(&settings()),
            ["broker.history_size is 5 in force, 77 here", "broker.history_ttl is 1h in force, 1d here"]
        );
        assert!(settings().differences(&settings()).is_empty());
    }

    fn with_presence(grace: Duration, room: RoomPresence) -> DataSettings {
        let room = NamespaceSettings { presence: room, occupancy: false, ..Default::default() };
        let namespaces = Arc::new(Namespaces::from_iter([("room".into(), room)]));
        let history = HistoryOptions { namespaces: Arc::clone(&namespaces), ..HistoryOptions::of_size(77) };
        DataSettings::own(&RedisOptions {
            history,
            presence: Some(PresenceOptions { grace, max_edges: 7, max_members: 200, namespaces }),
            ..RedisOptions::of_url("redis://localhost")
        })
    }

    #[test]
    fn differing_settings_of_presence_are_named() {
        let in_force = with_presence(Duration::from_secs(5), RoomPresence::Count);
        assert!(in_force.differences(&in_force).is_empty());
        assert_eq!(DataSettings::parse(in_force.to_text().as_bytes()).as_ref(), Some(&in_force));
        let other = with_presence(Duration::from_secs(30), RoomPresence::Members);
        let here = DataSettings { presence_max_edges: Some(8), ..other };
        assert_eq!(
            in_force.differences(&here),
            [
                "presence.max_edges is 7 in force, 8 here",
                "presence.grace is 5s in force, 30s here",
                "namespaces.room.presence is count in force, members here",
            ]
        );
        assert_eq!(in_force.differences(&settings()), ["presence.enabled is true in force, false here"]);
        assert_eq!(settings().differences(&in_force), ["presence.enabled is false in force, true here"]);
    }

    #[test]
    fn settings_of_gateways_without_these_fields_are_not_compared() {
        let own = with_presence(Duration::ZERO, RoomPresence::Count);
        assert!(!settings().to_text().contains("presence_"), "{}", settings().to_text());
        let older = DataSettings { presence_grace_ms: None, namespaces: None, ..own.clone() };
        let older = DataSettings::parse(older.to_text().as_bytes()).unwrap();
        assert!(older.differences(&own).is_empty());
        assert!(own.differences(&older).is_empty());
    }
}
