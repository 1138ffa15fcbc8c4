//! The conversation with one client, from Hello to Close, as a state machine.
//!
//! The driver passes one [`Input`] at a time and performs all appended [`Action`]s before the next input. At
//! [`Conversation::next_deadline`] it passes [`Input::DeadlinePassed`]. A closed conversation ignores every input.
//!
//! - `verified.rs`: the state of a session after its token is accepted.
//! - `on_client.rs`: frames from the client.
//! - `batches.rs`: Subscribe and Unsubscribe, of one channel or many.
//! - `wanted_history.rs`: what a subscription wants from the history of its channel.
//! - `driver.rs`: the inputs and actions.
//! - `pages.rs`: requests for pages of the members and of the history of a channel.
//! - `sends.rs`: messages for the backend.
//! - `signals.rs`: signals for the other sessions of a channel.
//! - `on_demand.rs`: state that few sessions have.
//! - `refresh.rs`: newer tokens of a session, and tokens that cannot be verified.
//! - `by_server.rs`: what the backend decides: subscriptions, disconnects, revocations.
//! - `on_system.rs`: all other inputs.

mod batches;
mod by_server;
mod driver;
mod on_client;
mod on_demand;
mod on_system;
mod pages;
mod refresh;
mod sends;
mod signals;
mod verified;
mod wanted_history;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::driver::{Action, Input, NotIdentified, Token};
pub use self::pages::MAX_OPEN_REQUESTS;
pub use self::sends::MAX_OPEN_SENDS;
use self::verified::VerifiedSession;
pub use self::wanted_history::{ResumePoint, WantedHistory};
use super::budget::Budget;
use super::channel::{ChannelName, ChannelPattern};
use super::close::CloseCode;
use super::event::{Event, HelloLimits, SubscriptionState};
use super::heartbeat::{Heartbeat, HeartbeatRules};
use super::namespace_rules::NamespaceRules;
use super::{Now, SessionId, Version};

/// The settings shared by all conversations.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The interval of op 10, and the timeout of a silent client.
    pub heartbeat: HeartbeatRules,
    /// The time within which a client must identify.
    pub identify_timeout: Duration,
    /// The maximum length of a message from the client, in bytes. Hello announces it; the socket enforces it.
    pub max_message_bytes: usize,
    /// The maximum number of messages from a client per minute; 0 means no limit.
    pub messages_per_minute: u32,
    /// The maximum number of subscriptions of a session in addition to its own channels; 0 means no limit.
    pub max_subscriptions: u32,
    /// The maximum number of channels in one Identify, Subscribe or Unsubscribe.
    pub max_listed_channels: usize,
    /// The maximum number of messages for the backend per minute; 0 means no limit. Beyond it, a message counts against
    /// `messages_per_minute` and is refused.
    pub sends_per_minute: u32,
    /// The maximum number of signals per minute; 0 means no limit. Beyond it, a signal counts against
    /// `messages_per_minute` and is dropped.
    pub signals_per_minute: u32,
    /// The minimum time between two signals of a session on one channel.
    pub signal_interval: Duration,
    /// The maximum length of a message for the backend, in bytes.
    pub max_send_bytes: usize,
    /// What sessions may do on the channels of each namespace.
    pub namespaces: NamespaceRules,
}

/// The verified content of a token, as the conversation needs it: channels and patterns are parsed. The session layer
/// makes it from the text in the token, which the gateway's `auth` module calls a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's own channel, `user:<id>`.
    pub user: ChannelName,
    /// When the token expires, in Unix milliseconds; `None` if never.
    pub expires_at_ms: Option<u64>,
    /// The channels that the token allows, in addition to the session's own and the public ones.
    pub grants: Vec<ChannelPattern>,
    /// The channels that Identify subscribes the session to, in addition to its own. The token also allows them.
    pub subscribe: Vec<ChannelName>,
}

/// A request to the hub to subscribe the session to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The channel; the session is not subscribed to it yet.
    pub channel: ChannelName,
    /// The messages of the history to deliver first.
    pub history: WantedHistory,
    /// Returned with the answer, so that a late answer is not mistaken for the answer to a later request.
    pub request_id: u32,
}

/// The hub's answer for one channel of a [`SubscribeRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelAnswer {
    /// The channel of the request.
    pub channel: ChannelName,
    /// The id of the request.
    pub request_id: u32,
    /// The state of the subscription.
    pub state: SubscriptionState,
}

/// The state of one session's conversation.
#[derive(Debug)]
pub struct Conversation {
    rules: Arc<Rules>,
    version: Version,
    session: SessionId,
    state: ConversationState,
    heartbeat: Heartbeat,
    budget: Budget,
}

/// Each state owns its data, so a user exists only after the token is accepted.
#[derive(Debug)]
enum ConversationState {
    /// Hello is sent. The session waits for Identify.
    Unidentified { identify_by: Instant },
    /// The token is being verified. Frames that need Ready wait.
    Verifying(Box<Verifying>),
    /// The session registers with the hub. Frames that need Ready wait.
    Joining(Box<Joining>),
    /// Ready is sent.
    Ready(Box<VerifiedSession>),
    /// The conversation is over. Inputs are ignored.
    Closed,
}

/// A channel in Identify, not yet validated.
#[derive(Debug)]
struct IdentifyChannel {
    channel: Box<str>,
    since: Option<ResumePoint>,
    last: Option<u32>,
}

/// A frame that waits for Ready. It has counted against its budget.
struct WaitingFrame {
    text: Box<str>,
    /// Whether the budget of its own op was used up.
    is_over_budget: bool,
}

