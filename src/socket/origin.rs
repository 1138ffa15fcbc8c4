//! Which pages may open a socket: the answer to cross-site WebSocket hijacking.

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
    /// `https://app.example.com`
    Exactly(String),
    /// `https://*.example.com`: what stands before and behind the star.
    Subdomains { scheme: String, domain: String },
}

impl OriginPolicy {
    /// `allowed` lists exact origins, `scheme://*.domain` or `*`. `allow_missing` admits clients that send no
    /// Origin, which are not browsers.
    pub fn new(allowed: &[String], allow_missing: bool) -> Self {
        let allowed = allowed
            .iter()
            .map(|text| {
                let text = text.to_ascii_lowercase();
                match text.split_once("://*.") {
                    _ if text == "*" => Allowed::Any,
                    Some((scheme, domain)) => {
                        Allowed::Subdomains { scheme: format!("{scheme}://"), domain: format!(".{domain}") }
                    }
                    None => Allowed::Exactly(text),
                }
            })
            .collect();
        Self { allowed, allow_missing }
    }

    /// Whether a request with this Origin header may become a socket.
    pub fn admits(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return self.allow_missing };
        let origin = origin.to_ascii_lowercase();
        // Old versions of React Native on Android put a slash behind the host. No browser does, and none can.
        let origin = match origin.strip_suffix('/') {
            Some(without) if !without.ends_with('/') => without,
            _ => &origin,
        };
        self.allowed.iter().any(|allowed| match allowed {
            Allowed::Any => true,
            Allowed::Exactly(exact) => exact == origin,
            Allowed::Subdomains { scheme, domain } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(domain.as_str()))
                .is_some_and(|label| !label.is_empty() && !label.contains(['/', ':', '@'])),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_what_is_listed_and_nothing_that_looks_like_it() {
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
    fn local_files_and_opaque_origins_are_admitted_if_they_are_listed() {
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
    fn a_missing_origin_is_a_setting_of_its_own() {
        assert!(!OriginPolicy::new(&["*".to_owned()], false).admits(None));
        assert!(OriginPolicy::new(&[], true).admits(None));
        assert!(OriginPolicy::new(&["*".to_owned()], false).admits(Some("null")));
    }
}
