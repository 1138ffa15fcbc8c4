//! Starts to verify opaque tokens, if the settings select them.

use crate::auth::ReloadableAuthenticator;
use crate::auth::opaque::{IntrospectionIssuer, OpaqueTokens, TokenIssuer};
use crate::broker::Broker;
use crate::broker::redis::RedisTokens;
use crate::metrics::Metrics;
use crate::settings::{AuthKind, AuthSettings, Settings};

/// `None` if tokens have a signature.
pub(super) fn start(
    settings: &Settings,
    broker: &Broker,
    tokens: &ReloadableAuthenticator,
    metrics: &Metrics,
) -> Option<OpaqueTokens> {
    let auth = &settings.auth;
    match (auth.kind, broker) {
        (AuthKind::Redis, Broker::Redis(redis)) => {
            Some(spawn(RedisTokens::new(redis.clone()), auth, metrics))
        }
        (AuthKind::Introspection, _) => Some(spawn(IntrospectionIssuer::new(tokens.clone()), auth, metrics)),
        // The settings refuse redis without a Redis.
        (AuthKind::Redis, Broker::Memory(_)) => None,
        (AuthKind::Insecure | AuthKind::Signed | AuthKind::Jwt, _) => None,
    }
}

fn spawn<I: TokenIssuer>(issuer: I, settings: &AuthSettings, metrics: &Metrics) -> OpaqueTokens {
    let tokens = OpaqueTokens::new::<I>(settings, metrics);
    actix_rt::spawn(tokens.clone().run(issuer));
    tokens
}
