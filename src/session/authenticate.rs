//! Verifies the tokens of Identify and Refresh.

use std::time::{Instant, SystemTime};

use super::LOG_TARGET;
use super::clock::unix_ms;
use super::limits::{IdentifyRefusal, SessionPermit, UnidentifiedPermit, UserSessionPermit};
use super::services::Services;
use crate::auth::{AuthError, PendingVerification, Principal, TokenAnswer, TokenError, Verification};
use crate::hub::control::AcceptedToken;
use crate::metrics::{IdentifyResult, Label as _, Metrics};
use crate::socket::client_prefix::ClientPrefix;
use protocol::SessionId;
use protocol::channel::{ChannelName, ChannelPattern};
use protocol::conversation::{Identity, Input, NotIdentified};

/// A token that is being verified, or its answer.
pub(super) enum Authentication {
    /// The answer is known at once.
    Known(Authenticated),
    /// The answer comes later, for [`resume`].
    Pending(PendingVerification),
}

/// An answer for the conversation.
pub(super) struct Authenticated {
    pub(super) answer: Input<'static>,
    /// What the hub notes of the token. `None` if the session does not use it from now on.
    pub(super) accepted: Option<AcceptedToken>,
}

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

    fn accepted(identity: Identity, token: AcceptedToken) -> Self {
        Self {
            answer: Input::Verified(Ok(identity)),
            result: IdentifyResult::Accepted,
            accepted: Some(token),
        }
    }

    /// A token that is not accepted.
    fn not_accepted(result: IdentifyResult) -> Self {
        let answer = match result {
            IdentifyResult::Unavailable => Input::Unverifiable,
            _ => Input::Verified(Err(NotIdentified)),
        };
        Self::refused(answer, result)
    }

    /// Counts the result.
    fn conclude(self, services: &Services, session: SessionId) -> Authenticated {
        let Self { answer, result, accepted } = self;
        Metrics::count(&services.metrics.identifies, result);
        if result != IdentifyResult::Accepted {
            log::debug!(target: LOG_TARGET, session:%; "token refused: {}", result.label());
        }
        Authenticated { answer, accepted }
    }
}

/// Verifies the token and counts the result. A session that identifies gets a user's permit for its unidentified one.
///
/// Verifying a signature takes up to milliseconds, and an opaque token costs its backend a call, so no token of an
/// address or a user over its limit is verified.
pub(super) fn authenticate(
    services: &Services,
    session: SessionId,
    client: Option<ClientPrefix>,
    permit: &mut SessionPermit,
    token: &str,
) -> Authentication {
    let now = Instant::now();
    let refused = match permit {
        SessionPermit::Unidentified(unidentified) => refuse_identify(services, unidentified, client, now),
        SessionPermit::User(user) => refuse_refresh(user, now),
    };
    if let Some(refused) = refused {
        return Authentication::Known(refused.conclude(services, session));
    }
    let on_late_refusal = late_refusal(permit, client);
    match services.verify(token, on_late_refusal) {
        Verification::Known(answer) => {
            let checked = check(services, session, client, permit, answer);
            Authentication::Known(checked.conclude(services, session))
        }
        Verification::Pending(pending) => Authentication::Pending(pending),
    }
}

/// Counts a token that is refused after its session has ended: a client that leaves before the answer must not try
/// tokens without a limit. A Refresh has counted already.
fn late_refusal(permit: &SessionPermit, client: Option<ClientPrefix>) -> impl FnOnce() + Send + use<> {
    let limits = match permit {
        SessionPermit::Unidentified(unidentified) => Some(unidentified.limits().clone()),
        SessionPermit::User(_) => None,
    };
    move || {
        if let Some(limits) = limits {
            limits.record_failure(client, Instant::now());
        }
    }
}

