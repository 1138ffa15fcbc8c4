//! Ranges and unsafe combinations, each with its error.

use super::{Folder, HS_SECRET, assert_refused, development, production};

#[test]
fn every_range_has_two_ends() {
    let ranges = [
        ("server.workers", "0", "512", "", "513"),
        ("server.handshake_timeout", "500ms", "1m", "499ms", "61s"),
        ("server.close_timeout", "10ms", "60s", "0s", "61s"),
        ("presence.grace", "0s", "10m", "-1s", "601s"),
        ("presence.max_edges", "1000", "10000000", "999", "10000001"),
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
fn the_process_queue_limit_is_at_least_the_socket_limit() {
    let two = |all| [("session.max_outbound_bytes", "2048"), ("server.max_outbound_bytes", all)];
    assert!(development(&two("0")).is_ok());
    assert!(development(&two("2048")).is_ok());
    assert_refused(development(&two("2047")), &["server.max_outbound_bytes", "session.max_outbound_bytes"]);
}

#[test]
fn the_two_listeners_must_differ() {
    let same = [("server.public_addr", "127.0.0.1:9000"), ("server.admin_addr", "127.0.0.1:9000")];
    assert_refused(development(&same), &["server.admin_addr", "differ"]);
    let free = [("server.public_addr", "127.0.0.1:0"), ("server.admin_addr", "127.0.0.1:0")];
    assert!(development(&free).is_ok());
}

#[test]
fn origins_and_networks_are_checked() {
    for good in [
        "*",
        "null",
        "https://a.example.com",
        "https://*.example.com",
        "http://localhost:3000",
        "capacitor://localhost",
        "http://[::1]:8080",
        "loopback",
    ] {
        assert!(development(&[("server.allowed_origins", good)]).is_ok(), "{good}");
    }
    for bad in [
        "example.com",
        "https://",
        "https://a.example.com/",
        "https://A.example.com",
        "https://a.*.com",
        "https://*",
        "https://*.",
        "://a",
    ] {
        assert_refused(development(&[("server.allowed_origins", bad)]), &["server.allowed_origins"]);
    }
    for good in ["10.0.0.0/8", "fd00::/8", "10.1.2.3", "0.0.0.0/0, ::/0"] {
        assert!(development(&[("server.trusted_proxies", good)]).is_ok(), "{good}");
    }
    for bad in ["10.0.0.0/33", "fd00::/129", "10.0.0/8", "proxy", "10.0.0.0/"] {
        assert_refused(development(&[("server.trusted_proxies", bad)]), &["server.trusted_proxies"]);
    }
}

#[test]
fn broker_urls_and_prefixes_are_checked() {
    for good in [
        "memory:",
        "redis://h",
        "redis://h:1/2",
        "rediss://u:p@h:1",
        "redis://[::1]:6379",
        "redis://:p@h",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=1&user=u&pass=p",
        "redis+sentinel://h/main",
        "redis+sentinel://u:p@h:1,[::1]:2,i/main/3",
        "rediss+sentinel://h:1/main",
    ] {
        assert!(development(&[("broker.url", good)]).is_ok(), "{good}");
    }
    for bad in [
        "",
        "memory",
        "memory:x",
        "http://h",
        "redis:h",
        "redis://",
        "redis:///1",
        "redis://u:p@",
        "redis://h x",
        "h:6379",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "redis+sentinel://h:1/?x=1",
        "redis+sentinel://h:1,,i/main",
        "redis+sentinel:///main",
        "redis-cluster://h:1",
        "redis://h:0",
        "redis://h:99999",
        "redis://h:x",
        "redis://[::1]:99999",
        "redis://h:1/x",
        "redis://h:1/1/2",
        "redis://h:1/-1",
        "unix:///s?db=x",
        "redis+sentinel://h:99999/main",
        "redis+sentinel://h:1/main/x",
        "redis+sentinel://h:1,i:0/main",
    ] {
        assert_refused(development(&[("broker.url", bad)]), &["broker.url", "must"]);
    }
    for bad in ["", "a b", "a{b", "a}b", "é", "a\nb", &"a".repeat(65)] {
        assert_refused(development(&[("broker.prefix", bad)]), &["broker.prefix"]);
    }
    for bad in ["gateway:user", ":", "a:"] {
        assert_refused(
            development(&[("broker.prefix", bad)]),
            &["broker.prefix", "must not contain a colon"],
        );
    }
}

#[test]
fn a_redis_password_is_set_in_one_place() {
    let redis = ("broker.url", "redis://h");
    let sentinel = ("broker.url", "redis+sentinel://h/main");
    for good in [
        &[redis, ("broker.password", "hunter2")][..],
        &[redis, ("broker.username", "me"), ("broker.password", "hunter2")],
        &[sentinel, ("broker.sentinel_username", "me"), ("broker.sentinel_password", "hunter2")],
        &[("broker.url", "redis+sentinel://me:hunter2@h/main"), ("broker.sentinel_password", "hunter2")],
    ] {
        let settings = development(good).unwrap();
        assert!(!format!("{settings:?} {}", settings.to_masked_toml()).contains("hunter2"));
    }
    for (settings, parts) in [
        (&[redis, ("broker.username", "me")][..], ["broker.username", "broker.password_file"]),
        (
            &[redis, ("broker.password", "hunter2"), ("broker.password_file", "/f")],
            ["broker.password_file", "one"],
        ),
        (&[("broker.url", "redis://:hunter2@h"), ("broker.password", "x")], ["broker.password", "one"]),
        (&[("broker.url", "redis://me@h"), ("broker.password_file", "/f")], ["broker.password_file", "one"]),
        (&[("broker.url", "unix:///s?pass=hunter2"), ("broker.password", "x")], ["broker.password", "one"]),
        (&[("broker.password", "hunter2")], ["broker.password", "memory:"]),
        (
            &[redis, ("broker.sentinel_password", "hunter2")],
            ["broker.sentinel_password", "redis+sentinel://"],
        ),
        (
            &[sentinel, ("broker.sentinel_username", "me")],
            ["broker.sentinel_username", "broker.sentinel_password"],
        ),
        (&[redis, ("broker.password_file", "/nonexistent/p")], ["broker.password_file", "/nonexistent/p"]),
    ] {
        let result = development(settings);
        assert!(!format!("{result:?}").contains("hunter2"), "{result:?}");
        assert_refused(result, &parts);
    }
}

#[test]
fn tls_files_go_with_tls() {
    for (settings, parts) in [
        (
            &[("broker.url", "redis://h"), ("broker.tls_ca_file", "/f")][..],
            ["broker.tls_ca_file", "rediss://"],
        ),
        (&[("broker.tls_cert_file", "/f")], ["broker.tls_cert_file", "rediss://"]),
        (
            &[("broker.url", "rediss://h"), ("broker.tls_cert_file", "/f")],
            ["tls_cert_file", "broker.tls_key_file"],
        ),
        (
            &[("broker.url", "rediss://h"), ("broker.tls_key_file", "/f")],
            ["tls_key_file", "broker.tls_cert_file"],
        ),
        (
            &[("broker.url", "rediss://h"), ("broker.tls_ca_file", "/nonexistent/ca")],
            ["broker.tls_ca_file", "/nonexistent"],
        ),
        (&[("broker.url", "rediss://h"), ("broker.tls_ca_file", "/")], ["broker.tls_ca_file", "regular"]),
    ] {
        assert_refused(development(settings), &parts);
    }
}

#[test]
fn a_silent_link_is_detected_within_three_seconds_by_default() {
    let broker = development(&[]).unwrap().broker;
    assert!(broker.probe_interval + broker.probe_timeout < std::time::Duration::from_secs(3));
}

#[test]
fn insecure_is_for_development_on_a_loopback_address() {
    assert_refused(production(&[("auth.kind", "insecure")]), &["auth.kind", "production"]);
    let on_loopback = [("auth.kind", "insecure"), ("server.public_addr", "127.0.0.1:8080")];
    assert_refused(production(&on_loopback), &["auth.kind", "production"]);
    assert_refused(development(&[("server.public_addr", "0.0.0.0:8080")]), &["auth.kind", "loopback"]);
    assert_refused(development(&[("server.public_addr", "[::]:8080")]), &["auth.kind", "loopback"]);
    assert!(development(&[("server.public_addr", "[::1]:8080")]).is_ok());
}

#[test]
fn production_needs_origins() {
    assert_refused(production(&[("server.allowed_origins", "")]), &["server.allowed_origins", "production"]);
    assert!(production(&[("server.allowed_origins", "*")]).is_ok());
}

#[test]
fn jwt_with_a_secret() {
    for profile in [development, production] {
        let jwt = |secret| profile(&[("auth.kind", "jwt"), ("auth.secret", secret)]);
        assert!(jwt(HS_SECRET).is_ok());
        assert_refused(jwt(&HS_SECRET[1..]), &["auth.secret", "32 bytes"]);
        assert_refused(jwt(""), &["auth.secret", "must be set"]);
        let key = [("auth.kind", "jwt"), ("auth.secret", HS_SECRET), ("auth.public_key_file", "key.pem")];
        assert_refused(profile(&key), &["auth.public_key_file", "HS"]);
    }
    assert!(production(&[("auth.algorithms", "HS256,HS384,HS512")]).is_ok());
}

#[test]
fn jwt_with_a_public_key() {
    for algorithms in ["RS256", "RS256,PS512", "ES256", "ES384", "EdDSA"] {
        let with = |secret, file| {
            production(&[
                ("auth.algorithms", algorithms),
                ("auth.secret", secret),
                ("auth.public_key_file", file),
            ])
        };
        assert!(with("", "key.pem").is_ok());
        assert_refused(with("", ""), &["auth.public_key_file", "must be set"]);
        assert_refused(with(HS_SECRET, "key.pem"), &["auth.secret", "must not be set"]);
    }
}

#[test]
fn jwt_algorithms_are_of_one_family() {
    for mixed in ["HS256,RS256", "RS256,HS256", "ES256,ES384", "RS256,EdDSA", "HS256,ES256"] {
        assert_refused(production(&[("auth.algorithms", mixed)]), &["auth.algorithms", "one family"]);
    }
    for bad in ["", "none", "HS256,none", "hs256", "ES512"] {
        assert_refused(production(&[("auth.algorithms", bad)]), &["auth.algorithms", "HS256"]);
    }
}

#[test]
fn signed_needs_a_secret() {
    let signed = |profile: fn(&[(&str, &str)]) -> _, secret| {
        profile(&[("auth.kind", "signed"), ("auth.secret", secret)])
    };
    assert!(signed(development, "x").is_ok());
    assert_refused(signed(development, ""), &["auth.secret", "signed"]);
    assert!(signed(production, "0123456789abcdef").is_ok());
    assert_refused(signed(production, "0123456789abcde"), &["auth.secret", "16 bytes"]);
}

#[test]
fn the_admin_key_is_checked() {
    assert!(production(&[("admin.api_key", "0123456789abcdef")]).is_ok());
    assert!(development(&[("admin.api_key", "x")]).is_ok());
    assert_refused(production(&[("admin.api_key", "short")]), &["admin.api_key", "16 bytes"]);
    assert_refused(development(&[("admin.api_key", "a b")]), &["admin.api_key", "printable"]);
}

#[test]
fn the_admin_key_may_come_from_a_file() {
    let folder = Folder::new("admin-key");
    let load = |text: &str| {
        let file = folder.file("key", text);
        production(&[("admin.api_key_file", file.to_str().unwrap())])
    };
    let settings = load("0123456789abcdef\n").unwrap();
    assert_eq!(settings.admin.api_key.as_ref().unwrap().expose(), "0123456789abcdef");
    assert!(!settings.to_masked_toml().contains("0123456789abcdef"));
    assert_refused(load("short"), &["admin.api_key", "16 bytes"]);
    let both = [("admin.api_key", "0123456789abcdef"), ("admin.api_key_file", "x")];
    assert_refused(production(&both), &["admin.api_key_file", "one of the two"]);
    assert_refused(production(&[("admin.api_key_file", "/nonexistent/key")]), &["admin.api_key_file"]);
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
    for bad in ["user", "all", "public,user", "a:b", "a b", "room*", "ü"] {
        assert_refused(development(&[("channels.public_namespaces", bad)]), &["channels.public_namespaces"]);
    }
}

#[test]
fn the_console_socket_url_is_a_plain_websocket_url() {
    for good in ["", "ws://localhost:8080", "wss://rt.example.com/gateway", "ws://[::1]:8080/"] {
        assert!(production(&[("admin.socket_url", good)]).is_ok(), "{good}");
    }
    for bad in
        ["https://rt.example.com", "wss://", "wss:///x", "wss://a; script-src *", "wss://a,b", "wss://a?v=2"]
    {
        assert_refused(production(&[("admin.socket_url", bad)]), &["admin.socket_url", "wss://"]);
    }
}
