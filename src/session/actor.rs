//! The actor of one WebSocket.
//!
//! It decides nothing: it turns what happens into inputs of the [`Conversation`], and what the conversation
//! answers into frames, messages to the hub, and one timer.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, ActorContext as _, AsyncContext as _, Handler, StreamHandler};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};

use super::LOG_TARGET;
use super::authenticate::authenticate;
use super::clock::now;
use super::heartbeat::HeartbeatTimer;
use super::limits::{SessionPermit, UnidentifiedPermit};
use super::services::Services;
use crate::hub::messages::{Connect, GoLive, Join, Leave, SessionEvent, Subscribe, Unsubscribe};
use crate::socket::outbox::Outbox;
use crate::socket::outboxes::{self, Registration};
use protocol::close::CloseCode;
use protocol::conversation::{Action, Conversation, Input};
use protocol::{Now, SessionId, Variant, Version};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    services: Rc<Services>,
    conversation: Conversation,
    heartbeat: HeartbeatTimer,
    outbox: Outbox,
    /// While it is kept the hub can find the outbox.
    registration: Registration,
    permit: SessionPermit,
}

impl Session {
    /// Opens the conversation: Hello is on its way when this returns.
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
        let mut actions = Vec::new();
        let conversation =
            Conversation::open(Arc::clone(&services.rules), version, session, jitter, now(), &mut actions);
        for action in actions {
            if let Action::Send(event) = action {
                outbox.push(event.to_frame(version));
            }
        }
        Self {
            services,
            conversation,
            heartbeat: HeartbeatTimer::default(),
            registration: outboxes::register(outbox.clone()),
            outbox,
            permit: SessionPermit::Unidentified(permit),
        }
    }

    /// Feeds the conversation and carries out all that it answers before anything else happens.
    fn on(&mut self, input: Input<'_>, context: &mut WebsocketContext<Self>) {
        let now = now();
        let mut actions = Vec::new();
        self.conversation.on(now, input, &mut actions);
        let mut answers = VecDeque::new();
        loop {
            for action in actions.drain(..) {
                self.perform(action, &mut answers);
            }
            // Authentication is a plain call; its result is the next input.
            let Some(answer) = answers.pop_front() else { break };
            self.conversation.on(now, answer, &mut actions);
        }
        self.arm_heartbeat(now, context);
    }

    fn perform(&mut self, action: Action, answers: &mut VecDeque<Input<'static>>) {
        let (session, version) = (self.conversation.session(), self.conversation.version());
        let hub = &self.services.hub;
        match action {
            Action::Send(event) => {
                self.outbox.push(event.to_frame(version));
            }
            Action::Authenticate(token) => {
                answers.push_back(authenticate(&self.services, session, &mut self.permit, &token.0));
            }
            Action::Join { channels } => hub.do_send(Join { session, channels }),
            Action::Subscribe { wanted, ticket } => hub.do_send(Subscribe { session, wanted, ticket }),
            Action::Unsubscribe { channel, answer } => {
                hub.do_send(Unsubscribe { session, channel, answer: answer.to_frame(version) });
            }
            Action::GoLive(channel) => hub.do_send(GoLive { session, channel }),
            Action::Close(code) => self.outbox.close(code),
        }
    }

    /// Arms the timer for the conversation's next deadline: a heartbeat, or whatever is due before it.
    fn arm_heartbeat(&mut self, now: Now, context: &mut WebsocketContext<Self>) {
        if let Some(deadline) = self.conversation.next_deadline() {
            self.heartbeat.arm(deadline, now.monotonic, context, Self::on_deadline);
        }
    }

    fn on_deadline(&mut self, context: &mut WebsocketContext<Self>) {
        self.heartbeat.fired();
        self.on(Input::DeadlinePassed, context);
    }
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let now = now();
        self.services.hub.do_send(Connect {
            session: self.conversation.session(),
            variant: Variant { version: self.conversation.version(), is_deflated: self.outbox.is_deflated() },
            outbox: self.registration.key(),
            opened: now.monotonic,
            recipient: context.address().recipient(),
        });
        self.arm_heartbeat(now, context);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Session {
    fn handle(&mut self, message: Result<Message, ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => {
                self.services.metrics.client_messages.inc();
                self.on(Input::Text(&text), context);
            }
            Ok(Message::Binary(_)) => self.on(Input::Binary, context),
            Ok(Message::Ping(_) | Message::Pong(_)) => self.on(Input::ControlFrame, context),
            // The guard hands on whole messages only, and ends the stream by itself.
            Ok(Message::Continuation(_) | Message::Close(_) | Message::Nop) | Err(_) => {
                self.outbox.close(CloseCode::ProtocolError);
            }
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        self.on(Input::PeerClosed, context);
        context.stop();
    }
}

impl Handler<SessionEvent> for Session {
    type Result = ();

    fn handle(&mut self, event: SessionEvent, context: &mut Self::Context) {
        let input = match event {
            SessionEvent::Joined(positions) => Input::Joined(positions),
            SessionEvent::Subscribed { ticket, standing } => Input::Subscribed { ticket, standing },
            SessionEvent::Drain { after_ms } => Input::Drain { after_ms },
            SessionEvent::Disconnect => Input::Disconnected,
        };
        self.on(input, context);
    }
}

impl Drop for Session {
    /// Leaves the hub, whichever way the actor ends: stopped, cut off, or unwound by a panic.
    fn drop(&mut self) {
        let session = self.conversation.session();
        self.services.hub.do_send(Leave { session });
        let (user, code) = (self.permit.user(), self.outbox.close_code());
        // Without a code the connection broke, or ended without a Close frame.
        log::debug!(target: LOG_TARGET, session:%, user, code; "session closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_costs_a_session_192_bytes() {
        assert!(size_of::<Session>() <= 192, "{}", size_of::<Session>());
    }
}
