//! The conversation with one client, from Hello to Close, as a state machine.
//!
//! The driver passes one [`Input`] at a time and performs all appended [`Action`]s before the next input. At
//! [`Conversation::next_deadline`] it passes [`Input::DeadlinePassed`]. A closed conversation ignores every input.
//!
//! - `verified.rs`: the state of a session after its token is accepted.
//! - `on_client.rs`: frames from the client.
//! - `members.rs`: requests for the members of a channel.
//! - `refresh.rs`: newer tokens of a session, and tokens that cannot be verified.
//! - `by_server.rs`: what the backend decides: subscriptions, disconnects, revocations.
//! - `on_system.rs`: all other inputs.

mod by_server;
mod members;
mod on_client;
mod on_system;
mod refresh;
mod verified;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::members::MAX_OPEN_MEMBERS_REQUESTS;
use self::verified::VerifiedSession;
use super::budget::Budget;
use super::channel::{ChannelName, ChannelPattern};
use super::close::CloseCode;
use super::event::{Event, HelloLimits, SubscriptionState};
use super::heartbeat::{Heartbeat, HeartbeatRules};
use super::members::{MembersError, MembersPage, MembersRequest};
use super::position::Position;
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
    /// The namespaces whose channels every session may subscribe to.
    pub public_namespaces: Vec<String>,
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
}

/// A request to the hub to subscribe the session to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The channel; the session is not subscribed to it yet.
    pub channel: ChannelName,
    /// Where to resume; `None` if the client sent no `since`.
    pub since: Option<ResumePoint>,
    /// Returned with the answer, so that a late answer is not mistaken for the answer to a later request.
    pub request_id: u32,
}

/// The client's `since`: where to resume a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumePoint {
    /// Resume after this position in the channel's history.
    Position(Position),
    /// The text is not a position, so no message can be recovered.
    Invalid,
}

impl ResumePoint {
    fn parse(text: &str) -> Self {
        Position::parse(text).map_or(Self::Invalid, Self::Position)
    }
}

/// The token is not valid. It has no reason, because the client must not see one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotIdentified;

/// An input of the state machine. It has no `Debug`, because a text may contain a token.
#[derive(Clone)]
pub enum Input<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary,
    /// A Ping or Pong. It resets the heartbeat timeout and counts against the budget.
    ControlFrame,
    /// The socket is closed: the peer sent Close, disconnected, or violated the WebSocket protocol. The socket layer
    /// answers, so the conversation sends nothing.
    PeerClosed,
    /// The answer to [`Action::Authenticate`].
    Verified(Result<Identity, NotIdentified>),
    /// Instead of [`Input::Verified`]: the token cannot be verified now. It may be good.
    Unverifiable,
    /// Instead of [`Input::Verified`]: a limit of the user or of its address is reached (sessions, or tokens per
    /// minute). The token may be unverified.
    OverLimit,
    /// The answer to [`Action::Join`]: the states of its channels, in the order of the request.
    Joined(Vec<SubscriptionState>),
    /// The answer to [`Action::Subscribe`]; also sent when a recovering channel goes live.
    Subscribed {
        /// The channel of the request.
        channel: ChannelName,
        /// The id of the request.
        request_id: u32,
        /// The state of the subscription.
        state: SubscriptionState,
    },
    /// The answer to [`Action::ReadMembers`].
    Members {
        /// The id of the request.
        id: Box<str>,
        /// The channel of the request.
        channel: ChannelName,
        /// A page of members, or why there is none.
        outcome: Result<MembersPage, MembersError>,
    },
    /// The replica is draining.
    Drain {
        /// The time after which the client should reconnect, in milliseconds.
        after_ms: u64,
    },
    /// The backend or an operator ended the session, with this reason for the client.
    Disconnected(Option<Arc<str>>),
    /// The token of the session is revoked.
    TokenRevoked,
    /// Instead of [`Input::Verified`]: it is unknown whether the token of an Identify is revoked.
    RevocationsUnknown,
    /// The backend or an operator subscribes the session to a channel, or ends its subscription. The token's grants do
    /// not matter.
    SetSubscription {
        /// The channel.
        channel: ChannelName,
        /// Whether the session is subscribed from now on.
        is_subscribed: bool,
    },
    /// The time of [`Conversation::next_deadline`] has passed.
    DeadlinePassed,
}

/// An action that the driver performs for the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the event to the client.
    Send(Event),
    /// Verify the token, and pass its answer, at once or later: [`Input::Verified`], [`Input::OverLimit`],
    /// [`Input::RevocationsUnknown`] or [`Input::Unverifiable`]. No other token of the session is being verified.
    Authenticate(Token),
    /// Register with the hub and subscribe to the channels. They go live with [`Action::GoLive`].
    Join {
        /// The user's own channel, then `all`, then the requested channels.
        channels: Vec<SubscribeRequest>,
    },
    /// Subscribe to a channel. It goes live with [`Action::GoLive`].
    Subscribe(SubscribeRequest),
    /// Unsubscribe from a channel, then send the answer: no message of the channel may follow the answer.
    Unsubscribe {
        /// A channel that the session is subscribed to.
        channel: ChannelName,
        /// The event to send afterwards; `None` if the client does not know of subscriptions.
        answer: Option<Event>,
    },
    /// The event about the subscription is sent: deliver the held publications, then each new one directly. `None`
    /// means all channels of the Join that Ready reported as live; those that are recovering follow one by one.
    GoLive(Option<ChannelName>),
    /// Read a page of members, and pass [`Input::Members`], at once or later.
    ReadMembers(MembersRequest),
    /// Send Close. It is the last action.
    Close(CloseCode),
    /// Send Close with a reason of its own, of at most 123 bytes. It is the last action.
    CloseWith(CloseCode, Arc<str>),
}

/// A token to verify. The `Debug` output hides its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
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
}

struct Verifying {
    identify_by: Instant,
    /// The channels in Identify.
    requests: Vec<IdentifyChannel>,
    /// Frames that wait for Ready, in order.
    waiting: Vec<Box<str>>,
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
    waiting: Vec<Box<str>>,
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
            Input::Subscribed { channel, request_id, state } => {
                self.on_subscribed(channel, request_id, state, actions)
            }
            Input::Members { id, channel, outcome } => self.on_members(id, channel, outcome, actions),
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
            ConversationState::Ready(verified) => verified.expiry_check(),
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
}
