//! Checks the kinds of `[auth]` whose tokens are opaque.

use std::net::IpAddr;
use std::time::Duration;

use super::{Check, MINUTE, MS, check_count, check_duration, ensure, failures, refuse};
use crate::settings::{AuthKind, Settings, SettingsError};

impl Settings {
    /// Checks the bounds of lookups, for every kind.
    pub(super) fn validate_token_lookups(&self) -> Vec<SettingsError> {
        let auth = &self.auth;
        failures([
            check_duration("auth.cache_ttl", auth.cache_ttl, Duration::ZERO..=5 * MINUTE),
            check_count("auth.max_parallel_calls", auth.max_parallel_calls, 1..=1_000),
            check_duration("auth.call_timeout", auth.call_timeout, 10 * MS..=MINUTE),
            ensure(
                auth.kind == AuthKind::Introspection || auth.introspection_url.is_none(),
                "auth.introspection_url",
                "must not be set unless auth.kind is introspection",
            ),
        ])
    }

    pub(super) fn validate_redis_tokens(&self) -> Check {
        if self.broker.url == "memory:" {
            return refuse("auth.kind", "can be redis only if broker.url is a Redis, not memory:");
        }
        Ok(())
    }

    pub(super) fn validate_introspection(&self) -> Check {
        let auth = &self.auth;
        let Some(url) = &auth.introspection_url else {
            return refuse("auth.introspection_url", "must be set if auth.kind is introspection");
        };
        if !is_service_url(url) {
            return refuse(
                "auth.introspection_url",
                "must be an https:// URL without credentials, or an http:// URL of a loopback address",
            );
        }
        if auth.introspection_client_id.is_some() != auth.introspection_client_secret.is_some() {
            return refuse(
                "auth.introspection_client_id",
                "and auth.introspection_client_secret_file must be set together",
            );
        }
        ensure(
            !self.is_production() || auth.introspection_client_id.is_some(),
            "auth.introspection_client_id",
            "must be set in production: without it, anyone who reaches the endpoint could try tokens",
        )
    }
}

/// Whether tokens and credentials may be sent to the URL, and its responses can be trusted.
pub(super) fn is_service_url(url: &str) -> bool {
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}#".contains(&byte));
    let Some((scheme, rest)) = url.split_once("://").filter(|_| is_plain) else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return false;
    }
    match scheme {
        "https" => true,
        "http" => is_loopback(authority),
        _ => false,
    }
}

/// Whether the host of `host:port` is this machine.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_over_https_or_to_this_machine_only() {
        for good in [
            "https://id.example.com/oauth2/introspect",
            "https://id.example.com:8443/introspect?realm=a",
            "http://127.0.0.1:4445/introspect",
            "http://[::1]:4445/introspect",
            "http://localhost/introspect",
        ] {
            assert!(is_service_url(good), "{good}");
        }
        for wrong in [
            "",
            "id.example.com",
            "http://id.example.com/introspect",
            "http://localhost.example.com/",
            "http://127.0.0.1@id.example.com/",
            "https://user:password@id.example.com/",
            "https:///introspect",
            "ftp://id.example.com/",
            "https://id.example.com/a b",
        ] {
            assert!(!is_service_url(wrong), "{wrong}");
        }
    }
}
