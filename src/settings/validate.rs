//! Checks ranges and unsafe combinations. Each error names the key to change and its requirement.
//!
//! - `auth`: the keys of `[auth]`
//! - `broker`: the keys of `[broker]`
//! - `namespaces`: `[namespaces.<name>]` and `[channels]`
//! - `opaque`: the keys of `[auth]` about opaque tokens
//! - `secrets`: placeholders instead of secrets

use std::{borrow::Cow, ops::RangeInclusive, time::Duration};

use super::{Profile, Secret, Settings, SettingsError, duration::format_duration};

mod auth;
mod broker;
mod namespaces;
mod opaque;
mod secrets;

type Check = Result<(), SettingsError>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest `admin.api_key` in production, in bytes.
const MIN_API_KEY_BYTES: usize = 16;

impl Settings {
    /// Checks everything that the type of a value does not ensure. Returns every mistake.
    pub(super) fn validate(&self) -> Vec<SettingsError> {
        [
            self.validate_server(),
            self.validate_broker(),
            self.validate_session(),
            self.validate_auth(),
            self.validate_token_lookups(),
            self.validate_admin(),
            self.validate_drain(),
            self.validate_presence(),
            self.validate_namespaces(),
            self.validate_inbox(),
            failures([check_duration("control.max_stale", self.control.max_stale, SECOND..=24 * HOUR)]),
            self.validate_channels(),
            failures([self.validate_log()]),
            self.validate_secrets(),
        ]
        .concat()
    }

    fn is_production(&self) -> bool {
        self.profile == Profile::Production
    }

    fn validate_server(&self) -> Vec<SettingsError> {
        let server = &self.server;
        failures([
            ensure(
                server.public_addr != server.admin_addr || server.public_addr.port() == 0,
                "server.admin_addr",
                "must differ from server.public_addr",
            ),
            check_count("server.workers", server.workers, 0..=512),
            check_duration("server.handshake_timeout", server.handshake_timeout, 500 * MS..=MINUTE),
            check_duration("server.close_timeout", server.close_timeout, 10 * MS..=MINUTE),
            ensure(
                !self.is_production() || !server.allowed_origins.is_empty(),
                "server.allowed_origins",
                r#"must list at least one origin in production, such as "https://app.example.com""#,
            ),
            ensure(
                server.allowed_origins.iter().all(|origin| is_origin(origin)),
                "server.allowed_origins",
                r#"must contain origins such as "https://app.example.com" or "https://*.example.com" (lower case, no path), "loopback", "file://", "null" or "*""#,
            ),
            server.trusted_networks().map(drop),
        ])
    }

    fn validate_session(&self) -> Vec<SettingsError> {
        let session = &self.session;
        let all = self.server.max_outbound_bytes;
        failures([
            check_duration("session.heartbeat_interval", session.heartbeat_interval, 50 * MS..=HOUR),
            check_duration("session.heartbeat_grace", session.heartbeat_grace, 10 * MS..=HOUR),
            check_duration("session.identify_timeout", session.identify_timeout, 10 * MS..=10 * MINUTE),
            check_duration("session.write_timeout", session.write_timeout, 10 * MS..=10 * MINUTE),
            check_duration("session.message_timeout", session.message_timeout, 10 * MS..=10 * MINUTE),
            check_count("session.max_message_bytes", session.max_message_bytes, KIB..=64 * MIB),
            check_count("session.max_outbound_bytes", session.max_outbound_bytes, KIB..=GIB),
            check_count("session.max_recovered_messages", session.max_recovered_messages, 0..=100_000),
            check_count(
                "session.control_frames_per_minute",
                session.control_frames_per_minute as usize,
                10..=1_000_000,
            ),
            ensure(
                all == 0 || all >= session.max_outbound_bytes,
                "server.max_outbound_bytes",
                "must be 0 or at least session.max_outbound_bytes",
            ),
            check_count("session.max_fragments", session.max_fragments, 1..=65_536),
            check_duration("session.signal_interval", session.signal_interval, 10 * MS..=MINUTE),
        ])
    }

