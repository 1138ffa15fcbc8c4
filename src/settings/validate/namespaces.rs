//! Checks `[namespaces.<name>]`, and `[channels]`, which is a shorthand for one option of them.

use super::{Check, DAY, SECOND, check_count, check_duration, ensure, failures, refuse};
use crate::settings::{NamespaceSettings, RoomPresence, Settings, SettingsError, SubscribeRule};

impl Settings {
    pub(super) fn validate_namespaces(&self) -> Vec<SettingsError> {
        let default = self.namespaces.options("default");
        let entries = self.namespaces.entries().flat_map(|(name, options)| {
            // What a namespace takes from the default is refused there.
            let is_own = name == "default" || limits(options) != limits(default);
            let checks = [
                if is_own { self.check_history(name, options) } else { Vec::new() },
                failures([check_public(name, options)]),
            ];
            checks.concat()
        });
        failures([self.check_presence()]).into_iter().chain(entries).collect()
    }

    fn check_history(&self, name: &str, options: NamespaceSettings) -> Vec<SettingsError> {
        let key = |option: &str| format!("namespaces.{name}.{option}");
        let (size, ttl) = (options.history_size, options.history_ttl);
        // A value of `[broker]` is refused there.
        let is_own_size = size != self.broker.history_size;
        let is_own_ttl = ttl != self.broker.history_ttl;
        failures([
            if is_own_size { check_count(key("history_size"), size, 1..=1_000_000) } else { Ok(()) },
            if is_own_ttl { check_duration(key("history_ttl"), ttl, SECOND..=365 * DAY) } else { Ok(()) },
            check_max_last(key("max_last"), options),
        ])
    }

    /// Presence and occupancy are reports, and replicas make none if presence is off.
    fn check_presence(&self) -> Check {
        if self.presence.enabled {
            return Ok(());
        }
        let reports = |(_, options): &(&str, NamespaceSettings)| options.reports_subscribers();
        let Some((name, options)) = self.namespaces.entries().find(reports) else { return Ok(()) };
        let option = match options.presence {
            RoomPresence::Off => "occupancy is true",
            RoomPresence::Count => r#"presence is "count""#,
            RoomPresence::Members => r#"presence is "members""#,
        };
        refuse("presence.enabled", format!("must be true, because namespaces.{name}.{option}"))
    }

    pub(super) fn validate_channels(&self) -> Vec<SettingsError> {
        let namespaces = &self.channels.public_namespaces;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"{}:*".contains(&byte);
        let is_name = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        failures([
            ensure(
                !namespaces.iter().any(|name| name == "user" || name == "all"),
                "channels.public_namespaces",
                "must not contain user or all: every client could read every user's messages",
            ),
            ensure(
                !namespaces.iter().any(|name| name == "default"),
                "channels.public_namespaces",
                r#"must not contain default; namespaces.default.subscribe = "public" opens every namespace without its own section"#,
            ),
            ensure(
                !namespaces.iter().any(|name| name.contains(['[', ']', '"', '\''])),
                "channels.public_namespaces",
                "must be a plain list without brackets and quotes, such as room,team (in a file [\"room\", \"team\"])",
            ),
            ensure(
                namespaces.iter().all(is_name),
                "channels.public_namespaces",
                "must contain names of 1 to 64 printable ASCII characters without spaces, braces, colons and asterisks",
            ),
        ])
    }
}

fn limits(options: NamespaceSettings) -> impl PartialEq {
    (options.history_size, options.history_ttl, options.max_last)
}

fn check_max_last(key: String, options: NamespaceSettings) -> Check {
    let NamespaceSettings { history_size, max_last, .. } = options;
    if max_last as usize <= history_size {
        return Ok(());
    }
    refuse(key, format!("must be at most {history_size}, the history_size of the namespace, not {max_last}"))
}

fn check_public(name: &str, options: NamespaceSettings) -> Check {
    if !["user", "all"].contains(&name) || options.subscribe == SubscribeRule::Token {
        return Ok(());
    }
    let reason = r#"must be "token": every client could read every user's messages"#;
    refuse(format!("namespaces.{name}.subscribe"), reason)
}