struct Verifying {
    identify_by: Instant,
    /// The channels in Identify.
    requests: Vec<IdentifyChannel>,
    /// Frames that wait for Ready, in order.
    waiting: Vec<WaitingFrame>,
}

impl std::fmt::Debug for Verifying {
    /// Omits the waiting frames, because a Refresh contains a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifying").field("requests", &self.requests).finish_non_exhaustive()
    }
}

struct Joining {
    verified: VerifiedSession,
    /// The channels of the Join, in the order of the request.
    channels: Vec<ChannelName>,
    /// Refusals to send after Ready.
    refusals: Vec<Event>,
    /// Frames that wait for Ready, in order.
    waiting: Vec<WaitingFrame>,
    /// The backend's changes of subscriptions that wait for Ready, each channel once.
    changes: Vec<(ChannelName, bool)>,
}

impl std::fmt::Debug for Joining {
    /// Omits the waiting frames, because a Refresh contains a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joining").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Conversation {
    /// Starts a conversation: appends Hello. `jitter`, from 0 to 1, delays the first heartbeat by that fraction of the
    /// interval, so that sessions that start together do not beat together.
    pub fn open(
        rules: Arc<Rules>,
        version: Version,
        session: SessionId,
        jitter: f64,
        now: Now,
        actions: &mut Vec<Action>,
    ) -> Self {
        actions.push(Action::Send(Event::Hello {
            heartbeat_interval_ms: rules.heartbeat.interval.as_millis() as u64,
            session,
            limits: HelloLimits {
                identify_timeout_ms: rules.identify_timeout.as_millis() as u64,
                message_bytes: rules.max_message_bytes,
                messages_per_minute: rules.messages_per_minute,
                subscriptions: rules.max_subscriptions,
            },
        }));
        Self {
            version,
            session,
            state: ConversationState::Unidentified { identify_by: now.monotonic + rules.identify_timeout },
            heartbeat: Heartbeat::start(&rules.heartbeat, jitter, now.monotonic),
            budget: Budget::default(),
            rules,
        }
    }

    /// Handles one input and appends the resulting actions. Perform all of them before the next input.
    pub fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        if self.is_closed() {
            return;
        }
        match input {
            Input::Text(_) | Input::Binary | Input::ControlFrame => self.on_client(now, input, actions),
            Input::PeerClosed => self.state = ConversationState::Closed,
            Input::Verified(result) => self.on_verified(now, result, actions),
            Input::Unverifiable => self.on_unverifiable(actions),
            Input::OverLimit => self.on_over_limit(actions),
            Input::Joined(states) => self.on_joined(now, states, actions),
            Input::Subscribed(answers) => self.on_subscribed(answers, actions),
            Input::Members { id, channel, outcome } => self.on_members(id, channel, outcome, actions),
            Input::Sent { id, outcome } => self.on_sent(id, outcome, actions),
            Input::History { id, channel, outcome } => self.on_history(id, channel, outcome, actions),
            Input::Drain { after_ms } => self.on_drain(after_ms, actions),
            Input::Disconnected(reason) => self.on_disconnected(reason, actions),
            Input::TokenRevoked => self.on_token_revoked(actions),
            Input::RevocationsUnknown => self.on_revocations_unknown(actions),
            Input::SetSubscription { channel, is_subscribed } => {
                self.on_set_subscription(channel, is_subscribed, actions)
            }
            Input::DeadlinePassed => self.on_deadline(now, actions),
        }
    }

    /// When to pass [`Input::DeadlinePassed`]; `None` once closed. Each input may change the deadline. An early
    /// `DeadlinePassed` does nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            ConversationState::Unidentified { identify_by } => Some(*identify_by),
            ConversationState::Verifying(verifying) => Some(verifying.identify_by),
            ConversationState::Joining(joining) => joining.verified.expiry_check(),
            ConversationState::Ready(verified) => {
                verified.expiry_check().into_iter().chain(verified.signal_deadline()).min()
            }
            ConversationState::Closed => return None,
        };
        let heartbeat = self.heartbeat.next_deadline(&self.rules.heartbeat);
        Some(state.map_or(heartbeat, |state| state.min(heartbeat)))
    }

    /// Whether [`Input::DeadlinePassed`] would close the session now. If so, the driver first reads the pending data of
    /// the client, which may have arrived before the deadline.
    pub fn would_close(&self, now: Now) -> bool {
        let is_expired = match &self.state {
            ConversationState::Unidentified { identify_by } => *identify_by <= now.monotonic,
            ConversationState::Verifying(verifying) => verifying.identify_by <= now.monotonic,
            ConversationState::Joining(joining) => joining.verified.would_expire(now),
            ConversationState::Ready(verified) => verified.would_expire(now),
            ConversationState::Closed => return false,
        };
        is_expired || self.heartbeat.is_timed_out(&self.rules.heartbeat, now.monotonic)
    }

    /// Whether the conversation is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, ConversationState::Closed)
    }

    /// Whether Ready is sent and the conversation is open.
    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, ConversationState::Ready(_))
    }

    /// The protocol version of the session.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    fn close(&mut self, code: CloseCode, actions: &mut Vec<Action>) {
        self.state = ConversationState::Closed;
        actions.push(Action::Close(code));
    }

    fn close_with(&mut self, code: CloseCode, reason: Arc<str>, actions: &mut Vec<Action>) {
        self.state = ConversationState::Closed;
        actions.push(Action::CloseWith(code, reason));
    }
}
