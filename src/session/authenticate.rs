//! Verifies the tokens of Identify and Refresh.

use std::time::{Instant, SystemTime};

use super::LOG_TARGET;
use super::clock::unix_ms;
use super::limits::{IdentifyRefusal, SessionPermit, UnidentifiedPermit, UserSessionPermit};
use super::services::Services;
use crate::auth::{AuthError, Principal};
use crate::hub::control::AcceptedToken;
use crate::metrics::{IdentifyResult, Label as _, Metrics};
use crate::socket::client_prefix::ClientPrefix;
use protocol::SessionId;
use protocol::channel::{ChannelName, ChannelPattern};
use protocol::conversation::{Identity, Input, NotIdentified};

/// A checked token.
struct CheckedToken {
    /// The input for the conversation.
    answer: Input<'static>,
    /// The result for the metrics.
    result: IdentifyResult,
    /// What the hub notes of the token. `None` if the session does not use it.
    accepted: Option<AcceptedToken>,
}

/// The contents of a token that is not refused, and what the hub notes of it.
type VerifiedToken = (Identity, AcceptedToken);

impl CheckedToken {
    fn refused(answer: Input<'static>, result: IdentifyResult) -> Self {
        Self { answer, result, accepted: None }
    }
}

/// Verifies the token and counts the result. A session that identifies gets a user's permit for its unidentified one.
/// Also returns what the hub notes of the token if the session uses it from now on.
///
/// Verifying a signature takes up to milliseconds, so no token of an address or a user over its limit is verified.
pub(super) fn authenticate(
    services: &Services,
    session: SessionId,
    client: Option<ClientPrefix>,
    permit: &mut SessionPermit,
    token: &str,
) -> (Input<'static>, Option<AcceptedToken>) {
    let now = Instant::now();
    let (identified, CheckedToken { answer, result, accepted }) = match permit {
        SessionPermit::Unidentified(unidentified) => identify(services, unidentified, client, token, now),
        SessionPermit::User(user) => (None, refresh(services, user, token, now)),
    };
    if let Some(user) = identified {
        log::debug!(target: LOG_TARGET, session:%, user = user.user(); "session identified");
        *permit = SessionPermit::User(user);
    }
    Metrics::count(&services.metrics.identifies, result);
    if result != IdentifyResult::Accepted {
        log::debug!(target: LOG_TARGET, session:%; "token refused: {}", result.label());
    }
    (answer, accepted)
}

/// Verifies the token of an Identify. A failure counts for the client's address, a success for the user.
fn identify(
    services: &Services,
    unidentified: &UnidentifiedPermit,
    client: Option<ClientPrefix>,
    token: &str,
    now: Instant,
) -> (Option<UserSessionPermit>, CheckedToken) {
    let limits = unidentified.limits();
    if services.staleness.refuses_sessions() {
        let unknown = CheckedToken::refused(Input::RevocationsUnknown, IdentifyResult::RevocationsUnknown);
        return (None, unknown);
    }
    if !limits.can_identify(client, now) {
        return (None, CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManyFailures));
    }
    let refused = match verify(services, token) {
        Err(result) => CheckedToken::refused(Input::Verified(Err(NotIdentified)), result),
        Ok((identity, token)) => match limits.acquire_session(&identity.user, now) {
            Ok(user) => return (Some(user), accepted(identity, token)),
            Err(IdentifyRefusal::Sessions) => {
                CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManySessions)
            }
            Err(IdentifyRefusal::Rate) => {
                CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManyIdentifies)
            }
        },
    };
    limits.record_failure(client, now);
    (None, refused)
}

fn accepted(identity: Identity, token: AcceptedToken) -> CheckedToken {
    CheckedToken {
        answer: Input::Verified(Ok(identity)),
        result: IdentifyResult::Accepted,
        accepted: Some(token),
    }
}

