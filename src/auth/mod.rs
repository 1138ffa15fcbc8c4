//! Authentication: from the token of an Identify to a [`Principal`].
//!
//! # Layout
//! - `principal`: [`Principal`], and the syntax of user ids and channel patterns
//! - `insecure`, `signed`, `jwt`: the three kinds of tokens, which [`Authenticator`] joins
//! - `claims`: from the claims of a token to a [`Principal`]
//! - `keys`: key sets, from files and URLs
//! - `reloadable`: [`ReloadableAuthenticator`], whose keys can be replaced while it is in use
//! - `verification`: [`Verification`], the answer about a token, which may come later
//! - `mint`: [`mint()`] makes tokens
//! - `error`: [`AuthError`], why a token is refused, and [`AuthSetupError`]
//! - `opaque`: tokens that the backend is asked about
//!
//! The verification itself reads no clock and starts no task, except in `opaque::driver`. [`Authenticator::new`] reads
//! files, once; [`ReloadableAuthenticator::fetch_keys`] fetches a key set.

use std::{fmt, time::SystemTime};

use self::keys::remote::RemoteKeys;
use crate::settings::{AuthKind, AuthSettings};

mod claims;
mod error;
mod insecure;
mod jwt;
mod keys;
mod mint;
pub mod opaque;
mod principal;
mod reloadable;
mod signed;
#[cfg(test)]
mod tests;
mod verification;

pub use self::{
    error::{AuthError, AuthSetupError},
    mint::{MintError, longest_lifetime, mint},
    principal::{MAX_CHANNELS, Principal},
    reloadable::{FetchedKeys, ReloadableAuthenticator},
    verification::{PendingVerification, TokenAnswer, TokenError, Verification},
};

/// Verifies tokens of the kind `auth.kind`. Cheap to clone.
#[derive(Clone)]
pub enum Authenticator {
    /// The token is the user id.
    Insecure,
    /// The tokens of the login service.
    Signed(Box<signed::TimestampSigner>),
    /// JSON Web Tokens.
    Jwt(Box<jwt::JwtVerifier>),
    /// Opaque tokens in Redis: [`opaque::OpaqueTokens`] verifies them.
    Redis,
    /// Opaque tokens that are introspected, over HTTPS with these authorities: [`opaque::OpaqueTokens`] verifies them.
    Introspection(opaque::Authorities),
}

impl Authenticator {
    /// Loads the keys and tests them, so that a wrong key fails the start and not the first client.
    ///
    /// # Errors
    /// A secret or key is missing, cannot be read, or does not suit the algorithm.
    pub fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        Self::with_remote_keys(settings, None)
    }

    /// As [`Authenticator::new`], with keys that are fetched.
    fn with_remote_keys(settings: &AuthSettings, remote: Option<RemoteKeys>) -> Result<Self, AuthSetupError> {
        Ok(match settings.kind {
            AuthKind::Insecure => Self::Insecure,
            AuthKind::Signed => Self::Signed(Box::new(signed::TimestampSigner::new(settings)?)),
            AuthKind::Jwt => Self::Jwt(Box::new(jwt::JwtVerifier::new(settings, remote)?)),
            AuthKind::Redis => Self::Redis,
            AuthKind::Introspection => {
                let url = settings.introspection_url.as_deref().unwrap_or_default();
                Self::Introspection(opaque::Authorities::load(url, settings.ca_file.as_deref())?)
            }
        })
    }

    /// Whether a token can be accepted without fetched keys.
    fn has_own_keys(&self) -> bool {
        match self {
            Self::Insecure | Self::Signed(_) | Self::Redis | Self::Introspection(_) => true,
            Self::Jwt(tokens) => tokens.has_own_keys(),
        }
    }

    /// The bearer of `token` at the time `now`.
    ///
    /// # Errors
    /// Why the token is refused, for logs and metrics. A client must not see the reason, which would help a forger.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        match self {
            Self::Insecure => insecure::verify(token),
            Self::Signed(tokens) => tokens.verify(token, now),
            Self::Jwt(tokens) => tokens.verify(token, now),
            Self::Redis | Self::Introspection(_) => Err(AuthError::Unknown),
        }
    }
}

impl fmt::Debug for Authenticator {
    /// Only the kind, because the rest is keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insecure => "Authenticator::Insecure",
            Self::Signed(_) => "Authenticator::Signed",
            Self::Jwt(_) => "Authenticator::Jwt",
            Self::Redis => "Authenticator::Redis",
            Self::Introspection(_) => "Authenticator::Introspection",
        })
    }
}
