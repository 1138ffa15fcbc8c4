//! The conversation with one client, from Hello to Close, as a state machine.
//!
//! Its driver passes it one [`Input`] at a time, performs all the [`Action`]s that it appended before the
//! next input, and calls again with [`Input::DeadlinePassed`] when [`Conversation::next_deadline`] has come.
//! A closed conversation ignores every input.
//!
//! `on_client.rs` handles the frames of the client, `on_system.rs` all other inputs.

mod identified;
mod on_client;
mod on_system;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::identified::Identified;
use super::budget::Budget;
use super::channel::{ChannelName, ChannelPattern};
use super::close::CloseCode;
use super::event::{Event, HelloLimits, SubscriptionState};
use super::heartbeat::{Heartbeat, HeartbeatRules};
use super::position::Position;
use super::{Now, SessionId, Version};

/// The settings shared by all conversations.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How often the gateway sends op 10, and how long a client may be silent.
    pub heartbeat: HeartbeatRules,
    /// How long a client may take to identify.
    pub identify_timeout: Duration,
    /// The longest message that a client may send, in bytes; announced here, enforced by the socket.
    pub max_message_bytes: usize,
    /// How many messages a client may send in a minute; 0 means no limit.
    pub messages_per_minute: u32,
    /// How many channels a session may subscribe to besides its own; 0 means no limit.
    pub max_subscriptions: u32,
    /// Namespaces whose channels anyone may subscribe to.
    pub public_namespaces: Vec<String>,
}

/// The identity that a token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's own channel, `user:<id>`.
    pub user: ChannelName,
    /// When the token expires, in Unix milliseconds.
    pub expires_at_ms: Option<u64>,
    /// The channels that the token allows.
    pub grants: Vec<ChannelPattern>,
}

/// A channel that a session wants to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The channel.
    pub channel: ChannelName,
    /// The position to continue from, if the client names one.
    pub since: Option<ResumePoint>,
    /// Returned with the answer for this channel, so that a late answer is not taken for that of a later request.
    pub request_id: u32,
}

/// The position after which a client wants to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumePoint {
    /// A position in the channel's history.
    Position(Position),
    /// The client sent a text that is not a position: nothing can be recovered.
    Invalid,
}

impl ResumePoint {
    fn parse(text: &str) -> Self {
        Position::parse(text).map_or(Self::Invalid, Self::Position)
    }
}

/// The token does not identify anyone. Deliberately without a reason: the client is told none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotIdentified;

/// Everything that can happen to a session. It has no `Debug`: a text may hold a token.
#[derive(Clone)]
pub enum Input<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary,
    /// A Ping or Pong: it shows that the client is alive, and counts against the budget.
    ControlFrame,
    /// The socket is closed: the peer sent Close, disconnected, or violated the WebSocket protocol. The socket layer has
    /// already answered.
    PeerClosed,
    /// The answer to [`Action::Authenticate`].
    Verified(Result<Identity, NotIdentified>),
    /// Instead of [`Input::Verified`]: a limit of the user or of its address is reached (sessions, or tokens in a
    /// minute). The token may not have been looked at.
    OverLimit,
    /// The hub has the session and its channels: the answer to [`Action::Join`], in the order asked.
    Joined(Vec<SubscriptionState>),
    /// The answer to [`Action::Subscribe`]; also sent when a recovering channel goes live.
    Subscribed {
        /// The channel.
        channel: ChannelName,
        /// The request_id of the request.
        request_id: u32,
        /// Its state.
        state: SubscriptionState,
    },
    /// This replica is draining.
    Drain {
        /// When the client should reconnect, in milliseconds.
        after_ms: u64,
    },
    /// The backend or an operator ends this session.
    Disconnected,
    /// [`Conversation::next_deadline`] has come.
    DeadlinePassed,
}

