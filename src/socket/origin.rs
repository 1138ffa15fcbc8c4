//! Which pages may open a socket, against cross-site WebSocket hijacking.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The origins from which browsers may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPolicy {
    allowed: Vec<Allowed>,
    allow_missing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    /// `*`
    Any,
    /// `loopback`: pages of this machine.
    Loopback,
    /// `https://app.example.com`
    Exact(String),
    /// `https://*.example.com`, as `https://` and `.example.com`.
    Subdomains { scheme: String, domain: String },
}

impl OriginPolicy {
    /// An entry of `allowed` is an exact origin, `scheme://*.domain`, `loopback` or `*`. `allow_missing` admits clients
    /// that send no Origin, which are not browsers.
    pub fn new(allowed: &[String], allow_missing: bool) -> Self {
        let allowed = allowed
            .iter()
            .map(|text| {
                let text = text.to_ascii_lowercase();
                match text.split_once("://*.") {
                    _ if text == "*" => Allowed::Any,
                    _ if text == "loopback" => Allowed::Loopback,
                    Some((scheme, domain)) => {
                        Allowed::Subdomains { scheme: format!("{scheme}://"), domain: format!(".{domain}") }
                    }
                    None => Allowed::Exact(text),
                }
            })
            .collect();
        Self { allowed, allow_missing }
    }

    /// Whether a request with this Origin header may become a socket.
    pub fn admits(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return self.allow_missing };
        let origin = origin.to_ascii_lowercase();
        // Old versions of React Native on Android append a slash to the host. No browser does.
        let origin = match origin.strip_suffix('/') {
            Some(without) if !without.ends_with('/') => without,
            _ => &origin,
        };
        self.allowed.iter().any(|allowed| match allowed {
            Allowed::Any => true,
            Allowed::Loopback => is_loopback(origin),
            Allowed::Exact(exact) => exact == origin,
            Allowed::Subdomains { scheme, domain } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(domain.as_str()))
                .is_some_and(|label| !label.is_empty() && !label.contains(['/', ':', '@'])),
        })
    }
}

/// Whether the page's host is this machine, under a name that no other machine can have.
fn is_loopback(origin: &str) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    port.bytes().all(|byte| byte.is_ascii_digit()) && is_loopback_host(host)
}

/// Whether the host of a URL is this machine, under a name that no other machine can have. Ignores case.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let is_address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()),
        None => host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
    };
    let name = host.to_ascii_lowercase();
    is_address || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_listed_origins_and_no_lookalikes() {
        let allowed = ["https://app.example.com".to_owned(), "https://*.example.org".to_owned()];
        let policy = OriginPolicy::new(&allowed, false);
        for (origin, admitted) in [
            ("https://app.example.com", true),
            ("HTTPS://App.Example.com", true),
            ("https://app.example.com/", true),
            ("https://app.example.com//", false),
            ("https://app.example.com/x", false),
            ("https://app.example.com:8443", false),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.test", false),
            ("https://evil.test/https://app.example.com", false),
            ("https://a.example.org", true),
            ("https://a.b.example.org", true),
            ("https://example.org", false),
            ("https://.example.org", false),
            ("https://evilexample.org", false),
            ("https://evil.test/.example.org", false),
            ("https://evil.test:1@x.example.org", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(policy.admits(Some(origin)), admitted, "{origin:?}");
        }
    }

    #[test]
    fn local_files_and_opaque_origins_are_admitted_if_listed() {
        for listed in
            ["file://", "null", "capacitor://localhost", "tauri://localhost", "chrome-extension://abc"]
        {
            let policy = OriginPolicy::new(&[listed.to_owned()], false);
            for origin in
                ["file://", "null", "capacitor://localhost", "tauri://localhost", "chrome-extension://abc"]
            {
                assert_eq!(
                    policy.admits(Some(origin)),
                    origin == listed,
                    "{origin} where {listed} is listed"
                );
            }
        }
    }

    #[test]
    fn loopback_admits_pages_of_this_machine_only() {
        let policy = OriginPolicy::new(&["loopback".to_owned()], false);
        for (origin, admitted) in [
            ("http://localhost", true),
            ("http://localhost:3000", true),
            ("https://LOCALHOST:3000", true),
            ("http://app.localhost:3000", true),
            ("http://127.0.0.1:8081", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:5173", true),
            ("http://[::1]", true),
            ("capacitor://localhost", true),
            ("http://localhost.evil.test", false),
            ("http://evil.test:localhost", false),
            ("http://localhost:3000@evil.test", false),
            ("http://127.0.0.1.evil.test", false),
            ("http://192.168.1.7:3000", false),
            ("http://[2001:db8::1]", false),
            ("https://evil.test", false),
            ("localhost", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(policy.admits(Some(origin)), admitted, "{origin:?}");
        }
    }

    #[test]
    fn a_missing_origin_has_its_own_setting() {
        assert!(!OriginPolicy::new(&["*".to_owned()], false).admits(None));
        assert!(OriginPolicy::new(&[], true).admits(None));
        assert!(OriginPolicy::new(&["*".to_owned()], false).admits(Some("null")));
    }
}
