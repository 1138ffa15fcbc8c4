//! Performs the actions of a conversation, for the actor and for the simulation.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::hub::messages::{HubInput, SessionEvent};
use protocol::client_message::ClientMessage;
use protocol::close::CloseCode;
use protocol::conversation::{Action, Conversation, Input, Token};
use protocol::history_page::HistoryQuery;
use protocol::members::MembersRequest;
use protocol::{Encoding, Now, Variant};

/// The outputs of a session: its client, the hub, the verification of tokens, and reads.
pub(crate) trait SessionPorts {
    /// What the client's frames are.
    fn encoding(&self) -> Encoding {
        Encoding::Plain
    }
    /// Sends a prepared frame to the client.
    fn send(&mut self, frame: Bytes);
    /// Sends Close as the last frame.
    fn close(&mut self, code: CloseCode);
    /// Sends Close as the last frame, with a reason of at most 123 bytes.
    fn close_with(&mut self, code: CloseCode, reason: &str);
    /// Sends an input to the hub.
    fn send_to_hub(&mut self, input: HubInput);
    /// Verifies a token. Returns the answer if it is known at once; otherwise it is an input later.
    fn authenticate(&mut self, token: &Token) -> Option<Input<'static>>;
    /// Reads a page of members. Returns the answer if it is known at once; otherwise it is an input later.
    fn read_members(&mut self, request: MembersRequest) -> Option<Input<'static>>;
    /// Puts a message into the inbox of the backend, after the earlier ones of the session. Returns the answer if it is
    /// known at once; otherwise it is an input later.
    fn send_message(&mut self, message: ClientMessage) -> Option<Input<'static>>;
    /// Reads a page of a history. Returns the answer if it is known at once; otherwise it is an input later.
    fn read_history(&mut self, query: HistoryQuery) -> Option<Input<'static>>;
}

/// Passes an input to a conversation and performs the resulting actions. An answer to an action is the next input.
pub(crate) fn drive(
    conversation: &mut Conversation,
    now: Now,
    input: Input<'_>,
    ports: &mut impl SessionPorts,
) {
    let mut actions = Vec::new();
    conversation.handle(now, input, &mut actions);
    let mut answers = VecDeque::new();
    loop {
        for action in actions.drain(..) {
            answers.extend(perform(conversation, action, ports));
        }
        let Some(answer) = answers.pop_front() else { break };
        conversation.handle(now, answer, &mut actions);
    }
}

/// Performs one action. Returns its answer, if it has one.
pub(crate) fn perform(
    conversation: &Conversation,
    action: Action,
    ports: &mut impl SessionPorts,
) -> Option<Input<'static>> {
    let session = conversation.session();
    let variant = Variant { version: conversation.version(), encoding: ports.encoding() };
    match action {
        Action::Send(event) => ports.send(event.to_frame(variant)),
        Action::Close(code) => ports.close(code),
        Action::CloseWith(code, reason) => ports.close_with(code, &reason),
        Action::Authenticate(token) => return ports.authenticate(&token),
        Action::Join { channels } => ports.send_to_hub(HubInput::Join { session, channels }),
        Action::Subscribe(channels) => ports.send_to_hub(HubInput::Subscribe { session, channels }),
        Action::Unsubscribe { channels, answer } => {
            let answer = answer.map(|answer| answer.to_frame(variant));
            ports.send_to_hub(HubInput::Unsubscribe { session, channels, answer });
        }
        Action::ReadMembers(request) => return ports.read_members(request),
        Action::SendMessage(message) => return ports.send_message(message),
        Action::Signal(signal) => ports.send_to_hub(HubInput::Signal { session, signal }),
        Action::ReadHistory(query) => return ports.read_history(query),
        Action::GoLive(channel) => ports.send_to_hub(HubInput::GoLive { session, channel }),
    }
    None
}

impl From<SessionEvent> for Input<'static> {
    fn from(event: SessionEvent) -> Self {
        match event {
            SessionEvent::Joined(states) => Self::Joined(states),
            SessionEvent::Subscribed(answers) => Self::Subscribed(answers),
            SessionEvent::Drain { after_ms } => Self::Drain { after_ms },
            SessionEvent::Disconnect(reason) => Self::Disconnected(reason),
            SessionEvent::TokenRevoked => Self::TokenRevoked,
            SessionEvent::SetSubscription { channel, is_subscribed } => {
                Self::SetSubscription { channel, is_subscribed }
            }
        }
    }
}
