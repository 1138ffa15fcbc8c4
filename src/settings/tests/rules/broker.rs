//! Rules of `[broker]`.

use super::{assert_refused, development};

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
        "redis+cluster://h",
        "redis+cluster://u:p@h:1,[::1]:2,i",
        "rediss+cluster://h:1",
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
        "redis+cluster://",
        "redis+cluster://h:1,,i",
        "redis+cluster://h:1,i:0",
        "redis+cluster://h/0",
        "redis+cluster://h/",
        "redis+cluster://h?x=1",
        "redis+cluster://u:p@h,u:p@i",
        "redis+sentinel://u:p@h,u:p@i/main",
        "redis://h,i",
    ] {
        assert_refused(development(&[("broker.url", bad)]), &["broker.url", "must"]);
    }
    assert!(development(&[("broker.prefix", "{gateway}")]).is_ok());
    for bad in
        ["", "a b", "a{b", "a}b", "é", "a\nb", &"a".repeat(65), "{}", "{a", "a}", "{a}b", "{a:b}", "{{a}}"]
    {
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
fn shards_need_a_cluster_and_a_prefix_without_braces() {
    let cluster = ("broker.url", "rediss+cluster://h:1,i:1");
    let sharded = ("broker.shards", "slots");
    let any = ("broker.ready_with_shards", "any");
    for (settings, prefix) in [
        (&[("broker.shards", "one")][..], "gateway"),
        (&[cluster], "{gateway}"),
        (&[cluster, ("broker.prefix", "{staging}")], "{staging}"),
        (&[cluster, sharded, any], "gateway"),
        (&[("broker.url", "redis://h"), ("broker.prefix", "{staging}")], "{staging}"),
    ] {
        assert_eq!(development(settings).unwrap().broker.redis_prefix(), prefix);
    }
    for (settings, parts) in [
        (&[("broker.url", "redis://h"), sharded][..], ["broker.shards", "redis+cluster://"]),
        (&[sharded], ["broker.shards", "redis+cluster://"]),
        (&[cluster, sharded, ("broker.prefix", "{a}")], ["broker.prefix", "slots"]),
        (&[cluster, any], ["broker.ready_with_shards", "slots"]),
        (&[cluster, ("broker.shards", "two")], ["broker.shards", "must be one or slots"]),
        (&[cluster, ("broker.ready_with_shards", "two")], ["broker.ready_with_shards", "must be all or any"]),
    ] {
        assert_refused(development(settings), &parts);
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
        (
            &[("broker.url", "redis+cluster://me@h,i"), ("broker.password_file", "/f")],
            ["broker.password_file", "one"],
        ),
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
