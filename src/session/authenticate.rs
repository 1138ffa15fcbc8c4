//! Verifies the tokens of Identify and Refresh.

use std::time::SystemTime;

use super::LOG_TARGET;
use super::clock::unix_ms;
use super::limits::SessionPermit;
use super::services::Services;
use crate::auth::Identity as Authenticated;
use crate::metrics::Metrics;
use protocol::SessionId;
use protocol::channel::{ChannelName, ChannelPattern};
use protocol::conversation::{Identity, Input, NotIdentified};

/// Checks the token, counts the outcome, and exchanges the permit of a session that identifies.
pub(super) fn authenticate(
    services: &Services,
    session: SessionId,
    permit: &mut SessionPermit,
    token: &str,
) -> Input<'static> {
    let outcome = services.tokens.verify(token, SystemTime::now());
    let mut label = outcome.as_ref().map_or_else(|error| error.label(), |_| "accepted");
    let mut answer = Input::Verified(outcome.map_err(|_| NotIdentified).and_then(identity));
    // On a Refresh the session already has its user's permit.
    if let (Input::Verified(Ok(identity)), SessionPermit::Unidentified(unidentified)) = (&answer, &*permit) {
        match unidentified.limits().identify(&identity.user) {
            Some(user) => {
                log::debug!(target: LOG_TARGET, session:%, user = user.user(); "session identified");
                *permit = SessionPermit::User(user);
            }
            None => (answer, label) = (Input::TooManySessions, "too_many_sessions"),
        }
    }
    Metrics::count(&services.metrics.identifies, label);
    if label != "accepted" {
        log::debug!(target: LOG_TARGET, session:%; "token refused: {label}");
    }
    answer
}

/// Converts an authenticated identity to that of the protocol.
fn identity(authenticated: Authenticated) -> Result<Identity, NotIdentified> {
    Ok(Identity {
        user: ChannelName::of_user(&authenticated.user).map_err(|_| NotIdentified)?,
        expires_at_ms: authenticated.expires_at.map(unix_ms),
        grants: authenticated.channels.iter().map(|pattern| ChannelPattern::new(pattern)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn an_identity_keeps_its_user_expiry_and_channels() {
        let authenticated = Authenticated {
            user: "42".to_owned(),
            expires_at: Some(UNIX_EPOCH + Duration::from_millis(1_500)),
            channels: vec!["room:*".to_owned()],
        };
        let expected = Identity {
            user: ChannelName::of_user("42").unwrap(),
            expires_at_ms: Some(1_500),
            grants: vec![ChannelPattern::new("room:*")],
        };
        assert_eq!(identity(authenticated), Ok(expected));
    }
}
