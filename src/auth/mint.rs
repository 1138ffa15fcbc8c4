//! Making tokens, for trying the gateway out from the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::AlgorithmFamily;

use super::{
    AuthError, AuthSetupError,
    jwt::{self, LATEST_SECONDS, MintedClaims},
    principal::{MAX_CHANNELS, is_channel_pattern, is_of_another_user, parse_user_id},
    signed::TimestampSigner,
};
use crate::settings::{AuthKind, AuthSettings};

/// Why no token can be made. One sentence, for the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The user id could not be part of a channel name.
    #[error("the user id must be 1 to 128 printable ASCII characters without spaces, braces and asterisks")]
    InvalidUser,
    /// A channel is not a name and not a pattern, or there are too many.
    #[error("a token can list at most 1000 channels, each a name such as room:7 or a pattern such as room:*")]
    InvalidChannels,
    /// It would grant access to another user's channel, and would be refused.
    #[error("a token cannot list channels of other users unless auth.allow_foreign_user_channels is true")]
    ForeignUser,
    /// Only a jwt can list channels.
    #[error("only a jwt can list channels, and auth.kind is not jwt")]
    ChannelsUnsupported,
    /// A signed token cannot live longer than `auth.max_age`, and none can live beyond the year 9999.
    #[error("the lifetime is too long; if auth.kind is signed, it can be at most auth.max_age")]
    LifetimeTooLong,
    /// The private key is elsewhere.
    #[error(
        "a token with an RS, PS, ES or EdDSA algorithm needs the issuer's private key; let the issuer mint it"
    )]
    PrivateKeyNeeded,
    /// The settings lack what is needed.
    #[error(transparent)]
    Setup(#[from] AuthSetupError),
}

/// The longest time for which a token can be good under these settings.
pub fn longest_lifetime(settings: &AuthSettings) -> Duration {
    match settings.kind {
        AuthKind::Signed => settings.max_age,
        AuthKind::Jwt | AuthKind::Insecure => Duration::MAX,
    }
}

/// Makes a token that [`Authenticator::verify`](super::Authenticator::verify) accepts from `now` for `ttl` (whole
/// seconds; what is below is dropped) under the same settings. An insecure token is the user id and lives for ever.
///
/// # Errors
/// The user or the channels are not allowed, the kind of token cannot carry what was asked for, or the settings lack the
/// secret.
pub fn mint(
    settings: &AuthSettings,
    user: &str,
    channels: &[String],
    ttl: Duration,
    now: SystemTime,
) -> Result<String, MintError> {
    parse_user_id(user.as_bytes()).map_err(|_: AuthError| MintError::InvalidUser)?;
    if channels.len() > MAX_CHANNELS || !channels.iter().all(|channel| is_channel_pattern(channel)) {
        return Err(MintError::InvalidChannels);
    }
    if !settings.allow_foreign_user_channels
        && channels.iter().any(|channel| is_of_another_user(channel, user))
    {
        return Err(MintError::ForeignUser);
    }
    if settings.kind != AuthKind::Jwt && !channels.is_empty() {
        return Err(MintError::ChannelsUnsupported);
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match settings.kind {
        AuthKind::Insecure => Ok(user.to_owned()),
        AuthKind::Signed => {
            let tokens = TimestampSigner::new(settings)?;
            // Such a token carries when it was made and not when it ends: a shorter life is an earlier birth.
            let early = settings.max_age.checked_sub(ttl).ok_or(MintError::LifetimeTooLong)?;
            let issued = now.saturating_sub(early);
            Ok(tokens.sign(user, issued.as_secs()))
        }
        AuthKind::Jwt => {
            let algorithm = *jwt::algorithms_of(settings)?.first().ok_or(AuthSetupError::Algorithms)?;
            if algorithm.family() != AlgorithmFamily::Hmac {
                return Err(MintError::PrivateKeyNeeded);
            }
            let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
            let expires = now
                .checked_add(ttl)
                .filter(|at| at.as_secs() <= LATEST_SECONDS)
                .ok_or(MintError::LifetimeTooLong)?;
            let claims = MintedClaims {
                sub: user,
                exp: expires.as_secs(),
                aud: settings.audience.as_deref(),
                iss: settings.issuer.as_deref(),
                channels,
            };
            Ok(jwt::sign(&claims, algorithm, secret.expose()).map_err(|_| AuthSetupError::SelfTest)?)
        }
    }
}
