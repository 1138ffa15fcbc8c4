//! The claims of a token, whichever way its authenticity is known.
//!
//! `sub` is the user id, a string or an integer. `exp`, `nbf`, `iat` and `jti` are checked as in RFC 7519. `aud` and
//! `iss` are required if the settings have a value for them, and ignored otherwise. `channels` may list channels and
//! patterns, `subscribe` only channels. A claim of the wrong type is refused: an ignored `"nbf":"9999999999"` would make
//! the token valid too early.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;

use super::{
    AuthError, Principal,
    principal::{MAX_CHANNELS, is_channel_name, is_channel_pattern, is_of_another_user, parse_user_id},
};
use crate::settings::AuthSettings;

/// The last second of the year 9999. A later time is a mistake, most often in milliseconds.
pub(super) const LATEST_SECONDS: u64 = 253_402_300_799;

/// The claims that are checked. An absent claim is null; serde refuses a duplicate.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    sub: Value,
    exp: Value,
    nbf: Value,
    iat: Value,
    jti: Value,
    aud: Value,
    iss: Value,
    channels: Value,
    subscribe: Value,
}

impl Default for Claims {
    fn default() -> Self {
        let [sub, exp, nbf, iat, jti, aud, iss, channels, subscribe] = [const { Value::Null }; 9];
        Self { sub, exp, nbf, iat, jti, aud, iss, channels, subscribe }
    }
}

/// What the settings require of claims.
#[derive(Debug, Clone)]
pub(super) struct ClaimRules {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) leeway: Duration,
    pub(super) allow_foreign_users: bool,
    /// Whether a token without `exp` is refused.
    pub(super) requires_expiry: bool,
}

impl ClaimRules {
    /// The rules for tokens that must have an expiry.
    pub(super) fn new(settings: &AuthSettings) -> Self {
        Self {
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway: settings.leeway,
            allow_foreign_users: settings.allow_foreign_user_channels,
            requires_expiry: true,
        }
    }

    /// Checks the claims of an authentic token at the time `now`.
    pub(super) fn check(&self, claims: Claims, now: SystemTime) -> Result<Principal, AuthError> {
        let expires = parse_numeric_date(&claims.exp)?;
        let not_before = parse_numeric_date(&claims.nbf)?;
        let (issued, token_id) = (parse_numeric_date(&claims.iat)?, parse_token_id(claims.jti)?);
        if expires.is_none() && self.requires_expiry {
            return Err(AuthError::NoExpiry);
        }
        // A token is valid within its leeway, so its session lasts as long.
        let expires = expires.map(|expires| expires.saturating_add(self.leeway));
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if expires.is_some_and(|expires| now >= expires) {
            return Err(AuthError::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if not_before.is_some_and(|not_before| not_before > latest) {
            return Err(AuthError::NotYetValid);
        }
        self.check_parties(&claims.aud, &claims.iss)?;
        let user = parse_subject(&claims.sub)?;
        let channels = self.parse_list(claims.channels, &user, is_channel_pattern)?;
        let subscribe = self.parse_list(claims.subscribe, &user, is_channel_name)?;
        Ok(Principal {
            user,
            expires_at: expires.and_then(|expires| UNIX_EPOCH.checked_add(expires)),
            channels,
            subscribe,
            token_id,
            // A time in the future is ignored, because the token would outlast a revocation of all tokens issued
            // before now.
            issued_at: issued
                .filter(|issued| *issued <= latest)
                .and_then(|issued| UNIX_EPOCH.checked_add(issued)),
        })
    }

    fn check_parties(&self, audience: &Value, issuer: &Value) -> Result<(), AuthError> {
        if self.audience.as_deref().is_some_and(|expected| !names_audience(audience, expected)) {
            return Err(AuthError::WrongAudience);
        }
        if self.issuer.as_deref().is_some_and(|expected| issuer.as_str() != Some(expected)) {
            return Err(AuthError::WrongIssuer);
        }
        Ok(())
    }

    /// The entries of `channels` or `subscribe`.
    fn parse_list(
        &self,
        claim: Value,
        user: &str,
        is_valid: fn(&str) -> bool,
    ) -> Result<Vec<String>, AuthError> {
        let entries = match claim {
            Value::Null => return Ok(Vec::new()),
            Value::Array(entries) if entries.len() <= MAX_CHANNELS => entries,
            _ => return Err(AuthError::BadChannels),
        };
        let entry = |entry| match entry {
            Value::String(text) if is_valid(&text) => Ok(text),
            _ => Err(AuthError::BadChannels),
        };
        let entries = entries.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        if !self.allow_foreign_users && entries.iter().any(|entry| is_of_another_user(entry, user)) {
            return Err(AuthError::ForeignUser);
        }
        Ok(entries)
    }
}

/// A NumericDate: seconds since 1970, with an optional fraction. `None` if the claim is absent.
fn parse_numeric_date(claim: &Value) -> Result<Option<Duration>, AuthError> {
    let seconds = match claim {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64().ok_or(AuthError::Malformed)?,
        _ => return Err(AuthError::Malformed),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time.as_secs() <= LATEST_SECONDS => Ok(Some(time)),
        _ => Err(AuthError::Malformed),
    }
}

/// The id of a token: a string, or a number as some issuers use.
fn parse_token_id(claim: Value) -> Result<Option<String>, AuthError> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(AuthError::Malformed),
    }
}

