//! What the driver passes to a conversation, and what it performs for it.

use std::sync::Arc;

use super::{ChannelAnswer, Identity, SubscribeRequest};
use crate::channel::ChannelName;
use crate::client_message::{ClientMessage, SendError};
use crate::close::CloseCode;
use crate::event::{Event, SubscriptionState};
use crate::history_page::{HistoryPage, HistoryQuery};
use crate::members::{MembersPage, MembersRequest};
use crate::page_error::PageError;
use crate::signal::ClientSignal;

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
    /// The answer to [`Action::Subscribe`], for all its channels; also sent when a recovering channel goes live, for
    /// that channel alone.
    Subscribed(Vec<ChannelAnswer>),
    /// The answer to [`Action::ReadMembers`].
    Members {
        /// The id of the request.
        id: Box<str>,
        /// The channel of the request.
        channel: ChannelName,
        /// A page of members, or why there is none.
        outcome: Result<MembersPage, PageError>,
    },
    /// The answer to [`Action::SendMessage`].
    Sent {
        /// The id of the message.
        id: Box<str>,
        /// Whether the inbox has the message, or why it is not known to have it.
        outcome: Result<(), SendError>,
    },
    /// The answer to [`Action::ReadHistory`].
    History {
        /// The id of the request.
        id: Box<str>,
        /// The channel of the request.
        channel: ChannelName,
        /// A page of the history, or why there is none.
        outcome: Result<HistoryPage, PageError>,
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
    /// The time of [`Conversation::next_deadline`](super::Conversation::next_deadline) has passed.
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
    /// Subscribe to channels, and pass one [`Input::Subscribed`] for all of them. Each goes live with
    /// [`Action::GoLive`].
    Subscribe(Vec<SubscribeRequest>),
    /// Unsubscribe from channels, then send the answer: no message of the channels may follow the answer.
    Unsubscribe {
        /// Channels that the session is subscribed to; at least one.
        channels: Vec<ChannelName>,
        /// The event to send afterwards; `None` if the client does not know of subscriptions.
        answer: Option<Event>,
    },
    /// The event about the subscription is sent: deliver the held publications, then each new one directly. `None`
    /// means all channels of the Join that Ready reported as live; those that are recovering follow one by one.
    GoLive(Option<ChannelName>),
    /// Read a page of members, and pass [`Input::Members`], at once or later.
    ReadMembers(MembersRequest),
    /// Put the message into the inbox of the backend, and pass [`Input::Sent`], at once or later. The messages of one
    /// session keep their order.
    SendMessage(ClientMessage),
    /// Send the signal to the other sessions of the channel. There is no answer.
    Signal(ClientSignal),
    /// Read a page of a history, and pass [`Input::History`], at once or later.
    ReadHistory(HistoryQuery),
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
