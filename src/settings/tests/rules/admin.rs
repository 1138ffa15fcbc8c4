//! Rules of `[admin]`.

use super::{Folder, assert_refused, development, production};

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