/// The answer to a verification that took time. Limits and revocations count as of now.
///
/// The tokens of an address may have failed too often meanwhile. Otherwise its clients could try more tokens at the
/// same time than one after another.
pub(super) fn resume(
    services: &Services,
    session: SessionId,
    client: Option<ClientPrefix>,
    permit: &mut SessionPermit,
    answer: TokenAnswer,
) -> Authenticated {
    let now = Instant::now();
    let refused = match permit {
        SessionPermit::Unidentified(unidentified) => refuse_identify(services, unidentified, client, now),
        SessionPermit::User(_) => None,
    };
    if let (Some(_), Err(TokenError::Refused(_)), SessionPermit::Unidentified(unidentified)) =
        (&refused, &answer, &*permit)
    {
        // The token was verified, so it counts.
        unidentified.limits().record_failure(client, now);
    }
    let checked = refused.unwrap_or_else(|| check(services, session, client, permit, answer));
    checked.conclude(services, session)
}

/// Why an Identify is refused whatever its token is.
fn refuse_identify(
    services: &Services,
    unidentified: &UnidentifiedPermit,
    client: Option<ClientPrefix>,
    now: Instant,
) -> Option<CheckedToken> {
    if services.staleness.refuses_sessions() {
        let unknown = CheckedToken::refused(Input::RevocationsUnknown, IdentifyResult::RevocationsUnknown);
        return Some(unknown);
    }
    let is_refused = !unidentified.limits().can_identify(client, now);
    is_refused.then(|| CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManyFailures))
}

/// Why a Refresh is refused whatever its token is. It counts for the session's user.
fn refuse_refresh(user: &UserSessionPermit, now: Instant) -> Option<CheckedToken> {
    let is_refused = !user.acquire_refresh(now);
    is_refused.then(|| CheckedToken::refused(Input::OverLimit, IdentifyResult::TooManyIdentifies))
}

/// Checks what a verified token says.
fn check(
    services: &Services,
    session: SessionId,
    client: Option<ClientPrefix>,
    permit: &mut SessionPermit,
    answer: TokenAnswer,
) -> CheckedToken {
    let now = Instant::now();
    let verified = accept(services, answer);
    match permit {
        SessionPermit::User(user) => check_refresh(user, verified),
        SessionPermit::Unidentified(unidentified) => {
            let (identified, checked) = check_identify(unidentified, client, verified, now);
            if let Some(user) = identified {
                log::debug!(target: LOG_TARGET, session:%, user = user.user(); "session identified");
                *permit = SessionPermit::User(user);
            }
            checked
        }
    }
}

/// Checks the token of an Identify. A failure counts for the client's address, a success for the user. A token that
/// could not be verified is no failure.
fn check_identify(
    unidentified: &UnidentifiedPermit,
    client: Option<ClientPrefix>,
    verified: Result<VerifiedToken, IdentifyResult>,
    now: Instant,
) -> (Option<UserSessionPermit>, CheckedToken) {
    let limits = unidentified.limits();
    let refused = match verified {
        Err(IdentifyResult::Unavailable) => {
            return (None, CheckedToken::not_accepted(IdentifyResult::Unavailable));
        }
        Err(result) => CheckedToken::not_accepted(result),
        Ok((identity, token)) => match limits.acquire_session(&identity.user, now) {
            Ok(user) => return (Some(user), CheckedToken::accepted(identity, token)),
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

/// Checks the token of a Refresh.
fn check_refresh(user: &UserSessionPermit, verified: Result<VerifiedToken, IdentifyResult>) -> CheckedToken {
    match verified {
        Err(result) => CheckedToken::not_accepted(result),
        Ok((identity, token)) => {
            // The conversation refuses the token of another user, and the session keeps the one it has.
            let is_used = identity.user.user_id() == Some(user.user());
            let checked = CheckedToken::accepted(identity, token);
            CheckedToken { accepted: checked.accepted.filter(|_| is_used), ..checked }
        }
    }
}

/// Looks up a verified token among the revoked ones.
fn accept(services: &Services, answer: TokenAnswer) -> Result<VerifiedToken, IdentifyResult> {
    let now = SystemTime::now();
    let principal = answer.map_err(|error| match error {
        TokenError::Refused(error) => result_of(error),
        TokenError::Unavailable => IdentifyResult::Unavailable,
    })?;
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
        AuthError::Unknown => IdentifyResult::Unknown,
        AuthError::BadSignature => IdentifyResult::BadSignature,
        AuthError::UnknownKey => IdentifyResult::UnknownKey,
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
