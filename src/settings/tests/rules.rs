//! Ranges and unsafe combinations, each with its error.
//!
//! - `admin`, `auth`, `broker`, `namespaces`, `server`: the rules of one section
//!
//! This file has the ranges of all sections, the rules about secrets of several sections, and the small sections.

use super::{Folder, HS_SECRET, assert_refused, development, production};

mod admin;
mod auth;
mod broker;
mod namespaces;
mod server;

#[test]
fn every_range_has_two_ends() {
    let ranges = [
        ("server.workers", "0", "512", "", "513"),
        ("server.handshake_timeout", "500ms", "1m", "499ms", "61s"),
        ("server.close_timeout", "10ms", "60s", "0s", "61s"),
        ("presence.grace", "0s", "10m", "-1s", "601s"),
        ("presence.max_edges", "1000", "10000000", "999", "10000001"),
        ("presence.max_members", "0", "10000", "-1", "10001"),
        ("control.max_stale", "1s", "1d", "999ms", "25h"),
        ("broker.history_size", "1", "1000000", "0", "1000001"),
        ("broker.history_ttl", "1s", "365d", "999ms", "366d"),
        ("broker.idempotency_window", "1s", "7d", "999ms", "8d"),
        ("broker.max_memory_history_bytes", "1048576", "68719476736", "1048575", "68719476737"),
        ("broker.connect_timeout", "10ms", "1m", "9ms", "61s"),
        ("broker.response_timeout", "10ms", "1m", "9ms", "61s"),
        ("broker.probe_interval", "50ms", "1499ms", "49ms", "61s"),
        ("broker.probe_timeout", "1001ms", "10m", "1s", "601s"),
        ("broker.history_check_interval", "1s", "1h", "999ms", "61m"),
        ("broker.min_reconnect_delay", "1ms", "5s", "0s", "61s"),
        ("broker.max_reconnect_delay", "100ms", "10m", "99ms", "601s"),
        ("broker.max_payload_bytes", "1024", "16777216", "1023", "67108865"),
        ("broker.max_payload_depth", "1", "1000", "0", "1001"),
        ("broker.max_inbox_bytes", "1048576", "1073741824", "1048575", "1073741825"),
        ("session.heartbeat_interval", "50ms", "1h", "49ms", "61m"),
        ("session.heartbeat_grace", "10ms", "1h", "9ms", "61m"),
        ("session.identify_timeout", "10ms", "10m", "9ms", "601s"),
        ("session.write_timeout", "10ms", "10m", "9ms", "601s"),
        ("session.message_timeout", "10ms", "10m", "9ms", "601s"),
        ("session.max_message_bytes", "1024", "67108864", "1023", "67108865"),
        ("session.max_outbound_bytes", "1024", "1073741824", "1023", "1073741825"),
        ("session.max_recovered_messages", "0", "100000", "-1", "100001"),
        ("session.control_frames_per_minute", "10", "1000000", "9", "1000001"),
        ("session.max_fragments", "1", "65536", "0", "65537"),
        ("session.signal_interval", "10ms", "1m", "9ms", "61s"),
        ("inbox.max_entries", "1", "10000000", "0", "10000001"),
        ("inbox.max_message_bytes", "1024", "1048576", "1023", "1048577"),
        ("namespaces.room.history_size", "1", "1000000", "-1", "1000001"),
        ("namespaces.room.history_ttl", "1s", "365d", "999ms", "366d"),
        ("namespaces.room.max_last", "0", "1000", "-1", "1001"),
        ("auth.max_age", "1s", "3650d", "0s", "3651d"),
        ("auth.leeway", "0s", "5m", "1500ms", "301s"),
        ("admin.max_connections", "4", "10000", "3", "10001"),
        ("admin.request_timeout", "500ms", "1m", "499ms", "61s"),
        ("drain.delay", "0s", "4s", "5s", "601s"),
        ("drain.window", "0s", "5s", "6s", "61m"),
        ("drain.timeout", "1s", "2h", "999ms", "121m"),
    ];
    for (key, lowest, highest, below, above) in ranges {
        for good in [lowest, highest] {
            assert!(
                development(&[(key, good)]).is_ok(),
                "{key} = {good}: {:?}",
                development(&[(key, good)]).err()
            );
        }
        for bad in [below, above] {
            // A rule for two keys may name the other key.
            let section = key.split('.').next().unwrap();
            assert_refused(development(&[(key, bad)]), &[section, "must be"]);
        }
    }
}

#[test]
fn production_refuses_placeholder_secrets() {
    let redis = ("broker.url", "redis://h");
    let sentinel = ("broker.url", "redis+sentinel://h/main");
    for placeholder in [
        "replace-me-with-32-bytes-or-more-before-use",
        "for-trying-only-replace-me-before-use",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        let url = format!("redis://me:{placeholder}@h");
        for (settings, key) in [
            (&[("auth.secret", placeholder)][..], "auth.secret"),
            (&[("auth.kind", "signed"), ("auth.secret", placeholder)], "auth.secret"),
            (&[("admin.api_key", placeholder)], "admin.api_key"),
            (&[redis, ("broker.password", placeholder)], "broker.password"),
            (&[sentinel, ("broker.sentinel_password", placeholder)], "broker.sentinel_password"),
            (&[("broker.url", url.as_str())], "broker.url"),
        ] {
            let result = production(settings);
            assert!(!format!("{result:?}").contains(placeholder), "{result:?}");
            assert_refused(result, &[key, "in production"]);
        }
        assert!(development(&[("auth.kind", "jwt"), ("auth.secret", placeholder)]).is_ok());
    }
    let folder = Folder::new("placeholder");
    let file = folder.file("password", "replace-me");
    let file = ("broker.password_file", file.to_str().unwrap());
    assert_refused(production(&[redis, file]), &["broker.password_file", "placeholder"]);
}

#[test]
fn public_namespaces_are_checked() {
    for bad in ["user", "all", "default", "public,user", "a:b", "a b", "room*", "ü"] {
        assert_refused(development(&[("channels.public_namespaces", bad)]), &["channels.public_namespaces"]);
    }
    for bad in [r#"["room", "team"]"#, "[room]", r#""room""#, "'room'", "room]"] {
        assert_refused(
            development(&[("channels.public_namespaces", bad)]),
            &["channels.public_namespaces", "such as room,team"],
        );
    }
    assert!(development(&[("channels.public_namespaces", "a.b,room-1")]).is_ok());
}

#[test]
fn log_levels_are_checked() {
    for good in ["off", "info", "DEBUG", "info,emagine_gateway::broker=trace", "warn, actix_server=error"] {
        assert!(development(&[("log.level", good)]).is_ok(), "{good}");
    }
    for bad in ["", "loud", "info,", "=info", "x=loud"] {
        assert_refused(development(&[("log.level", bad)]), &["log.level"]);
    }
}

#[test]
fn the_log_format_is_text_or_json() {
    for good in ["text", "json"] {
        assert!(development(&[("log.format", good)]).is_ok(), "{good}");
    }
    for bad in ["", "JSON", "xml"] {
        assert_refused(development(&[("log.format", bad)]), &["log.format"]);
    }
}