    fn validate_admin(&self) -> Vec<SettingsError> {
        let admin = &self.admin;
        let key = admin.api_key.as_ref().map(Secret::expose);
        failures([
            check_count("admin.max_connections", admin.max_connections, 4..=10_000),
            check_duration("admin.request_timeout", admin.request_timeout, 500 * MS..=MINUTE),
            ensure(
                admin.socket_url.as_deref().is_none_or(is_socket_url),
                "admin.socket_url",
                r#"must be a ws:// or wss:// URL without a query, such as "wss://rt.example.com/gateway""#,
            ),
            ensure(
                !self.is_production() || key.is_none_or(|key| key.len() >= MIN_API_KEY_BYTES),
                "admin.api_key",
                "must be at least 16 bytes long in production",
            ),
            ensure(
                key.is_none_or(|key| key.bytes().all(|byte| byte.is_ascii_graphic())),
                "admin.api_key",
                "must be printable ASCII without spaces, because it is sent in an HTTP header",
            ),
        ])
    }

    fn validate_presence(&self) -> Vec<SettingsError> {
        let presence = &self.presence;
        failures([
            check_duration("presence.grace", presence.grace, Duration::ZERO..=10 * MINUTE),
            check_count("presence.max_edges", presence.max_edges, 1_000..=10_000_000),
            check_count("presence.max_members", presence.max_members, 0..=10_000),
        ])
    }

    fn validate_inbox(&self) -> Vec<SettingsError> {
        let inbox = &self.inbox;
        failures([
            check_count("inbox.max_entries", inbox.max_entries, 1..=10_000_000),
            check_count("inbox.max_message_bytes", inbox.max_message_bytes, KIB..=MIB),
        ])
    }

    fn validate_drain(&self) -> Vec<SettingsError> {
        let drain = &self.drain;
        failures([
            check_duration("drain.delay", drain.delay, Duration::ZERO..=10 * MINUTE),
            check_duration("drain.window", drain.window, Duration::ZERO..=HOUR),
            check_duration("drain.timeout", drain.timeout, Duration::ZERO..=2 * HOUR),
            ensure(
                drain.timeout >= drain.delay + drain.window,
                "drain.timeout",
                "must be at least the sum of drain.delay and drain.window",
            ),
        ])
    }

    fn validate_log(&self) -> Check {
        ensure(
            self.log.level.split(',').all(is_log_filter),
            "log.level",
            "must be off, error, warn, info, debug or trace, or a list such as info,module=debug",
        )
    }
}

/// Whether the text is a level, or a module with a level.
pub(super) fn is_log_filter(text: &str) -> bool {
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&text.to_lowercase().as_str())
    };
    match text.trim().split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level),
        None => is_level(text.trim()),
    }
}

fn refuse(key: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Check {
    Err(refusal(key, reason))
}

fn refusal(key: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> SettingsError {
    SettingsError::Refused { key: key.into(), reason: reason.into() }
}

fn ensure(is_good: bool, key: &'static str, reason: &str) -> Check {
    if is_good { Ok(()) } else { refuse(key, reason) }
}

/// The errors of the failed checks.
fn failures<const N: usize>(checks: [Check; N]) -> Vec<SettingsError> {
    checks.into_iter().filter_map(Result::err).collect()
}

fn check_count(key: impl Into<Cow<'static, str>>, value: usize, range: RangeInclusive<usize>) -> Check {
    if range.contains(&value) {
        return Ok(());
    }
    refuse(key, format!("must be {} to {}, not {value}", range.start(), range.end()))
}

fn check_duration(
    key: impl Into<Cow<'static, str>>,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Check {
    if range.contains(&value) {
        return Ok(());
    }
    let [start, end, value] = [*range.start(), *range.end(), value].map(format_duration);
    refuse(key, format!("must be {start} to {end}, not {value}"))
}

/// Tokens have times in whole seconds, so fractions have no effect.
fn check_whole_seconds(key: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Check {
    check_duration(key, value, range)?;
    if value.subsec_nanos() == 0 { Ok(()) } else { refuse(key, "must be a whole number of seconds") }
}

/// The URL becomes part of a Content-Security-Policy, where spaces, commas and semicolons are separators.
fn is_socket_url(url: &str) -> bool {
    let rest = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(is_plain))
}

fn is_origin(origin: &str) -> bool {
    // Sandboxed frames and local files send "null", some web views send "file://".
    if ["*", "null", "file://", "loopback"].contains(&origin) {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let host = authority.strip_prefix("*.").unwrap_or(authority);
    let scheme_ok = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    // A browser sends the host in lower case and nothing after the port; other entries would never match.
    let host_ok = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte));
    scheme_ok && host_ok
}
