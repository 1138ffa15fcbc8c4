//! `token`: mints a token as a login endpoint does, or checks one.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;

use super::{Failure, print, print_error};
use crate::auth::opaque::TokenHash;
use crate::auth::{AuthError, Principal, ReloadableAuthenticator, longest_lifetime, mint};
use crate::settings::{AuthKind, Settings, one_line, parse_duration};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// User id of the new token
    #[arg(long, value_name = "ID", required_unless_present = "check")]
    user: Option<String>,
    /// Grant this channel, or channels that match a pattern such as room:*; may be repeated (jwt and redis)
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// Lifetime, such as 90m [default: 1h]; at most auth.max_age for a signed token; an insecure token does not expire
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
    /// Check this token against the settings instead of minting one; - reads it from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["user", "channels"])]
    check: Option<String>,
}

/// The default lifetime of a token.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 45s, 90m or 24h".to_owned())
}

pub(super) fn token(settings: &Settings, args: &TokenArgs) -> Result<ExitCode, Failure> {
    if let Some(token) = &args.check {
        return check(settings, token);
    }
    let user = args.user.as_deref().unwrap_or_default();
    if settings.auth.kind == AuthKind::Redis {
        return log_in(settings, user, &args.channels, args.ttl);
    }
    print(&mint_for(settings, user, &args.channels, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a token, and on standard error the command that makes Redis know it, as the backend does at a login.
fn log_in(
    settings: &Settings,
    user: &str,
    channels: &[String],
    ttl: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = match channels {
        [] => json!({"sub": user, "iat": issued}),
        channels => json!({"sub": user, "iat": issued, "channels": channels}),
    };
    let (prefix, hash) = (settings.broker.redis_prefix(), TokenHash::of(&token));
    let seconds = ttl.unwrap_or(DEFAULT_TTL).as_secs();
    let claims = claims.to_string().replace('\'', "'\\''");
    // In a cluster, only `-c` makes redis-cli go to the node with the key.
    let redis_cli = if settings.broker.is_cluster() { "redis-cli -c" } else { "redis-cli" };
    print_error(&format!("log the user in: {redis_cli} SET {prefix}:token:{hash} '{claims}' EX {seconds}"));
    print(&token)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the user of a token; fails with the reason if the token is refused.
fn check(settings: &Settings, token: &str) -> Result<ExitCode, Failure> {
    if matches!(settings.auth.kind, AuthKind::Redis | AuthKind::Introspection) {
        return Err(Failure::Other(
            "only the issuer knows an opaque token: connect with it, as in emagine-gateway tail --token"
                .to_owned(),
        ));
    }
    let authenticator = ReloadableAuthenticator::new(&settings.auth)
        .map_err(|error| Failure::Settings(vec![error.to_string()]))?;
    if authenticator.has_remote_keys() {
        let fetched = actix_rt::System::new().block_on(authenticator.fetch_keys());
        fetched.result.map_err(|reason| Failure::Other(format!("auth.jwks_url: {reason}")))?;
    }
    let mut token = token.to_owned();
    if token == "-" {
        token.clear();
        std::io::stdin().read_to_string(&mut token)?;
    }
    let now = SystemTime::now();
    match authenticator.verify(token.trim(), now) {
        Ok(identity) => print(&describe(&identity, now))?,
        Err(error) => return Err(Failure::Other(format!("{error} ({}): {}", error.label(), advice(error)))),
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(identity: &Principal, now: SystemTime) -> String {
    let channels = match &identity.channels[..] {
        [] => "only the user's own".to_owned(),
        channels => channels.join(" "),
    };
    let subscribe = match &identity.subscribe[..] {
        [] => String::new(),
        channels => format!("subscribe: {}\n", channels.join(" ")),
    };
    let expires = match identity.expires_at {
        Some(at) => format!("in {} s", at.duration_since(now).unwrap_or_default().as_secs()),
        None => "never".to_owned(),
    };
    let token_id = identity.token_id.as_deref().map_or_else(|| "none".to_owned(), one_line);
    let issued = match identity.issued_at {
        Some(at) => format!("{} s ago", now.duration_since(at).unwrap_or_default().as_secs()),
        None => "unknown".to_owned(),
    };
    format!(
        "user: {}\nchannels: {channels}\n{subscribe}expires: {expires}\nissued: {issued}\nid: {token_id}",
        identity.user
    )
}

/// How the token's issuer can correct the error.
const fn advice(error: AuthError) -> &'static str {
    match error {
        AuthError::Malformed => "compare it with docs/tokens.md; check auth.kind",
        AuthError::Unknown => "ask the backend that hands out the tokens",
        AuthError::BadSignature => "use the same secret or key at the issuer and in the settings",
        AuthError::UnknownKey => "publish the key with the token's kid in the key set",
        AuthError::WrongAlgorithm => "add its algorithm to auth.algorithms, or sign with a listed one",
        AuthError::Expired => "make the client fetch a new token; compare the clocks",
        AuthError::NotYetValid => "compare the clocks; auth.leeway tolerates a difference",
        AuthError::NoExpiry => "add the claim exp, in seconds since 1970",
        AuthError::WrongAudience => "set the claim aud to auth.audience, or to a list with it",
        AuthError::WrongIssuer => "set the claim iss to auth.issuer",
        AuthError::NoUser => "add the claim sub, the user's id",
        AuthError::UserNotAllowed => "use 1 to 128 printable ASCII characters without space, braces and star",
        AuthError::ForeignUser => "remove other users' channels, or set auth.allow_foreign_user_channels",
        AuthError::BadChannels => "list at most 1000 names such as room:7 or patterns such as room:*",
    }
}

/// Mints a token for `user` with the secret of the settings. Without `ttl` it is valid for [`DEFAULT_TTL`], or for the
/// maximum of its kind if that is less.
pub(super) fn mint_for(
    settings: &Settings,
    user: &str,
    channels: &[String],
    ttl: Option<Duration>,
) -> Result<String, Failure> {
    let ttl = ttl.unwrap_or_else(|| DEFAULT_TTL.min(longest_lifetime(&settings.auth)));
    mint(&settings.auth, user, channels, ttl, SystemTime::now())
        .map_err(|error| Failure::Other(error.to_string()))
}
