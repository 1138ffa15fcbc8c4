//! Checks `[broker]`: durations, sizes, the URL, and the keys that depend on the URL.

use super::{
    Check, DAY, GIB, HOUR, KIB, MIB, MINUTE, MS, SECOND, check_count, check_duration, ensure, failures,
    refuse,
};
use crate::settings::{BrokerSettings, Settings, SettingsError};

impl Settings {
    pub(super) fn validate_broker(&self) -> Vec<SettingsError> {
        let broker = &self.broker;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        let is_name = (1..=64).contains(&broker.prefix.len()) && broker.prefix.bytes().all(allowed);
        let checks = failures([
            ensure(
                is_name,
                "broker.prefix",
                "must be 1 to 64 printable ASCII characters without spaces and braces",
            ),
            ensure(
                !broker.prefix.contains(':'),
                "broker.prefix",
                "must not contain a colon: the first colon of a key ends its prefix, so clients of one prefix could \
                 name channels of another",
            ),
            check_count("broker.history_size", broker.history_size, 1..=1_000_000),
            check_duration("broker.history_ttl", broker.history_ttl, SECOND..=365 * DAY),
            check_duration("broker.idempotency_window", broker.idempotency_window, SECOND..=7 * DAY),
            check_count("broker.max_memory_history_bytes", broker.max_memory_history_bytes, MIB..=64 * GIB),
            check_count("broker.max_payload_bytes", broker.max_payload_bytes, KIB..=64 * MIB),
            check_count("broker.max_payload_depth", broker.max_payload_depth, 1..=1000),
            check_count("broker.max_inbox_bytes", broker.max_inbox_bytes, KIB..=GIB),
            ensure(
                broker.max_inbox_bytes >= broker.max_payload_bytes,
                "broker.max_inbox_bytes",
                "must be at least broker.max_payload_bytes",
            ),
        ]);
        [check_address(broker), checks, check_durations(broker)].concat()
    }
}

/// Checks the URL, and the keys that depend on it.
fn check_address(broker: &BrokerSettings) -> Vec<SettingsError> {
    match BrokerUrl::parse(&broker.url) {
        Ok(url) => failures([
            check_credentials(broker, &url),
            check_sentinel_credentials(broker, &url),
            check_tls(broker, &url),
        ]),
        Err(error) => vec![error],
    }
}

fn check_durations(broker: &BrokerSettings) -> Vec<SettingsError> {
    failures([
        check_duration("broker.connect_timeout", broker.connect_timeout, 10 * MS..=MINUTE),
        check_duration("broker.response_timeout", broker.response_timeout, 10 * MS..=MINUTE),
        check_duration("broker.probe_interval", broker.probe_interval, 50 * MS..=MINUTE),
        check_duration("broker.probe_timeout", broker.probe_timeout, 50 * MS..=10 * MINUTE),
        ensure(
            broker.probe_timeout > broker.probe_interval,
            "broker.probe_timeout",
            "must be longer than broker.probe_interval",
        ),
        check_duration("broker.history_check_interval", broker.history_check_interval, SECOND..=HOUR),
        check_duration("broker.min_reconnect_delay", broker.min_reconnect_delay, MS..=MINUTE),
        check_duration("broker.max_reconnect_delay", broker.max_reconnect_delay, MS..=10 * MINUTE),
        ensure(
            broker.max_reconnect_delay >= broker.min_reconnect_delay,
            "broker.max_reconnect_delay",
            "must be at least broker.min_reconnect_delay",
        ),
    ])
}

/// The properties of the URL that other settings depend on. The broker parses the URL in full.
struct BrokerUrl {
    is_redis: bool,
    is_sentinel: bool,
    is_tls: bool,
    has_credentials: bool,
}