/// Whether `aud`, a string or a list of strings, contains `expected`.
fn names_audience(claim: &Value, expected: &str) -> bool {
    match claim {
        Value::String(one) => one == expected,
        Value::Array(several) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one.as_str() == Some(expected))
        }
        _ => false,
    }
}

fn parse_subject(claim: &Value) -> Result<String, AuthError> {
    match claim {
        Value::Null => Err(AuthError::NoUser),
        Value::String(text) => parse_user_id(text.as_bytes()),
        // Many issuers use the number of a database row.
        Value::Number(number) => number.as_u64().map(|id| id.to_string()).ok_or(AuthError::UserNotAllowed),
        _ => Err(AuthError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> ClaimRules {
        ClaimRules {
            audience: None,
            issuer: None,
            leeway: Duration::from_secs(5),
            allow_foreign_users: false,
            requires_expiry: true,
        }
    }

    fn check(rules: &ClaimRules, claims: Value, now: u64) -> Result<Principal, AuthError> {
        rules.check(serde_json::from_value(claims).unwrap(), UNIX_EPOCH + Duration::from_secs(now))
    }

    #[test]
    fn subscribe_lists_channels_but_no_patterns() {
        let subscribe = |list: Value| {
            let claims = json!({"sub": "42", "exp": 2000, "subscribe": list});
            check(&rules(), claims, 1000).map(|principal| principal.subscribe)
        };
        assert_eq!(subscribe(json!(["room:7", "user:42"])), Ok(vec!["room:7".into(), "user:42".into()]));
        assert_eq!(subscribe(Value::Null), Ok(vec![]));
        for wrong in [json!("room:7"), json!(["room:*"]), json!(["room"]), json!([7]), json!(["room: 7"])] {
            assert_eq!(subscribe(wrong.clone()), Err(AuthError::BadChannels), "{wrong}");
        }
        assert_eq!(subscribe(json!(["user:7"])), Err(AuthError::ForeignUser));
        assert_eq!(subscribe(json!(vec!["room:7"; 1000])).map(|list| list.len()), Ok(1000));
        assert_eq!(subscribe(json!(vec!["room:7"; 1001])), Err(AuthError::BadChannels));
    }

    #[test]
    fn a_session_lasts_to_the_end_of_the_leeway() {
        let claims = json!({"sub": "42", "exp": 1000});
        let end = UNIX_EPOCH + Duration::from_secs(1005);
        assert_eq!(check(&rules(), claims.clone(), 1004).unwrap().expires_at, Some(end));
        assert_eq!(check(&rules(), claims, 1005), Err(AuthError::Expired));
    }

    #[test]
    fn an_expiry_is_optional_only_where_the_rules_say_so() {
        let claims = json!({"sub": "42"});
        assert_eq!(check(&rules(), claims.clone(), 0), Err(AuthError::NoExpiry));
        let relaxed = ClaimRules { requires_expiry: false, ..rules() };
        assert_eq!(check(&relaxed, claims, 0).unwrap().expires_at, None);
    }
}
