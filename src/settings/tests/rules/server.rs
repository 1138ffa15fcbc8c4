//! Rules of `[server]`.

use super::{assert_refused, development, production};

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
fn production_needs_origins() {
    assert_refused(production(&[("server.allowed_origins", "")]), &["server.allowed_origins", "production"]);
    assert!(production(&[("server.allowed_origins", "*")]).is_ok());
}
