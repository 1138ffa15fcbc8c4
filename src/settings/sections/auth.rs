//! The section `[auth]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::none_if_empty;
use crate::settings::{Secret, duration};

/// `auth.kind`: how Identify tokens are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// The token is the user id. Only in development on a loopback address.
    Insecure,
    /// JSON Web Tokens.
    Jwt,
    /// E-Magine's login tokens: `TimestampSigner` of itsdangerous.
    Signed,
    /// Opaque tokens whose claims are in Redis.
    Redis,
    /// Opaque tokens, introspected at their issuer (RFC 7662).
    Introspection,
}

/// `[auth]`: how clients are authenticated.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// How tokens are verified.
    pub kind: AuthKind,
    /// The shared secret. [`Settings::load`](crate::settings::Settings::load) also sets it from `secret_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub secret: Option<Secret>,
    /// The file with the shared secret.
    #[serde(deserialize_with = "none_if_empty")]
    pub secret_file: Option<PathBuf>,
    /// A PEM file with the public key, for jwt with RS, PS, ES or EdDSA algorithms.
    #[serde(deserialize_with = "none_if_empty")]
    pub public_key_file: Option<PathBuf>,
    /// The secret before `secret`, still accepted. [`Settings::load`](crate::settings::Settings::load) also sets it from
    /// `previous_secret_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub previous_secret: Option<Secret>,
    /// The file with the previous secret.
    #[serde(deserialize_with = "none_if_empty")]
    pub previous_secret_file: Option<PathBuf>,
    /// A file with a JSON Web Key Set, for jwt.
    #[serde(deserialize_with = "none_if_empty")]
    pub keys_file: Option<PathBuf>,
    /// The URL of a JSON Web Key Set, for jwt.
    #[serde(deserialize_with = "none_if_empty")]
    pub jwks_url: Option<String>,
    /// The time between two fetches of `jwks_url`.
    #[serde(with = "duration")]
    pub jwks_refresh_interval: Duration,
    /// A PEM file with the certificate authorities that HTTPS trusts. `None`: the authorities of the system.
    #[serde(deserialize_with = "none_if_empty")]
    pub ca_file: Option<PathBuf>,
    /// The accepted jwt algorithms: of one family unless there is a key set.
    pub algorithms: Vec<String>,
    /// Whether a jwt may grant access to the channels of other users.
    pub allow_foreign_user_channels: bool,
    /// The required `aud` of a jwt. `None`: `aud` is not checked.
    #[serde(deserialize_with = "none_if_empty")]
    pub audience: Option<String>,
    /// The required `iss` of a jwt. `None`: `iss` is not checked.
    #[serde(deserialize_with = "none_if_empty")]
    pub issuer: Option<String>,
    /// The maximum age of a signed token, in whole seconds.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// The accepted difference between the clocks of the gateway and the issuer, in whole seconds.
    #[serde(with = "duration")]
    pub leeway: Duration,
    /// The introspection endpoint (RFC 7662).
    #[serde(deserialize_with = "none_if_empty")]
    pub introspection_url: Option<String>,
    /// The id by which the gateway is known there.
    #[serde(deserialize_with = "none_if_empty")]
    pub introspection_client_id: Option<String>,
    /// The secret of this client. [`Settings::load`](crate::settings::Settings::load) also sets it from
    /// `introspection_client_secret_file`.
    #[serde(deserialize_with = "none_if_empty")]
    pub introspection_client_secret: Option<Secret>,
    /// The file with the secret of the client.
    #[serde(deserialize_with = "none_if_empty")]
    pub introspection_client_secret_file: Option<PathBuf>,
    /// How long the answer about an opaque token is kept.
    #[serde(with = "duration")]
    pub cache_ttl: Duration,
    /// The calls at one time to the issuer of opaque tokens.
    pub max_parallel_calls: usize,
    /// The time of one call.
    #[serde(with = "duration")]
    pub call_timeout: Duration,
}

impl AuthSettings {
    /// The files that contain keys or certificates.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [
            &self.secret_file,
            &self.previous_secret_file,
            &self.public_key_file,
            &self.keys_file,
            &self.ca_file,
            &self.introspection_client_secret_file,
        ];
        files.into_iter().filter_map(Option::as_deref)
    }
}
