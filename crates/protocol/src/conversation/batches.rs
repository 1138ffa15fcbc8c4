//! Subscribe and Unsubscribe, and their answers. A batch, which names a list of channels, is answered by one list.

use std::borrow::Cow;

use super::verified::VerifiedSession;
use super::{
    Action, ChannelAnswer, Conversation, ConversationState, ResumePoint, Rules, SubscribeRequest,
    WantedHistory,
};
use crate::Version;
use crate::channel::ChannelName;
use crate::close::CloseCode;
use crate::command::ChannelRequest;
use crate::event::{ChannelOutcome, Event, RefusalReason, SoftError, SubscriptionOutcome, SubscriptionState};

/// The maximum number of batches of one session without an answer. They keep the names of their channels, and are
/// answered within `broker.response_timeout`, so a client has no reason to send more. A batch of one channel is not
/// counted: it takes as much as a Subscribe of one channel, and a client may send one for each room that a user opens.
const MAX_OPEN_BATCHES: usize = 16;

/// A Subscribe of many channels that is not answered.
#[derive(Debug)]
pub(super) struct OpenBatch {
    /// The channels in the order of the request, except those that the session has left since.
    entries: Vec<BatchEntry>,
    /// Whether the request named several channels.
    is_counted: bool,
}

#[derive(Debug)]
struct BatchEntry {
    /// The name as the client sent it.
    name: Box<str>,
    /// The channel and the id of its request to the hub; `None` if the channel is refused without asking the hub.
    request: Option<(ChannelName, u32)>,
    /// `None` until the hub has answered.
    outcome: Option<SubscriptionOutcome>,
}

impl OpenBatch {
    /// Notes the hub's answer. Returns `false` if the batch has no such request.
    fn resolve(&mut self, request_id: u32, state: SubscriptionState) -> bool {
        let asked = |entry: &&mut BatchEntry| entry.request.as_ref().is_some_and(|(_, id)| *id == request_id);
        let Some(entry) = self.entries.iter_mut().find(asked) else { return false };
        entry.outcome = Some(SubscriptionOutcome::Subscribed(state));
        true
    }

    /// Removes a channel that the session has left before the answer.
    pub(super) fn remove(&mut self, channel: &ChannelName) {
        self.entries.retain(|entry| entry.request.as_ref().is_none_or(|(asked, _)| asked != channel));
    }

    fn is_complete(&self) -> bool {
        self.entries.iter().all(|entry| entry.outcome.is_some())
    }
}

