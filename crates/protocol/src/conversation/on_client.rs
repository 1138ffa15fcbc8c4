//! Inputs from the client.

use std::time::Duration;

use super::{
    Action, Conversation, ConversationState, IdentifyChannel, Input, ResumePoint, SubscribeRequest, Token,
    Verifying,
};
use crate::Now;
use crate::channel::ChannelName;
use crate::close::CloseCode;
use crate::command::{ChannelRequest, Command, MAX_IDENTIFY_CHANNELS};
use crate::event::{Event, RefusalReason, SoftError, SubscriptionOutcome};

/// The maximum number of frames that wait for Ready. The wait includes the verification of the token and reads of
/// histories, but lasts at most until the identify timeout and then for `broker.response_timeout`, so a client has no
/// reason to send more.
const MAX_WAITING_FRAMES: usize = 16;
/// The period of `messages_per_minute`.
const MINUTE: Duration = Duration::from_secs(60);

impl Conversation {
    /// Handles a frame. Every frame resets the heartbeat timeout and counts against the budget.
    pub(super) fn on_client(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        self.heartbeat.on_frame(now.monotonic);
        if !self.budget.try_acquire(self.rules.messages_per_minute, MINUTE, now.monotonic) {
            return self.close(CloseCode::RateLimited, actions);
        }
        match input {
            Input::Text(text) => self.on_text(text, actions),
            Input::Binary => self.close(CloseCode::UnsupportedData, actions),
            _ => {}
        }
    }

    pub(super) fn on_text(&mut self, text: &str, actions: &mut Vec<Action>) {
        let max_channels = match self.rules.max_subscriptions {
            0 => usize::MAX,
            max => MAX_IDENTIFY_CHANNELS.max(max as usize),
        };
        let Ok(command) = Command::parse_within(self.version, text, max_channels) else {
            return self.close(CloseCode::Malformed, actions);
        };
        match command {
            Command::Heartbeat { time } => {
                actions.push(Action::Send(Event::HeartbeatAck { time: time.map(Into::into) }));
            }
            Command::HeartbeatAck => {}
            Command::Identify { token, channels } => self.on_identify(token.into_owned(), channels, actions),
            _ if !self.require_identified(text, actions) => {}
            Command::Subscribe(request) => self.on_subscribe(&request, actions),
            Command::Unsubscribe { channel } => self.on_unsubscribe(&channel, actions),
            Command::Refresh { token } => self.on_refresh(Token(token.into_owned()), actions),
            Command::Members(command) => self.on_members_command(command, actions),
        }
    }

    fn on_identify(&mut self, token: String, channels: Vec<ChannelRequest<'_>>, actions: &mut Vec<Action>) {
        let ConversationState::Unidentified { identify_by } = self.state else {
            return self.close(CloseCode::AlreadyIdentified, actions);
        };
        let requests = channels
            .into_iter()
            .map(|request| IdentifyChannel {
                since: request.since.as_deref().map(ResumePoint::parse),
                channel: request.channel.into(),
            })
            .collect();
        let verifying = Verifying { identify_by, requests, waiting: Vec::new() };
        self.state = ConversationState::Verifying(Box::new(verifying));
        actions.push(Action::Authenticate(Token(token)));
    }

    /// Whether to handle an op that needs an identity now. Before Identify, the op closes the session; until Ready is
    /// sent, it waits.
    fn require_identified(&mut self, text: &str, actions: &mut Vec<Action>) -> bool {
        let waiting = match &mut self.state {
            ConversationState::Ready(_) => return true,
            ConversationState::Verifying(verifying) => &mut verifying.waiting,
            ConversationState::Joining(joining) => &mut joining.waiting,
            ConversationState::Unidentified { .. } | ConversationState::Closed => {
                self.close(CloseCode::NotIdentified, actions);
                return false;
            }
        };
        if waiting.len() < MAX_WAITING_FRAMES {
            waiting.push(text.into());
        } else {
            self.close(CloseCode::RateLimited, actions);
        }
        false
    }

    fn on_subscribe(&mut self, request: &ChannelRequest<'_>, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let Ok(channel) = ChannelName::parse(&request.channel) else {
            return actions.push(refused(&request.channel, RefusalReason::BadChannel));
        };
        if verified.is_subscribed(&channel) {
            return actions.push(Action::Send(Event::Error(SoftError::AlreadySubscribed)));
        }
        match verified.may_subscribe(&self.rules, &channel) {
            Err(reason) => actions.push(refused(&request.channel, reason)),
            Ok(()) => {
                let request_id = verified.subscribe(channel.clone());
                let since = request.since.as_deref().map(ResumePoint::parse);
                actions.push(Action::Subscribe(SubscribeRequest { channel, since, request_id }));
            }
        }
    }

    fn on_unsubscribe(&mut self, name: &str, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let Ok(channel) = ChannelName::parse(name) else {
            return actions.push(refused(name, RefusalReason::BadChannel));
        };
        if verified.is_own(&channel) {
            return actions.push(Action::Send(Event::Error(SoftError::OwnChannel)));
        }
        let answer = Event::Subscription {
            channel: name.into(),
            outcome: SubscriptionOutcome::Unsubscribed { reason: None },
        };
        actions.push(if verified.unsubscribe(&channel) {
            Action::Unsubscribe { channel, answer: Some(answer) }
        } else {
            // The session is not subscribed, so the requested state is reached.
            Action::Send(answer)
        });
    }
}

pub(super) fn refused(channel: &str, reason: RefusalReason) -> Action {
    Action::Send(refusal(channel, reason))
}

pub(super) fn refusal(channel: &str, reason: RefusalReason) -> Event {
    Event::Subscription { channel: channel.into(), outcome: SubscriptionOutcome::Refused(reason) }
}