/// Everything that a session can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this to the client.
    Send(Event),
    /// Check this token and answer with [`Input::Verified`] (or [`Input::OverLimit`]) at once.
    Authenticate(Token),
    /// Register with the hub, subscribed to these channels but not live yet.
    Join {
        /// The user's own channel first, then `all`, then what the client asked for.
        channels: Vec<SubscribeRequest>,
    },
    /// Add a channel, not live yet.
    Subscribe(SubscribeRequest),
    /// Unsubscribe from a channel, then send the answer: no message on the channel may follow the answer.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
        /// The answer to the client.
        answer: Event,
    },
    /// The client has been told of its subscription: deliver held publications, then each new one directly. `None` means
    /// every channel of the Join that is not recovering.
    GoLive(Option<ChannelName>),
    /// Send Close; nothing follows.
    Close(CloseCode),
}

/// A token to verify. Its `Debug` output hides it.
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

/// Each state owns its data, so that there is no user without an identity.
#[derive(Debug)]
enum ConversationState {
    /// Hello is sent; the token is awaited.
    Unidentified { identify_by: Instant },
    /// The token is being checked; the channels in Identify are kept.
    Verifying { identify_by: Instant, requests: Vec<IdentifyChannel> },
    /// Registering with the hub. Frames from the client wait until Ready is sent.
    Joining(Box<Joining>),
    /// Ready is sent.
    Identified(Box<Identified>),
    /// The conversation has ended: inputs are ignored.
    Closed,
}

/// A channel asked for in Identify.
#[derive(Debug)]
struct IdentifyChannel {
    channel: Box<str>,
    since: Option<ResumePoint>,
}

struct Joining {
    identified: Identified,
    /// The channels of the Join, in its order.
    channels: Vec<ChannelName>,
    /// Refusals to send after Ready.
    refusals: Vec<Event>,
    /// Frames that wait for Ready.
    waiting: Vec<Box<str>>,
}

impl std::fmt::Debug for Joining {
    /// Without the frames that wait: a Refresh among them holds a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joining").field("channels", &self.channels).finish_non_exhaustive()
    }
}

impl Conversation {
    /// Starts a conversation: appends Hello. `jitter`, from 0 to 1, delays the first heartbeat by
    /// that part of the interval, so that sessions that began together do not beat together.
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
            Input::OverLimit => self.on_over_limit(actions),
            Input::Joined(positions) => self.on_joined(now, positions, actions),
            Input::Subscribed { channel, request_id, state } => {
                self.on_subscribed(channel, request_id, state, actions)
            }
            Input::Drain { after_ms } => self.on_drain(after_ms, actions),
            Input::Disconnected => self.close(CloseCode::Disconnected, actions),
            Input::DeadlinePassed => self.on_deadline(now, actions),
        }
    }

    /// When [`Input::DeadlinePassed`] is due; `None` once closed. Every input may change it, so ask again
    /// after each input. An early `DeadlinePassed` does nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            ConversationState::Unidentified { identify_by }
            | ConversationState::Verifying { identify_by, .. } => Some(*identify_by),
            ConversationState::Joining(joining) => joining.identified.expiry_check(),
            ConversationState::Identified(identified) => identified.expiry_check(),
            ConversationState::Closed => return None,
        };
        let heartbeat = self.heartbeat.next_deadline(&self.rules.heartbeat);
        Some(state.map_or(heartbeat, |state| state.min(heartbeat)))
    }

    /// Whether [`Input::DeadlinePassed`] would close the session now. Pending data of the client must be read before:
    /// it may have arrived in time, and the deadline may be noticed late.
    pub fn would_close(&self, now: Now) -> bool {
        let is_over = match &self.state {
            ConversationState::Unidentified { identify_by }
            | ConversationState::Verifying { identify_by, .. } => *identify_by <= now.monotonic,
            ConversationState::Joining(joining) => joining.identified.would_expire(now),
            ConversationState::Identified(identified) => identified.would_expire(now),
            ConversationState::Closed => return false,
        };
        is_over || self.heartbeat.is_timed_out(&self.rules.heartbeat, now.monotonic)
    }

    /// Whether the conversation is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, ConversationState::Closed)
    }

    /// Whether Ready has been sent (and nothing has been closed since).
    #[cfg(test)]
    pub(crate) fn is_identified(&self) -> bool {
        matches!(self.state, ConversationState::Identified(_))
    }

    /// The protocol version that the session speaks.
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
