//! What the backend decides: subscriptions, disconnects and revocations.

use std::sync::Arc;

use super::batches::answer_batches;
use super::{Action, Conversation, ConversationState, SubscribeRequest, WantedHistory};
use crate::Version;
use crate::channel::ChannelName;
use crate::close::CloseCode;
use crate::event::{Event, SubscriptionOutcome};

/// The reason in op 6 when the backend ends a subscription.
const BY_SERVER: &str = "by_server";
/// The reason in the Close of a session whose token is revoked.
const TOKEN_REVOKED: &str = "token revoked";

impl Conversation {
    pub(super) fn on_disconnected(&mut self, reason: Option<Arc<str>>, actions: &mut Vec<Action>) {
        match reason {
            Some(reason) => self.close_with(CloseCode::Disconnected, reason, actions),
            None => self.close(CloseCode::Disconnected, actions),
        }
    }

    /// Closes as if the token had expired: the client needs another token, and may not get one.
    pub(super) fn on_token_revoked(&mut self, actions: &mut Vec<Action>) {
        self.close_with(CloseCode::SessionExpired, TOKEN_REVOKED.into(), actions);
    }

    pub(super) fn on_revocations_unknown(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.state, ConversationState::Verifying(_)) {
            self.close(CloseCode::TryAgainLater, actions);
        }
    }

    /// Subscribes the session to a channel, or ends its subscription. Before Ready, the change waits for Ready. A
    /// session never leaves its own channels.
    pub(super) fn on_set_subscription(
        &mut self,
        channel: ChannelName,
        is_subscribed: bool,
        actions: &mut Vec<Action>,
    ) {
        let verified = match &mut self.state {
            ConversationState::Ready(verified) => verified,
            ConversationState::Joining(joining) => {
                joining.changes.retain(|(changed, _)| *changed != channel);
                return joining.changes.push((channel, is_subscribed));
            }
            ConversationState::Unidentified { .. }
            | ConversationState::Verifying(_)
            | ConversationState::Closed => return,
        };
        if verified.is_own(&channel) {
            return;
        }
        if !is_subscribed {
            if verified.unsubscribe(&channel) {
                let answer = (self.version == Version::V2).then(|| unsubscribed(&channel));
                actions.push(Action::Unsubscribe { channels: vec![channel], answer });
                answer_batches(verified, actions);
            }
        } else if !verified.mark_by_server(&channel) {
            let request_id = verified.subscribe(channel.clone());
            verified.mark_by_server(&channel);
            let request = SubscribeRequest { channel, history: WantedHistory::Nothing, request_id };
            actions.push(Action::Subscribe(vec![request]));
        }
    }
}

fn unsubscribed(channel: &ChannelName) -> Event {
    Event::Subscription {
        channel: channel.as_str().into(),
        outcome: SubscriptionOutcome::Unsubscribed { reason: Some(BY_SERVER) },
    }
}
