//! Authentication: from the token of an Identify to a [`Principal`].
//!
//! # Layout
//! - `principal`: [`Principal`], and the syntax of user ids and channel patterns
//! - `insecure`, `signed`, `jwt`: the three kinds of tokens, which [`Authenticator`] joins
//! - `claims`: from the claims of a token to a [`Principal`]
//! - `reloadable`: [`ReloadableAuthenticator`], whose keys can be replaced while it is in use
//! - `mint`: [`mint()`] makes tokens
//! - `error`: [`AuthError`], why a token is refused, and [`AuthSetupError`]
//!
//! The code reads no clock and starts no task. Only [`Authenticator::new`] reads a file, once.

use std::{fmt, time::SystemTime};

use crate::settings::{AuthKind, AuthSettings};

mod claims;
mod error;
mod insecure;
mod jwt;
mod mint;
mod principal;
mod reloadable;
mod signed;
#[cfg(test)]
mod tests;

pub use self::{
    error::{AuthError, AuthSetupError},
    mint::{MintError, longest_lifetime, mint},
    principal::Principal,
    reloadable::ReloadableAuthenticator,
};

/// Verifies tokens of the kind `auth.kind`. Cheap to clone.
#[derive(Clone)]
pub enum Authenticator {
    /// The token is the user id.
    Insecure,
    /// The tokens of the login service.
    Signed(signed::TimestampSigner),
    /// JSON Web Tokens.
    Jwt(Box<jwt::JwtVerifier>),
}

impl Authenticator {
    /// Loads the keys and tests them, so that a wrong key fails the start and not the first client.
    ///
    /// # Errors
    /// A secret or key is missing, cannot be read, or does not suit the algorithm.
    pub fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        Ok(match settings.kind {
            AuthKind::Insecure => Self::Insecure,
            AuthKind::Signed => Self::Signed(signed::TimestampSigner::new(settings)?),
            AuthKind::Jwt => Self::Jwt(Box::new(jwt::JwtVerifier::new(settings)?)),
        })
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
        })
    }
}
