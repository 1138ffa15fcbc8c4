//! Checks the kinds of `[auth]` whose tokens are opaque.

use std::time::Duration;

use super::auth::check_service_url;
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
        check_service_url("auth.introspection_url", url)?;
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
