//! Verifies the tokens of Identify and Refresh.

use std::time::{Instant, SystemTime};

use super::LOG_TARGET;
use super::clock::unix_ms;
use super::limits::{IdentifyRefusal, SessionPermit, UnidentifiedPermit, UserSessionPermit};
use super::services::Services;
use crate::auth::{AuthError, Principal};
use crate::metrics::{IdentifyResult, Label as _, Metrics};
use crate::socket::client_prefix::ClientPrefix;
use protocol::SessionId;
use protocol::channel::{ChannelName, ChannelPattern};
use protocol::conversation::{Identity, Input, NotIdentified};

/// The input for the conversation, and the result for the metrics.
type CheckedToken = (Input<'static>, IdentifyResult);

/// Verifies the token and counts the result. A session that identifies gets a user's permit for its unidentified one.
///
/// Verifying a signature takes up to milliseconds, so no token of an address or a user over its limit is verified.
pub(super) fn authenticate(
    services: &Services,
    session: SessionId,
    client: Option<ClientPrefix>,
    permit: &mut SessionPermit,
    token: &str,
) -> Input<'static> {
    let now = Instant::now();
    let (identified, (answer, result)) = match permit {
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
    answer
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
    if !limits.can_identify(client, now) {
        return (None, (Input::OverLimit, IdentifyResult::TooManyFailures));
    }
    let (verified, result) = verify(services, token);
    let admitted = match &verified {
        Err(NotIdentified) => Err((Input::Verified(Err(NotIdentified)), result)),
        Ok(identity) => limits.acquire_session(&identity.user, now).map_err(|refusal| match refusal {
            IdentifyRefusal::Sessions => (Input::OverLimit, IdentifyResult::TooManySessions),
            IdentifyRefusal::Rate => (Input::OverLimit, IdentifyResult::TooManyIdentifies),
        }),
    };
    match admitted {
        Ok(user) => (Some(user), (Input::Verified(verified), result)),
        Err(outcome) => {
            limits.record_failure(client, now);
            (None, outcome)
        }
    }
}

/// Verifies the token of a Refresh, which counts for the session's user.
fn refresh(services: &Services, user: &UserSessionPermit, token: &str, now: Instant) -> CheckedToken {
    if !user.acquire_refresh(now) {
        return (Input::OverLimit, IdentifyResult::TooManyIdentifies);
    }
    let (verified, result) = verify(services, token);
    (Input::Verified(verified), result)
}

fn verify(services: &Services, token: &str) -> (Result<Identity, NotIdentified>, IdentifyResult) {
    let outcome = services.tokens.verify(token, SystemTime::now());
    let result = outcome.as_ref().map_or_else(|error| result_of(*error), |_| IdentifyResult::Accepted);
    (outcome.map_err(|_| NotIdentified).and_then(to_identity), result)
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
            token_id: None,
            issued_at: None,
        };
        let expected = Identity {
            user: ChannelName::of_user("42").unwrap(),
            expires_at_ms: Some(1_500),
            grants: vec![ChannelPattern::new("room:*")],
        };
        assert_eq!(to_identity(principal), Ok(expected));
    }
}
