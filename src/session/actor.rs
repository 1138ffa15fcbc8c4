//! The actor of one WebSocket.
//!
//! The actor turns events into inputs of the [`Conversation`], and the conversation's actions into frames, messages to
//! the hub, and one deadline. All decisions are in the conversation.

use std::rc::Rc;
use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, StreamHandler};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};
use bytes::Bytes;

use super::LOG_TARGET;
use super::authenticate::{Authenticated, Authentication, authenticate, finish_verification};
use super::clock::now;
use super::drive::{SessionPorts, drive};
use super::heartbeat;
use super::history::read_history;
use super::limits::{SessionPermit, UnidentifiedPermit};
use super::members::read_members;
use super::sends::{count, send};
use super::services::Services;
use crate::auth::TokenAnswer;
use crate::broker::InboxSendError;
use crate::hub::control::{AcceptedToken, TokenAccepted};
use crate::hub::messages::{Connect, HubInput};
use crate::hub::session_events;
use crate::socket::SocketEvent;
use crate::socket::outbox::Outbox;
use crate::socket::outbox_registry::{self, OutboxRegistration};
use protocol::client_message::ClientMessage;
use protocol::close::CloseCode;
use protocol::conversation::{Action, Conversation, Input, Token};
use protocol::history_page::HistoryQuery;
use protocol::members::MembersRequest;
use protocol::{Encoding, Now, SessionId, Variant, Version};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    services: Rc<Services>,
    conversation: Conversation,
    outbox: Outbox,
    /// Lets the hub and the thread's timer find the outbox.
    registration: OutboxRegistration,
    permit: SessionPermit,
}

impl Session {
    /// Opens the conversation and sends Hello.
    pub(super) fn open(
        services: Rc<Services>,
        version: Version,
        permit: UnidentifiedPermit,
        outbox: Outbox,
    ) -> Self {
        let session = SessionId(rand::random());
        let jitter = rand::random::<f64>();
        let number = if version == Version::V1 { 1 } else { 2 };
        log::debug!(target: LOG_TARGET, session:%, version = number; "session opened");
        let variant = Variant { version, encoding: outbox.encoding() };
        let mut actions = Vec::new();
        let conversation = Conversation::open(
            Arc::clone(services.rules_of(variant.encoding)),
            version,
            session,
            jitter,
            now(),
            &mut actions,
        );
        for action in actions {
            if let Action::Send(event) = action {
                outbox.push(event.to_frame(variant));
            }
        }
        Self {
            services,
            conversation,
            registration: outbox_registry::register(outbox.clone()),
            outbox,
            permit: SessionPermit::Unidentified(permit),
        }
    }

    /// Passes an input to the conversation and performs the resulting actions.
    fn handle_input(&mut self, input: Input<'_>, context: &mut WebsocketContext<Self>) {
        self.handle_with_token(now(), input, None, context);
    }

    /// The answer of a verification that took time. The session may have ended meanwhile.
    fn handle_verified(&mut self, answer: TokenAnswer, context: &mut WebsocketContext<Self>) {
        if self.conversation.is_closed() {
            return;
        }
        let (session, client) = (self.conversation.session(), self.outbox.client());
        let Authenticated { answer, accepted } =
            finish_verification(&self.services, session, client, &mut self.permit, answer);
        self.handle_with_token(now(), answer, accepted, context);
    }

    /// As [`Session::handle_input`], with what the hub notes of the token in the input.
    fn handle_with_token(
        &mut self,
        now: Now,
        input: Input<'_>,
        accepted: Option<AcceptedToken>,
        context: &mut WebsocketContext<Self>,
    ) {
        let session = self.conversation.session();
        let mut ports = ActorPorts {
            services: &self.services,
            session,
            outbox: &self.outbox,
            permit: &mut self.permit,
            context,
            accepted,
        };
        drive(&mut self.conversation, now, input, &mut ports);
        // After the Join, so that the hub knows the user of the token.
        if let Some(token) = ports.accepted {
            self.services.hub.do_send(TokenAccepted { session, token });
        }
        self.arm_deadline(now);
    }

    /// The message that was being sent has this outcome: answers it and sends the next one.
    fn on_sent(&mut self, outcome: Result<(), InboxSendError>, context: &mut WebsocketContext<Self>) {
        count(&self.services.metrics, &outcome);
        let after = self.services.sends.finish(self.conversation.session(), outcome);
        let Some(after) = after else { return };
        if let Some(next) = after.next {
            spawn_send(&self.services, self.conversation.session(), &self.permit, next, context);
        }
        for (id, outcome) in after.answers {
            self.handle_input(Input::Sent { id, outcome }, context);
        }
    }

    fn arm_deadline(&self, now: Now) {
        heartbeat::arm_deadline(&self.conversation, &self.outbox, self.registration.key(), now);
    }

    fn on_message(&mut self, message: Message, context: &mut WebsocketContext<Self>) {
        match message {
            Message::Text(text) => {
                self.services.metrics.client_messages.inc();
                self.handle_input(Input::Text(&text), context);
            }
            Message::Binary(_) => self.handle_input(Input::Binary, context),
            Message::Ping(_) | Message::Pong(_) => self.handle_input(Input::ControlFrame, context),
            // The socket layer passes whole messages only, and ends the stream itself.
            Message::Continuation(_) | Message::Close(_) | Message::Nop => {
                self.outbox.close(CloseCode::ProtocolError);
            }
        }
    }