impl BrokerUrl {
    /// The errors do not repeat the URL, because it may contain a password.
    fn parse(url: &str) -> Result<Self, SettingsError> {
        let bad = |reason: &str| super::refusal("broker.url", reason);
        if url == "memory:" {
            return Ok(Self { is_redis: false, is_sentinel: false, is_tls: false, has_credentials: false });
        }
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !["redis", "rediss", "unix", "redis+unix", "redis+sentinel", "rediss+sentinel"].contains(&scheme) {
            return Err(bad(
                "must be memory:, or begin with redis://, rediss://, unix://, redis+sentinel:// or \
                            rediss+sentinel://",
            ));
        }
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad("must not contain whitespace"));
        }
        let is_sentinel = scheme.ends_with("+sentinel");
        let is_tls = scheme.starts_with("rediss");
        if scheme.ends_with("unix") {
            if !rest.starts_with('/') || rest == "/" {
                return Err(bad(
                    "must contain the absolute path of a socket, such as unix:///run/redis/redis.sock",
                ));
            }
            let query = rest.split_once('?').map_or("", |(_, query)| query);
            let mut names = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
            let has_credentials = names.any(|name| matches!(name, "user" | "pass"));
            let databases = query.split('&').filter_map(|pair| pair.strip_prefix("db="));
            if !databases.into_iter().all(is_database) {
                return Err(bad(BAD_DATABASE));
            }
            return Ok(Self { is_redis: true, is_sentinel, is_tls, has_credentials });
        }
        let (credentials, endpoint) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = endpoint.split_once('/').unwrap_or((endpoint, ""));
        let is_named = |host: &str| host.split([':', '?', '#']).next().is_some_and(|name| !name.is_empty());
        if !hosts.split(',').all(is_named) {
            return Err(bad("must contain a host, such as redis://127.0.0.1:6379"));
        }
        if !hosts.split(',').all(has_good_port) {
            return Err(bad("must have a port between 1 and 65535, such as redis://127.0.0.1:6379"));
        }
        if is_sentinel && path.split(['/', '?', '#']).next().is_none_or(str::is_empty) {
            return Err(bad(
                "must contain the name of the master, such as redis+sentinel://host:26379/mymaster",
            ));
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let database = if is_sentinel { path.split_once('/').map_or("", |(_, db)| db) } else { path };
        if !database.is_empty() && !is_database(database) {
            return Err(bad(BAD_DATABASE));
        }
        Ok(Self { is_redis: true, is_sentinel, is_tls, has_credentials: !credentials.is_empty() })
    }
}

const BAD_DATABASE: &str =
    "must have a database number or nothing after the slash, such as redis://host:6379/3";

fn is_database(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// A host without a port is valid. The colons in `[::1]` do not separate a port.
fn has_good_port(host: &str) -> bool {
    let host = host.split(['?', '#']).next().unwrap_or_default();
    let end = host.rsplit(']').next().unwrap_or_default();
    end.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn check_credentials(broker: &BrokerSettings, url: &BrokerUrl) -> Check {
    let keys = [
        ("broker.username", broker.username.is_some()),
        ("broker.password", broker.password.is_some()),
        ("broker.password_file", broker.password_file.is_some()),
    ];
    if let Some((key, _)) = keys.iter().find(|(_, is_given)| *is_given).copied() {
        if !url.is_redis {
            return refuse(key, "must not be set if broker.url is memory:, which has no users");
        }
        if url.has_credentials {
            return refuse(
                key,
                "must not be set if broker.url contains a user or a password; set only one of the two",
            );
        }
    }
    check_pair(keys)
}

fn check_sentinel_credentials(broker: &BrokerSettings, url: &BrokerUrl) -> Check {
    let keys = [
        ("broker.sentinel_username", broker.sentinel_username.is_some()),
        ("broker.sentinel_password", broker.sentinel_password.is_some()),
        ("broker.sentinel_password_file", broker.sentinel_password_file.is_some()),
    ];
    match keys.iter().find(|(_, is_given)| *is_given).copied() {
        Some((key, _)) if !url.is_sentinel => refuse(
            key,
            "must not be set unless broker.url begins with redis+sentinel:// or rediss+sentinel://",
        ),
        _ => check_pair(keys),
    }
}

/// Checks a user, a password and a file with a password.
fn check_pair([username, password, file]: [(&'static str, bool); 3]) -> Check {
    if password.1 && file.1 {
        return refuse(
            file.0,
            format!("cannot be set together with {}; set only one of the two", password.0),
        );
    }
    // Redis authenticates a user only with a password; a `nopass` user accepts any.
    if username.1 && !password.1 && !file.1 {
        return refuse(username.0, format!("needs {} or {}", password.0, file.0));
    }
    Ok(())
}

fn check_tls(broker: &BrokerSettings, url: &BrokerUrl) -> Check {
    let files = [
        ("broker.tls_ca_file", broker.tls_ca_file.is_some()),
        ("broker.tls_cert_file", broker.tls_cert_file.is_some()),
        ("broker.tls_key_file", broker.tls_key_file.is_some()),
    ];
    let [_, (cert_key, has_cert), (key_key, has_key)] = files;
    match files.iter().find(|(_, is_given)| *is_given).copied() {
        Some((key, _)) if !url.is_tls => {
            refuse(key, "must not be set unless broker.url begins with rediss:// or rediss+sentinel://")
        }
        _ if has_cert && !has_key => refuse(cert_key, "needs broker.tls_key_file"),
        _ if has_key && !has_cert => refuse(key_key, "needs broker.tls_cert_file"),
        _ => Ok(()),
    }
}
