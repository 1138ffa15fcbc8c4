//! The rules of `[auth]`.

use std::{net::IpAddr, time::Duration};

use actix_http::Uri;

use super::{
    Check, DAY, HOUR, MINUTE, SECOND, check_duration, check_whole_seconds, ensure, failures, refuse,
};
use crate::settings::{AuthKind, AuthSettings, Secret, Settings, SettingsError};

/// The shortest secret of an HMAC algorithm of JWT, in bytes (RFC 7518 §3.2 for HS256).
const MIN_HS_SECRET_BYTES: usize = 32;
/// The shortest secret of signed tokens in production, in bytes. It is shorter than for JWT, because the login service
/// defines the secret.
const MIN_SIGNED_SECRET_BYTES: usize = 16;
impl Settings {
    pub(super) fn validate_auth(&self) -> Vec<SettingsError> {
        let auth = &self.auth;
        failures([
            check_whole_seconds("auth.max_age", auth.max_age, SECOND..=3650 * DAY),
            check_whole_seconds("auth.leeway", auth.leeway, Duration::ZERO..=5 * MINUTE),
            check_duration("auth.jwks_refresh_interval", auth.jwks_refresh_interval, 10 * SECOND..=24 * HOUR),
            ensure(
                auth.kind == AuthKind::Jwt || auth.keys_file.is_none(),
                "auth.keys_file",
                "can be set only if auth.kind is jwt",
            ),
            check_jwks_url(auth),
            self.validate_previous_secret(),
            match auth.kind {
                AuthKind::Insecure => self.validate_insecure(),
                AuthKind::Signed => self.validate_signed(),
                AuthKind::Jwt => self.validate_jwt(),
                AuthKind::Redis => self.validate_redis_tokens(),
                AuthKind::Introspection => self.validate_introspection(),
            },
        ])
    }

    fn validate_insecure(&self) -> Check {
        if self.is_production() {
            return refuse(
                "auth.kind",
                "must not be insecure in production: any client could claim any user id",
            );
        }
        if !self.server.public_addr.ip().is_loopback() {
            return refuse("auth.kind", "can be insecure only if server.public_addr is a loopback address");
        }
        Ok(())
    }

    fn validate_signed(&self) -> Check {
        let Some(secret) = &self.auth.secret else {
            return refuse("auth.secret", "or auth.secret_file must be set if auth.kind is signed");
        };
        if self.is_production() && secret.expose().len() < MIN_SIGNED_SECRET_BYTES {
            return refuse("auth.secret", "must be at least 16 bytes long in production");
        }
        Ok(())
    }

    fn validate_jwt(&self) -> Check {
        let auth = &self.auth;
        let families: Option<Vec<_>> = auth.algorithms.iter().map(|name| KeyFamily::of(name)).collect();
        let families = families.filter(|families| !families.is_empty());
        let Some(families) = families else { return refuse("auth.algorithms", KNOWN_ALGORITHMS) };
        if has_key_set(auth) {
            return validate_key_set(auth, &families);
        }
        if families.iter().any(|family| *family != families[0]) {
            return refuse(
                "auth.algorithms",
                "must list algorithms of one family, because there is only one key; auth.keys_file and auth.jwks_url allow several",
            );
        }
        if families[0] != KeyFamily::Hmac {
            if auth.public_key_file.is_none() {
                return refuse(
                    "auth.public_key_file",
                    "must be set for RS, PS, ES and EdDSA algorithms, unless auth.keys_file or auth.jwks_url is set",
                );
            }
            if auth.secret.is_some() {
                return refuse("auth.secret", "must not be set for RS, PS, ES and EdDSA algorithms");
            }
            return Ok(());
        }
        if auth.public_key_file.is_some() {
            return refuse(
                "auth.public_key_file",
                "must not be set for HS algorithms, which use auth.secret",
            );
        }
        match &auth.secret {
            None => refuse(
                "auth.secret",
                "or auth.secret_file must be set for HS algorithms, unless auth.keys_file or auth.jwks_url is set",
            ),
            Some(secret) => check_hs_secret("auth.secret", Some(secret)),
        }
    }

