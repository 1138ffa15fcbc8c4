//! The value of `--url`, and the addresses of the settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_http::Uri;

use crate::cli::Failure;
use crate::http_client::port;
use crate::settings::one_line;

/// The query that selects version 2 of the protocol. Version 1 has none.
const VERSION_2: &str = "v=2";

/// The address at which a process on the same machine reaches a gateway that listens on `address`: loopback if the
/// gateway listens on all interfaces.
pub(in crate::cli) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Checks the value of `--url` and completes it with a path. `example` begins with the scheme of the command.
fn parse_url(given: &str, example: &str) -> Result<Uri, Failure> {
    let scheme = example.split("://").next().unwrap_or_default();
    if given.contains('@') {
        // The error does not repeat the URL, which may contain a password.
        return Err(Failure::Other("--url must not contain a user name, a password or @".to_owned()));
    }
    let refused = |reason: String| Err(Failure::Other(format!("--url {}: {reason}", one_line(given))));
    let (own, rest) = given.split_once("://").unwrap_or_default();
    if own.eq_ignore_ascii_case("https") || own.eq_ignore_ascii_case("wss") {
        return refused(format!("this command does not speak TLS; use {scheme}:// inside the network"));
    }
    if !own.eq_ignore_ascii_case(scheme) {
        return refused(format!("it must begin with {scheme}://, such as {example}"));
    }
    if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
        return refused(format!("it must begin with {scheme}:// and a host, such as {example}"));
    }
    let Ok(uri) = given.parse::<Uri>() else {
        return refused(format!("it is not a valid URL, such as {example}"));
    };
    if port(&uri).is_none() {
        return refused("the port must be 1 to 65535".to_owned());
    }
    Ok(uri)
}

fn without_query(uri: &Uri, scheme: &str) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{}", uri.path())
}

/// The URL of the admin port without a final slash, from `--url` or from the settings.
pub(in crate::cli) fn admin_url(given: Option<&str>, settings: SocketAddr) -> Result<String, Failure> {
    let Some(given) = given else { return Ok(format!("http://{}", reachable(settings))) };
    let uri = parse_url(given, "http://127.0.0.1:8081")?;
    if uri.query().is_some() {
        let reason = "it must have no query, because the command appends the route";
        return Err(Failure::Other(format!("--url {}: {reason}", one_line(given))));
    }
    Ok(without_query(&uri, "http").trim_end_matches('/').to_owned())
}

/// The URL of the gateway for one version of the protocol, from `--url` or from the settings.
pub(in crate::cli) fn gateway_url(
    given: Option<&str>,
    settings: SocketAddr,
    is_v1: bool,
) -> Result<String, Failure> {
    let Some(given) = given else {
        let version = if is_v1 { "" } else { "?v=2" };
        return Ok(format!("ws://{}/gateway{version}", reachable(settings)));
    };
    let uri = parse_url(given, "ws://127.0.0.1:8080/gateway")?;
    let mut query: Vec<&str> =
        uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty()).collect();
    let is_version = |part: &&&str| **part == "v" || part.starts_with("v=");
    // The gateway refuses every `v` other than 2.
    if query.iter().filter(is_version).any(|part| is_v1 || *part != VERSION_2) {
        let reason = "v in the query selects another version than the command; leave it out";
        return Err(Failure::Other(format!("--url {}: {reason}", one_line(given))));
    }
    if !is_v1 && !query.contains(&VERSION_2) {
        query.push(VERSION_2);
    }
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{}{mark}{}", without_query(&uri, "ws"), query.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8081);

    fn text(result: Result<String, Failure>) -> String {
        match result {
            Ok(url) => url,
            Err(Failure::Other(sentence)) => sentence,
            Err(Failure::Settings(sentences)) => sentences.join("\n"),
        }
    }

    #[test]
    fn gateway_on_all_interfaces_is_reached_on_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:8081", "127.0.0.1:8081"),
            ("[::]:8081", "[::1]:8081"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.7:1", "192.0.2.7:1"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }

    #[test]
    fn a_wrong_admin_url_is_refused_with_its_reason() {
        for (given, expected) in [
            ("http://127.0.0.9:99999", "the port must be 1 to 65535"),
            ("http://127.0.0.9:0", "the port must be 1 to 65535"),
            ("http://127.0.0.9:", "the port must be 1 to 65535"),
            ("http://[::1]:65536/", "the port must be 1 to 65535"),
            ("http://h?x=1", "it must have no query"),
            ("http://h/ä b", "it is not a valid URL"),
            ("http://[::1", "it is not a valid URL"),
            ("http:///livez", "it must begin with http:// and a host"),
            ("127.0.0.1:8081", "it must begin with http://, such as"),
            ("HTTPS://h", "does not speak TLS"),
        ] {
            let refused = text(admin_url(Some(given), SETTINGS));
            assert!(refused.starts_with(&format!("--url {given}: ")), "{given}: {refused}");
            assert!(refused.contains(expected), "{given}: {refused}");
        }
    }

    #[test]
    fn a_refused_url_does_not_show_its_password() {
        for given in ["http://user:pw@", "http://user:p/w@h", "http://user:pw@h:99999", "https://user:pw@h"] {
            let refused = text(admin_url(Some(given), SETTINGS));
            assert_eq!(refused, "--url must not contain a user name, a password or @", "{given}");
        }
    }

    #[test]
    fn a_valid_url_keeps_its_port_and_path() {
        for (given, expected) in [
            ("http://h", "http://h"),
            ("HTTP://h:65535/", "http://h:65535"),
            ("http://[::1]:8081/base/", "http://[::1]:8081/base"),
        ] {
            assert_eq!(text(admin_url(Some(given), SETTINGS)), expected, "{given}");
        }
        assert_eq!(text(admin_url(None, SETTINGS)), "http://127.0.0.1:8081");
    }

    #[test]
    fn a_gateway_url_has_one_version() {
        for (given, is_v1, expected) in [
            ("ws://h", false, "ws://h/?v=2"),
            ("ws://h/gateway?v=2", false, "ws://h/gateway?v=2"),
            ("ws://h/gateway?x=1", false, "ws://h/gateway?x=1&v=2"),
            ("ws://h/gateway?", false, "ws://h/gateway?v=2"),
            ("ws://h/gateway", true, "ws://h/gateway"),
        ] {
            assert_eq!(text(gateway_url(Some(given), SETTINGS, is_v1)), expected, "{given}");
        }
        for (given, is_v1) in
            [("ws://h/?v=1", false), ("ws://h/?v=1", true), ("ws://h/?v=2", true), ("ws://h/?v=2&v=1", false)]
        {
            let refused = text(gateway_url(Some(given), SETTINGS, is_v1));
            assert!(refused.contains("v in the query selects another version"), "{given}: {refused}");
        }
        assert!(text(gateway_url(Some("ws://h:70000"), SETTINGS, false)).contains("the port must be"));
    }
}
