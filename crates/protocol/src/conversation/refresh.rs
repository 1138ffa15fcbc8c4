//! Newer tokens of a session (op 12), and tokens that cannot be verified now.
//!
//! One token of a session is verified at a time. Of the tokens that arrive meanwhile only the newest is kept: the
//! session uses the newest one in the end.

use super::batches::answer_batches;
use super::{Action, Conversation, ConversationState, Identity, NotIdentified, Token};
use crate::Now;
use crate::channel::ChannelName;
use crate::close::CloseCode;
use crate::event::{Event, RefusalReason, SoftError, SubscriptionOutcome};

/// The reason in the Close of a session whose token cannot be verified now.
const UNVERIFIABLE: &str = "tokens cannot be verified now, try again later";

/// The tokens of a session that are not verified yet.
#[derive(Debug, Default)]
pub(super) struct PendingRefresh {
    /// Whether a token is being verified.
    is_verifying: bool,
    /// The token that is verified next.
    next: Option<Token>,
}

impl PendingRefresh {
    /// Returns the token if it is verified now. Otherwise it waits.
    fn begin(&mut self, token: Token) -> Option<Token> {
        if self.is_verifying {
            self.next = Some(token);
            return None;
        }
        self.is_verifying = true;
        Some(token)
    }

    /// A token is verified. Returns the token that is verified next.
    fn end(&mut self) -> Option<Token> {
        let next = self.next.take();
        self.is_verifying = next.is_some();
        next
    }
}

impl Conversation {
    pub(super) fn on_refresh(&mut self, token: Token, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        actions.extend(verified.on_demand_mut().pending_refresh.begin(token).map(Action::Authenticate));
    }

    pub(super) fn on_refresh_verified(
        &mut self,
        now: Now,
        result: Result<Identity, NotIdentified>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        match result {
            Ok(identity) if identity.user == *verified.user_channel() => {
                let lost = verified.refresh(identity, &self.rules, now);
                let expires_in_ms = verified.expires_in_ms(now);
                actions.push(Action::Send(Event::Refreshed { expires_in_ms }));
                lost.into_iter().for_each(|channel| unsubscribe_disallowed(channel, actions));
                answer_batches(verified, actions);
            }
            _ => actions.push(Action::Send(Event::Error(SoftError::RefreshFailed))),
        }
        actions.extend(verified.on_demand_mut().pending_refresh.end().map(Action::Authenticate));
    }

    /// At Identify, the client has no session and comes back later. At Refresh, the session keeps its token.
    pub(super) fn on_unverifiable(&mut self, actions: &mut Vec<Action>) {
        match &mut self.state {
            ConversationState::Verifying(_) => {
                self.close_with(CloseCode::TryAgainLater, UNVERIFIABLE.into(), actions);
            }
            ConversationState::Ready(verified) => {
                actions.push(Action::Send(Event::Error(SoftError::Unavailable)));
                actions.extend(verified.on_demand_mut().pending_refresh.end().map(Action::Authenticate));
            }
            ConversationState::Unidentified { .. }
            | ConversationState::Joining(_)
            | ConversationState::Closed => {}
        }
    }
}

/// Unsubscribes the session from a channel that a new token no longer allows.
fn unsubscribe_disallowed(channel: ChannelName, actions: &mut Vec<Action>) {
    let answer = Event::Subscription {
        channel: channel.as_str().into(),
        outcome: SubscriptionOutcome::Unsubscribed { reason: Some(RefusalReason::NotAllowed.label()) },
    };
    actions.push(Action::Unsubscribe { channels: vec![channel], answer: Some(answer) });
}
