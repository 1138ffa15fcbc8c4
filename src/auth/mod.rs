//! Who a client is: from the token of its Identify to an [`Principal`].
//!
//! # Layout
//! - [`Principal`] and what a user id and a channel pattern may look like
//! - `insecure`, `signed`, `jwt`: the three kinds of tokens, behind the closed [`Authenticator`]
//! - [`ReloadableAuthenticator`]: an [`Authenticator`] that can be replaced while others use it
//! - [`mint()`]: the other way round, for trying things out
//! - [`AuthError`]: why a token was refused
//!
//! Everything here is a plain call: no clock (`now` is given), no task. Only [`Authenticator::new`] reads a file, once.

use std::{fmt, time::SystemTime};

use crate::settings::{AuthKind, AuthSettings};

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

/// Checks tokens in the one way that the settings say. Cheap to share, cheap to clone.
#[derive(Clone)]
pub enum Authenticator {
    /// The token is the user id.
    Insecure,
    /// The login service's own tokens.
    Signed(signed::TimestampSigner),
    /// JSON Web Tokens.
    Jwt(Box<jwt::JwtVerifier>),
}

impl Authenticator {
    /// Prepares the keys and tries them, so that a wrong one is noticed now and not at the first client.
    ///
    /// # Errors
    /// A secret or key is missing, cannot be read, or does not fit the algorithm.
    pub fn new(settings: &AuthSettings) -> Result<Self, AuthSetupError> {
        Ok(match settings.kind {
            AuthKind::Insecure => Self::Insecure,
            AuthKind::Signed => Self::Signed(signed::TimestampSigner::new(settings)?),
            AuthKind::Jwt => Self::Jwt(Box::new(jwt::JwtVerifier::new(settings)?)),
        })
    }

    /// Who the bearer of `token` is at the time `now`.
    ///
    /// # Errors
    /// Why the token is refused. For logs and metrics: the client must get one answer for all of them, lest it learn
    /// how to make a better forgery.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Principal, AuthError> {
        match self {
            Self::Insecure => insecure::verify(token),
            Self::Signed(tokens) => tokens.verify(token, now),
            Self::Jwt(tokens) => tokens.verify(token, now),
        }
    }
}

impl fmt::Debug for Authenticator {
    /// The kind only: the rest is keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insecure => "Authenticator::Insecure",
            Self::Signed(_) => "Authenticator::Signed",
            Self::Jwt(_) => "Authenticator::Jwt",
        })
    }
}