    fn on_deadline(&mut self, context: &mut WebsocketContext<Self>) {
        let (now, key) = (now(), self.registration.key());
        if !heartbeat::postpone_deadline(&self.conversation, &self.outbox, key, now) {
            self.handle_with_token(now, Input::DeadlinePassed, None, context);
        }
    }
}

/// The ports of an actor's conversation.
struct ActorPorts<'a> {
    services: &'a Services,
    session: SessionId,
    outbox: &'a Outbox,
    permit: &'a mut SessionPermit,
    context: &'a mut WebsocketContext<Session>,
    /// The token that the session uses from now on.
    accepted: Option<AcceptedToken>,
}

impl SessionPorts for ActorPorts<'_> {
    fn encoding(&self) -> Encoding {
        self.outbox.encoding()
    }

    fn send(&mut self, frame: Bytes) {
        self.outbox.push(frame);
    }

    fn close(&mut self, code: CloseCode) {
        self.outbox.close(code);
    }

    fn close_with(&mut self, code: CloseCode, reason: &str) {
        self.outbox.close_with(code, reason);
    }

    fn send_to_hub(&mut self, input: HubInput) {
        self.services.hub.do_send(input);
    }

    fn authenticate(&mut self, token: &Token) -> Option<Input<'static>> {
        match authenticate(self.services, self.session, self.outbox.client(), self.permit, &token.0) {
            Authentication::Known(Authenticated { answer, accepted }) => {
                // An older token of the session may have been accepted just before.
                self.accepted = accepted.or_else(|| self.accepted.take());
                Some(answer)
            }
            Authentication::Pending(pending) => {
                let answer = wrap_future::<_, Session>(pending);
                self.context
                    .spawn(answer.map(|answer, session, context| session.handle_verified(answer, context)));
                None
            }
        }
    }

    fn read_members(&mut self, request: MembersRequest) -> Option<Input<'static>> {
        let read = wrap_future::<_, Session>(read_members(self.services.broker.clone(), request));
        self.context.spawn(read.map(|answer, session, context| session.handle_input(answer, context)));
        None
    }

    fn send_message(&mut self, message: ClientMessage) -> Option<Input<'static>> {
        if let Some(message) = self.services.sends.push(self.session, message) {
            spawn_send(self.services, self.session, self.permit, message, self.context);
        }
        None
    }

    fn read_history(&mut self, query: HistoryQuery) -> Option<Input<'static>> {
        let Services { broker, max_history_bytes, .. } = self.services;
        let read = wrap_future::<_, Session>(read_history(broker.clone(), query, *max_history_bytes));
        self.context.spawn(read.map(|answer, session, context| session.handle_input(answer, context)));
        None
    }
}

/// Sends a message to the inbox, and handles the outcome.
fn spawn_send(
    services: &Services,
    session: SessionId,
    permit: &SessionPermit,
    message: ClientMessage,
    context: &mut WebsocketContext<Session>,
) {
    // A session that has not identified sends nothing.
    let user = permit.user().unwrap_or_default().into();
    let sending = wrap_future::<_, Session>(send(services.broker.clone(), user, session, message));
    context.spawn(sending.map(|outcome, session, context| session.on_sent(outcome, context)));
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let now = now();
        self.services.hub.do_send(Connect {
            session: self.conversation.session(),
            variant: Variant { version: self.conversation.version(), encoding: self.outbox.encoding() },
            outbox: self.registration.reference(),
            opened: now.monotonic,
        });
        self.arm_deadline(now);
    }
}

impl StreamHandler<SocketEvent> for Session {
    fn handle(&mut self, event: SocketEvent, context: &mut Self::Context) {
        match event {
            SocketEvent::Message(message) => self.on_message(message, context),
            SocketEvent::DeadlinePassed => self.on_deadline(context),
            SocketEvent::Notified => {
                for event in session_events::take(&self.outbox) {
                    self.handle_input(event.into(), context);
                }
            }
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        self.handle_input(Input::PeerClosed, context);
        context.stop();
    }
}

/// The context's own stream of messages, which ends at once.
impl StreamHandler<Result<Message, ProtocolError>> for Session {
    fn handle(&mut self, _: Result<Message, ProtocolError>, _: &mut Self::Context) {}

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Drop for Session {
    /// Leaves the hub however the actor ends: stopped, dropped with its context, or unwound by a panic.
    fn drop(&mut self) {
        let session = self.conversation.session();
        // The hub starts no more work for a closed outbox.
        self.outbox.finish();
        // Nobody is left to handle them.
        drop(session_events::take(&self.outbox));
        self.services.sends.remove(session);
        self.services.hub.do_send(HubInput::Leave { session });
        let (user, code) = (self.permit.user(), self.outbox.close_code());
        // Without a code, no Close frame was sent, or one without a code.
        log::debug!(target: LOG_TARGET, session:%, user, code; "session closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_of_a_session_fits_into_176_bytes() {
        assert!(size_of::<Session>() <= 176, "{}", size_of::<Session>());
    }
}