    /// Checks the secret before `auth.secret`.
    fn validate_previous_secret(&self) -> Check {
        let (auth, key) = (&self.auth, "auth.previous_secret");
        let Some(previous) = &auth.previous_secret else { return Ok(()) };
        if matches!(auth.kind, AuthKind::Jwt | AuthKind::Signed) && auth.secret.is_none() {
            return refuse(key, "needs auth.secret, which new tokens are signed with");
        }
        match auth.kind {
            AuthKind::Jwt => check_hs_secret(key, Some(previous)),
            AuthKind::Signed if self.is_production() && previous.expose().len() < MIN_SIGNED_SECRET_BYTES => {
                refuse(key, "must be at least 16 bytes long in production")
            }
            AuthKind::Signed => Ok(()),
            AuthKind::Insecure | AuthKind::Redis | AuthKind::Introspection => {
                refuse(key, "has an effect only if auth.kind is jwt or signed")
            }
        }
    }
}

const KNOWN_ALGORITHMS: &str = "must list at least one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, \
     PS512, ES256, ES384 and EdDSA";

/// Whether there may be several keys.
fn has_key_set(auth: &AuthSettings) -> bool {
    auth.keys_file.is_some() || auth.jwks_url.is_some()
}

/// Checks the keys beside a key set. Each key has its own algorithms, so families may mix.
fn validate_key_set(auth: &AuthSettings, families: &[KeyFamily]) -> Check {
    if auth.public_key_file.is_some() {
        return refuse(
            "auth.public_key_file",
            "cannot be set together with auth.keys_file or auth.jwks_url; add the key to auth.keys_file",
        );
    }
    let has_hmac = families.contains(&KeyFamily::Hmac);
    if auth.secret.is_some() && !has_hmac {
        return refuse("auth.secret", "needs an HS algorithm in auth.algorithms");
    }
    check_hs_secret("auth.secret", auth.secret.as_ref())
}

fn check_hs_secret(key: &'static str, secret: Option<&Secret>) -> Check {
    match secret {
        Some(secret) if secret.expose().len() < MIN_HS_SECRET_BYTES => {
            refuse(key, "must be at least 32 bytes long for HS algorithms")
        }
        _ => Ok(()),
    }
}

fn check_jwks_url(auth: &AuthSettings) -> Check {
    let Some(url) = &auth.jwks_url else { return Ok(()) };
    if auth.kind != AuthKind::Jwt {
        return refuse("auth.jwks_url", "can be set only if auth.kind is jwt");
    }
    check_service_url("auth.jwks_url", url)
}

/// Checks the URL of a service that says which user has a token: anyone who can change its responses can be any user.
pub(super) fn check_service_url(key: &'static str, url: &str) -> Check {
    if url.contains('@') {
        return refuse(key, "must not contain a user name, a password or @");
    }
    let parsed = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let Some(uri) = parsed else {
        return refuse(key, "must be a URL such as https://login.example.com/path");
    };
    if !has_valid_port(&uri) {
        return refuse(key, "must have a port from 1 to 65535, or none");
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if uri.host().is_some_and(is_loopback) => Ok(()),
        _ => refuse(key, "must begin with https://; http:// is allowed only for a loopback address"),
    }
}

/// The parser ignores a text that is no port.
fn has_valid_port(uri: &Uri) -> bool {
    let after_host = uri.authority().and_then(|authority| authority.as_str().strip_prefix(authority.host()));
    after_host == Some("") || uri.port_u16().is_some_and(|port| port != 0)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Algorithms that use the same kind of key. ES256 and ES384 differ, because their keys are on different curves.
#[derive(PartialEq, Eq)]
enum KeyFamily {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyFamily {
    fn of(algorithm: &str) -> Option<Self> {
        match algorithm {
            "HS256" | "HS384" | "HS512" => Some(Self::Hmac),
            "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => Some(Self::Rsa),
            "ES256" => Some(Self::P256),
            "ES384" => Some(Self::P384),
            "EdDSA" => Some(Self::Ed25519),
            _ => None,
        }
    }
}