/// Verifies the token of a Refresh, which counts for the session's user.
fn refresh(services: &Services, user: &UserSessionPermit, token: &str, now: Instant) -> CheckedToken {
    if !user.acquire_refresh(now) {
        return CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManyIdentifies);
    }
    match verify(services, token) {
        Err(result) => CheckedToken::refused(Input::Verified(Err(NotIdentified)), result),
        Ok((identity, token)) => {
            // The conversation refuses the token of another user, and the session keeps the one it has.
            let is_used = identity.user.user_id() == Some(user.user());
            let checked = accepted(identity, token);
            CheckedToken { accepted: checked.accepted.filter(|_| is_used), ..checked }
        }
    }
}

/// Verifies a token and looks it up among the revoked ones.
fn verify(services: &Services, token: &str) -> Result<VerifiedToken, IdentifyResult> {
    let now = SystemTime::now();
    let principal = services.tokens.verify(token, now).map_err(result_of)?;
    let (token_id, issued_at_ms) = (principal.token_id.as_deref(), principal.issued_at.map(unix_ms));
    if services.broker.revocations().is_revoked(&principal.user, token_id, issued_at_ms, unix_ms(now)) {
        return Err(IdentifyResult::Revoked);
    }
    let token = AcceptedToken { id: token_id.map(Into::into), issued_at_ms };
    // `auth` has checked the user id, so that a channel can have its name.
    let identity = to_identity(principal).map_err(|NotIdentified| IdentifyResult::UserNotAllowed)?;
    Ok((identity, token))
}

/// The result in metrics of a token that was refused.
const fn result_of(error: AuthError) -> IdentifyResult {
    match error {
        AuthError::Malformed => IdentifyResult::Malformed,
        AuthError::BadSignature => IdentifyResult::BadSignature,
        AuthError::WrongAlgorithm => IdentifyResult::WrongAlgorithm,
        AuthError::Expired => IdentifyResult::Expired,
        AuthError::NotYetValid => IdentifyResult::NotYetValid,
        AuthError::NoExpiry => IdentifyResult::NoExpiry,
        AuthError::WrongAudience => IdentifyResult::WrongAudience,
        AuthError::WrongIssuer => IdentifyResult::WrongIssuer,
        AuthError::NoUser => IdentifyResult::NoUser,
        AuthError::UserNotAllowed => IdentifyResult::UserNotAllowed,
        AuthError::BadChannels => IdentifyResult::BadChannels,
        AuthError::ForeignUser => IdentifyResult::ForeignUser,
    }
}

/// Converts an authenticated principal to an identity of the protocol. Fails if no channel can have the user's name.
fn to_identity(principal: Principal) -> Result<Identity, NotIdentified> {
    Ok(Identity {
        user: ChannelName::of_user(&principal.user).map_err(|_| NotIdentified)?,
        expires_at_ms: principal.expires_at.map(unix_ms),
        grants: principal.channels.iter().map(|pattern| ChannelPattern::new(pattern)).collect(),
        // `auth` has checked the names.
        subscribe: principal.subscribe.iter().filter_map(|name| ChannelName::parse(name).ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn metrics_and_errors_use_the_same_texts() {
        for error in AuthError::ALL {
            assert_eq!(result_of(error).label(), error.label());
        }
    }

    #[test]
    fn an_identity_keeps_its_user_expiry_and_channels() {
        let principal = Principal {
            user: "42".to_owned(),
            expires_at: Some(UNIX_EPOCH + Duration::from_millis(1_500)),
            channels: vec!["room:*".to_owned()],
            subscribe: vec!["list:1".to_owned()],
            token_id: None,
            issued_at: None,
        };
        let expected = Identity {
            user: ChannelName::of_user("42").unwrap(),
            expires_at_ms: Some(1_500),
            grants: vec![ChannelPattern::new("room:*")],
            subscribe: vec![ChannelName::parse("list:1").unwrap()],
        };
        assert_eq!(to_identity(principal), Ok(expected));
    }
}
