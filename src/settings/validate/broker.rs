//! Checks `[broker]`: durations, sizes, the URL, and the keys that depend on the URL.
//!
//! - `url`: the URL itself

mod url;

use self::url::{BrokerKind, BrokerUrl};
use super::{
    Check, DAY, GIB, HOUR, KIB, MIB, MINUTE, MS, SECOND, check_count, check_duration, ensure, failures,
    refuse,
};
use crate::settings::{BrokerSettings, ReadyWithShards, Settings, SettingsError, Shards};

impl Settings {
    pub(super) fn validate_broker(&self) -> Vec<SettingsError> {
        let broker = &self.broker;
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        let in_braces = broker.prefix.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let name = in_braces.unwrap_or(&broker.prefix);
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        let checks = failures([
            ensure(
                is_name,
                "broker.prefix",
                "must be 1 to 64 printable ASCII characters without spaces and braces; only the whole prefix may be in \
                 braces",
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
        [check_address(broker), checks, check_shards(broker), check_durations(broker)].concat()
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

fn check_shards(broker: &BrokerSettings) -> Vec<SettingsError> {
    let is_sharded = broker.shards == Shards::Slots;
    failures([
        ensure(
            !is_sharded || broker.is_cluster(),
            "broker.shards",
            "must be \"one\" unless broker.url begins with redis+cluster:// or rediss+cluster://",
        ),
        ensure(
            !is_sharded || !broker.has_tagged_prefix(),
            "broker.prefix",
            "must not be in braces if broker.shards is \"slots\": they would put all channels into one slot",
        ),
        ensure(
            is_sharded || broker.ready_with_shards == ReadyWithShards::All,
            "broker.ready_with_shards",
            "must be \"all\" unless broker.shards is \"slots\"",
        ),
    ])
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

fn check_credentials(broker: &BrokerSettings, url: &BrokerUrl) -> Check {
    let keys = [
        ("broker.username", broker.username.is_some()),
        ("broker.password", broker.password.is_some()),
        ("broker.password_file", broker.password_file.is_some()),
    ];
    if let Some((key, _)) = keys.iter().find(|(_, is_given)| *is_given).copied() {
        if url.kind == BrokerKind::Memory {
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
        Some((key, _)) if url.kind != BrokerKind::Sentinels => refuse(
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
        Some((key, _)) if !url.is_tls => refuse(
            key,
            "must not be set unless broker.url begins with rediss://, rediss+sentinel:// or rediss+cluster://",
        ),
        _ if has_cert && !has_key => refuse(cert_key, "needs broker.tls_key_file"),
        _ if has_key && !has_cert => refuse(key_key, "needs broker.tls_cert_file"),
        _ => Ok(()),
    }
}