impl Conversation {
    pub(super) fn on_subscribe(
        &mut self,
        requests: &[ChannelRequest<'_>],
        is_batch: bool,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        if !is_batch {
            for request in requests {
                actions.push(match verified.request(&self.rules, request) {
                    Ok(wanted) => Action::Subscribe(vec![wanted]),
                    Err(reason) => Action::Send(answer_alone(ChannelOutcome {
                        channel: request.channel.as_ref().into(),
                        outcome: SubscriptionOutcome::Refused(reason),
                    })),
                });
            }
            return;
        }
        let open = verified.on_demand_mut().batches.iter().filter(|batch| batch.is_counted).count();
        let is_counted = requests.len() > 1;
        if is_counted && open == MAX_OPEN_BATCHES {
            return self.close(CloseCode::RateLimited, actions);
        }
        let mut wanted = Vec::new();
        let mut entries = Vec::with_capacity(requests.len());
        for request in requests {
            let name = request.channel.as_ref().into();
            entries.push(match verified.request(&self.rules, request) {
                Ok(request) => {
                    let asked = (request.channel.clone(), request.request_id);
                    wanted.push(request);
                    BatchEntry { name, request: Some(asked), outcome: None }
                }
                Err(reason) => {
                    let outcome = Some(SubscriptionOutcome::Refused(reason));
                    BatchEntry { name, request: None, outcome }
                }
            });
        }
        verified.on_demand_mut().batches.push(OpenBatch { entries, is_counted });
        if wanted.is_empty() {
            return answer_batches(verified, actions);
        }
        actions.push(Action::Subscribe(wanted));
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        names: &[Cow<'_, str>],
        is_batch: bool,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let mut left = Vec::new();
        let mut outcomes = Vec::with_capacity(names.len());
        for name in names {
            let outcome = match ChannelName::parse(name) {
                Err(_) => SubscriptionOutcome::Refused(RefusalReason::BadChannel),
                Ok(channel) if verified.is_own(&channel) => {
                    SubscriptionOutcome::Refused(RefusalReason::OwnChannel)
                }
                Ok(channel) => {
                    // If the session is not subscribed, the requested state is reached.
                    left.extend(verified.unsubscribe(&channel).then_some(channel));
                    SubscriptionOutcome::Unsubscribed { reason: None }
                }
            };
            outcomes.push(ChannelOutcome { channel: name.as_ref().into(), outcome });
        }
        let answer = match outcomes.pop() {
            Some(only) if !is_batch => answer_alone(only),
            last => Event::Subscriptions(outcomes.into_iter().chain(last).collect()),
        };
        actions.push(match left.is_empty() {
            true => Action::Send(answer),
            false => Action::Unsubscribe { channels: left, answer: Some(answer) },
        });
        answer_batches(verified, actions);
    }

    /// Handles the hub's answer to a Subscribe. Answers of a batch are passed on together.
    pub(super) fn on_subscribed(&mut self, answers: Vec<ChannelAnswer>, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        for ChannelAnswer { channel, request_id, state } in answers {
            // The client may have unsubscribed before this answer arrived.
            if !verified.awaits(&channel, request_id) || verified.resolve_batch(request_id, state) {
                continue;
            }
            if self.version == Version::V2 {
                actions.push(Action::Send(Event::Subscription {
                    channel: channel.as_str().into(),
                    outcome: SubscriptionOutcome::Subscribed(state),
                }));
            }
            apply_state(verified, channel, state, actions);
        }
        answer_batches(verified, actions);
    }
}

impl VerifiedSession {
    /// Notes a subscription that a client asks for. Returns the request to the hub, or why it is refused.
    fn request(
        &mut self,
        rules: &Rules,
        request: &ChannelRequest<'_>,
    ) -> Result<SubscribeRequest, RefusalReason> {
        let channel = ChannelName::parse(&request.channel).map_err(|_| RefusalReason::BadChannel)?;
        if self.is_subscribed(&channel) {
            return Err(RefusalReason::AlreadySubscribed);
        }
        self.may_subscribe(rules, &channel)?;
        let request_id = self.subscribe(channel.clone());
        let since = request.since.as_deref().map(ResumePoint::parse);
        let history = WantedHistory::new(rules, &channel, since, request.last);
        Ok(SubscribeRequest { channel, history, request_id })
    }

    /// Notes the hub's answer if it belongs to a batch that is not answered. Returns whether it does.
    fn resolve_batch(&mut self, request_id: u32, state: SubscriptionState) -> bool {
        let batches = self.on_demand.iter_mut().flat_map(|on_demand| &mut on_demand.batches);
        batches.into_iter().any(|batch| batch.resolve(request_id, state))
    }

    /// Removes the first batch that the hub has answered.
    fn take_complete_batch(&mut self) -> Option<OpenBatch> {
        let batches = &mut self.on_demand.as_mut()?.batches;
        let index = batches.iter().position(OpenBatch::is_complete)?;
        Some(batches.remove(index))
    }
}

/// Answers the batches in which no channel waits for the hub.
pub(super) fn answer_batches(verified: &mut VerifiedSession, actions: &mut Vec<Action>) {
    while let Some(OpenBatch { entries, .. }) = verified.take_complete_batch() {
        let mut states = Vec::new();
        let mut outcomes = Vec::with_capacity(entries.len());
        for BatchEntry { name, request, outcome } in entries {
            let Some(outcome) = outcome else { continue };
            if let (Some((channel, _)), SubscriptionOutcome::Subscribed(state)) = (request, &outcome) {
                states.push((channel, *state));
            }
            outcomes.push(ChannelOutcome { channel: name, outcome });
        }
        if !outcomes.is_empty() {
            actions.push(Action::Send(Event::Subscriptions(outcomes)));
        }
        for (channel, state) in states {
            apply_state(verified, channel, state, actions);
        }
    }
}

/// Applies the hub's answer for one channel, after the client has it.
fn apply_state(
    verified: &mut VerifiedSession,
    channel: ChannelName,
    state: SubscriptionState,
    actions: &mut Vec<Action>,
) {
    match state {
        SubscriptionState::Live { .. } => {
            verified.mark_live(&channel);
            actions.push(Action::GoLive(Some(channel)));
        }
        SubscriptionState::Recovering { .. } => {}
        SubscriptionState::Refused => drop(verified.unsubscribe(&channel)),
    }
}

/// The answer to a request for one channel. Two of the refusals are errors.
fn answer_alone(ChannelOutcome { channel, outcome }: ChannelOutcome) -> Event {
    match outcome {
        SubscriptionOutcome::Refused(RefusalReason::AlreadySubscribed) => {
            Event::Error(SoftError::AlreadySubscribed)
        }
        SubscriptionOutcome::Refused(RefusalReason::OwnChannel) => Event::Error(SoftError::OwnChannel),
        outcome => Event::Subscription { channel, outcome },
    }
}

pub(super) fn refusal(channel: &str, reason: RefusalReason) -> Event {
    Event::Subscription { channel: channel.into(), outcome: SubscriptionOutcome::Refused(reason) }
}
