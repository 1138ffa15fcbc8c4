//! `token`: mint a token as the login endpoint would, for trying things out.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{Failure, print};
use crate::auth::mint;
use crate::settings::{AuthKind, Settings, parse_duration};

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
    /// A channel that the token opens, or a pattern such as room:*; may be repeated (jwt only)
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// How long it is good, such as 90m [default: 1h]; a signed token at most for auth.max_age. An insecure token has no end
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
}

/// How long a token is good unless told otherwise.
const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a duration as 45s, 90m or 24h".to_owned())
}

pub(super) fn token(settings: &Settings, args: &TokenArgs) -> Result<ExitCode, Failure> {
    print(&mint_for(settings, &args.user, &args.channels, args.ttl)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A token for `user` by the settings' own secret. Without `ttl` it is good for an hour, or for as long as its kind can be.
pub(super) fn mint_for(
    settings: &Settings,
    user: &str,
    channels: &[String],
    ttl: Option<Duration>,
) -> Result<String, Failure> {
    let longest = match settings.auth.kind {
        AuthKind::Signed => settings.auth.max_age,
        AuthKind::Jwt | AuthKind::Insecure => Duration::MAX,
    };
    let ttl = ttl.unwrap_or_else(|| DEFAULT_TTL.min(longest));
    mint(&settings.auth, user, channels, ttl, SystemTime::now())
        .map_err(|error| Failure::Other(error.to_string()))
}
