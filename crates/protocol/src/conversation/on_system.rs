//! Inputs from the authenticator, the hub, the clock and the operator.

use super::batches::refusal;
use super::verified::VerifiedSession;
use super::{
    Action, Conversation, ConversationState, IdentifyChannel, Identity, Joining, NotIdentified, Rules,
    SubscribeRequest, Verifying, WantedHistory,
};
use crate::channel::ChannelName;
use crate::close::CloseCode;
use crate::event::{ChannelState, Event, RefusalReason, SubscriptionState};
use crate::heartbeat::HeartbeatAction;
use crate::{Now, Version};

impl Conversation {
    pub(super) fn on_verified(
        &mut self,
        now: Now,
        result: Result<Identity, NotIdentified>,
        actions: &mut Vec<Action>,
    ) {
        match (&mut self.state, result) {
            (ConversationState::Verifying(_), Err(NotIdentified)) => {
                self.close(CloseCode::IdentifyFailed, actions)
            }
            (ConversationState::Verifying(verifying), Ok(identity)) => {
                let verified = VerifiedSession::new(identity, now);
                let (joining, channels) = Joining::new(verified, &self.rules, verifying);
                actions.push(Action::Join { channels });
                self.state = ConversationState::Joining(Box::new(joining));
            }
            (ConversationState::Ready(_), result) => self.on_refresh_verified(now, result, actions),
            // No token is being verified.
            (
                ConversationState::Unidentified { .. }
                | ConversationState::Joining(_)
                | ConversationState::Closed,
                _,
            ) => {}
        }
    }

    /// Closes the session that sent the token, not an older one: a client that opens sessions in a loop must not end
    /// the user's working sessions.
    pub(super) fn on_over_limit(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.state, ConversationState::Verifying(_) | ConversationState::Ready(_)) {
            self.close(CloseCode::RateLimited, actions);
        }
    }

    pub(super) fn on_joined(&mut self, now: Now, states: Vec<SubscriptionState>, actions: &mut Vec<Action>) {
        if !matches!(self.state, ConversationState::Joining(_)) {
            return;
        }
        let ConversationState::Joining(joining) =
            std::mem::replace(&mut self.state, ConversationState::Closed)
        else {
            return;
        };
        let Joining { mut verified, channels, refusals, waiting, changes } = *joining;
        let mut refused = Vec::new();
        let mut listed = Vec::new();
        for (channel, state) in channels.into_iter().zip(states) {
            match state {
                SubscriptionState::Live { .. } => verified.mark_live(&channel),
                SubscriptionState::Recovering { .. } => verified.mark_recovering(&channel),
                SubscriptionState::Refused => {
                    verified.unsubscribe(&channel);
                    refused.push(refusal(channel.as_str(), RefusalReason::Unavailable));
                    continue;
                }
            }
            listed.push(ChannelState { channel, state });
        }
        actions.push(Action::Send(Event::Ready {
            user: verified.user().into(),
            session: self.session,
            expires_in_ms: verified.expires_in_ms(now),
            channels: listed,
        }));
        actions.push(Action::GoLive(None));
        if self.version == Version::V2 {
            actions.extend(refusals.into_iter().chain(refused).map(Action::Send));
        }
        self.state = ConversationState::Ready(Box::new(verified));
        for (channel, is_subscribed) in changes {
            self.on_set_subscription(channel, is_subscribed, actions);
        }
        for frame in waiting {
            if !self.is_closed() {
                self.on_waiting_frame(now, &frame, actions);
            }
        }
    }

    pub(super) fn on_drain(&mut self, after_ms: u64, actions: &mut Vec<Action>) {
        if self.version == Version::V2 {
            actions.push(Action::Send(Event::Reconnect { after_ms }));
        }
        self.close(CloseCode::ServiceRestart, actions);
    }

    pub(super) fn on_deadline(&mut self, now: Now, actions: &mut Vec<Action>) {
        let at = now.monotonic;
        let expired = match &mut self.state {
            ConversationState::Unidentified { identify_by } => {
                if *identify_by <= at {
                    return self.close(CloseCode::IdentifyTimedOut, actions);
                }
                false
            }
            ConversationState::Verifying(verifying) => {
                if verifying.identify_by <= at {
                    return self.on_unverifiable(actions);
                }
                false
            }
            ConversationState::Joining(joining) => joining.verified.has_expired(now),
            ConversationState::Ready(verified) => verified.has_expired(now),
            ConversationState::Closed => return,
        };
        if expired {
            return self.close(CloseCode::SessionExpired, actions);
        }
        match self.heartbeat.on_deadline(&self.rules.heartbeat, at) {
            Some(HeartbeatAction::TimedOut) => self.close(CloseCode::HeartbeatTimedOut, actions),
            Some(HeartbeatAction::Beat) => {
                actions.push(Action::Send(Event::Heartbeat { time_ms: now.unix_ms }));
            }
            None => {}
        }
        self.send_due_signals(at, actions);
    }
}

impl Joining {
    /// Splits the channels in Identify into subscribe requests, which are returned, and refusals.
    fn new(
        mut verified: VerifiedSession,
        rules: &Rules,
        verifying: &mut Verifying,
    ) -> (Self, Vec<SubscribeRequest>) {
        let requests = std::mem::take(&mut verifying.requests);
        let waiting = std::mem::take(&mut verifying.waiting);
        let mut subscriptions: Vec<_> = [verified.user_channel().clone(), ChannelName::all()]
            .map(|channel| {
                let request_id = verified.next_request_id();
                SubscribeRequest { channel, history: WantedHistory::Nothing, request_id }
            })
            .into();
        for channel in verified.token_channels().to_vec() {
            if !verified.is_subscribed(&channel) {
                let request_id = verified.subscribe(channel.clone());
                subscriptions.push(SubscribeRequest { channel, history: WantedHistory::Nothing, request_id });
            }
        }
        let mut refusals = Vec::new();
        for IdentifyChannel { channel: name, since, last } in requests {
            let Ok(channel) = ChannelName::parse(&name) else {
                refusals.push(refusal(&name, RefusalReason::BadChannel));
                continue;
            };
            let history = WantedHistory::new(rules, &channel, since, last);
            if let Some(known) = subscriptions.iter_mut().find(|known| known.channel == channel) {
                known.history = known.history.or(history);
            } else {
                if let Err(reason) = verified.may_subscribe(rules, &channel) {
                    refusals.push(refusal(&name, reason));
                    continue;
                }
                let request_id = verified.subscribe(channel.clone());
                subscriptions.push(SubscribeRequest { channel, history, request_id });
            }
        }
        let channels = subscriptions.iter().map(|request| request.channel.clone()).collect();
        (Self { verified, channels, refusals, waiting, changes: Vec::new() }, subscriptions)
    }
}
