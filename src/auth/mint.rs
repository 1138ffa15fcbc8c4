//! Mints tokens for the command line and the console.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    AuthError, AuthSetupError,
    claims::LATEST_SECONDS,
    jwt::{self, MintedClaims},
    keys::is_hmac,
    principal::{MAX_CHANNELS, is_channel_pattern, is_of_another_user, parse_user_id},
    signed::TimestampSigner,
};
use crate::settings::{AuthKind, AuthSettings};

/// Why a token cannot be minted. One sentence for the command line and the admin API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The user id is not valid in a channel name.
    #[error("the user id must be 1 to 128 printable ASCII characters without spaces, braces and asterisks")]
    InvalidUser,
    /// A channel is neither a name nor a pattern, or the list is too long.
    #[error("a token can list at most 1000 channels, each a name such as room:7 or a pattern such as room:*")]
    InvalidChannels,
    /// The token would list a channel of another user, and verification would refuse it.
    #[error("a token cannot list channels of other users unless auth.allow_foreign_user_channels is true")]
    ForeignUser,
    /// Channels are requested, and `auth.kind` is not jwt.
    #[error("only a jwt can list channels, and auth.kind is not jwt")]
    ChannelsUnsupported,
    /// A signed token would outlive `auth.max_age`, or a jwt the year 9999.
    #[error("the lifetime is too long; if auth.kind is signed, it can be at most auth.max_age")]
    LifetimeTooLong,
    /// The gateway has only the public key.
    #[error(
        "a token with an RS, PS, ES or EdDSA algorithm needs the issuer's private key; let the issuer mint it"
    )]
    PrivateKeyNeeded,
    /// The backend hands out these tokens.
    #[error("auth.kind is {0}: the backend hands out these tokens, and the gateway cannot mint one")]
    Opaque(&'static str),
    /// The settings lack a key, or have a wrong one.
    #[error(transparent)]
    Setup(#[from] AuthSetupError),
}

/// The maximum lifetime of a token under these settings.
pub fn longest_lifetime(settings: &AuthSettings) -> Duration {
    match settings.kind {
        AuthKind::Signed => settings.max_age,
        AuthKind::Jwt | AuthKind::Insecure | AuthKind::Redis | AuthKind::Introspection => Duration::MAX,
    }
}

/// Mints a token that [`Authenticator::verify`](super::Authenticator::verify) accepts from `now` for `ttl`, rounded
/// down to whole seconds, under the same settings. An insecure token is the user id and does not expire.
///
/// # Errors
/// The user id or a channel is invalid, this kind of token does not support the request, or the settings lack the
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
    if matches!(settings.kind, AuthKind::Insecure | AuthKind::Signed) && !channels.is_empty() {
        return Err(MintError::ChannelsUnsupported);
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match settings.kind {
        AuthKind::Redis => Err(MintError::Opaque("redis")),
        AuthKind::Introspection => Err(MintError::Opaque("introspection")),
        AuthKind::Insecure => Ok(user.to_owned()),
        AuthKind::Signed => {
            let tokens = TimestampSigner::new(settings)?;
            // A signed token has its issue time and no expiry, so a shorter lifetime needs an earlier issue time.
            let early = settings.max_age.checked_sub(ttl).ok_or(MintError::LifetimeTooLong)?;
            let issued = now.saturating_sub(early);
            Ok(tokens.sign(user, issued.as_secs()))
        }
        AuthKind::Jwt => {
            let algorithms = jwt::algorithms_of(settings)?;
            let hmac = algorithms.into_iter().find(|algorithm| is_hmac(*algorithm));
            let algorithm = hmac.ok_or(MintError::PrivateKeyNeeded)?;
            let secret = settings.secret.as_ref().ok_or(AuthSetupError::NoSecret)?;
            let expires = now
                .checked_add(ttl)
                .filter(|at| at.as_secs() <= LATEST_SECONDS)
                .ok_or(MintError::LifetimeTooLong)?;
            let token_id = format!("{:032x}", rand::random::<u128>());
            let claims = MintedClaims {
                sub: user,
                exp: expires.as_secs(),
                iat: now.as_secs(),
                jti: &token_id,
                aud: settings.audience.as_deref(),
                iss: settings.issuer.as_deref(),
                channels,
            };
            Ok(jwt::sign(&claims, algorithm, secret.expose()).map_err(|_| AuthSetupError::SelfTest)?)
        }
    }
}
