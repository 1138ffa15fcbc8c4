//! The actor of one WebSocket.
//!
//! It decides nothing: it turns what happens into inputs of the [`Conversation`], and what the conversation
//! answers into frames, messages to the hub, and one timer.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix::{Actor, AsyncContext as _, Handler, SpawnHandle, StreamHandler};
use actix_web_actors::ws::{Message, ProtocolError, WebsocketContext};

use super::LOG_TARGET;
use super::clock::{now, unix_ms};
use super::limits::{Unidentified, UserSession};
use super::services::Services;
use crate::auth::Identity as Authenticated;
use crate::hub::messages::{Connect, GoLive, Join, Leave, SessionEvent, Subscribe, Unsubscribe};
use crate::metrics::Metrics;
use crate::socket::outbox::Outbox;
use crate::socket::outboxes::{self, Registration};
use protocol::channel::{ChannelName, ChannelPattern};
use protocol::close::CloseCode;
use protocol::conversation::{Action, Conversation, Identity, Input, NotIdentified};
use protocol::{Now, SessionId, Variant, Version};

/// One client's session.
#[derive(Debug)]
pub struct Session {
    conversation: Conversation,
    outbox: Outbox,
    timer: Option<(SpawnHandle, Instant)>,
    /// While it is kept the hub can find the outbox.
    registration: Registration,
    membership: Membership,
}

/// A session's place in the hub. It is given up when the actor is dropped, on whatever way: stopped, cut off,
/// or unwound by a panic.
#[derive(Debug)]
struct Membership {
    services: Rc<Services>,
    session: SessionId,
    standing: Standing,
}

/// Under which cap a session counts, until dropped.
#[derive(Debug)]
enum Standing {
    Unidentified(Unidentified),
    Identified(UserSession),
}

impl Standing {
    fn user(&self) -> Option<&str> {
        match self {
            Self::Unidentified(_) => None,
            Self::Identified(place) => Some(place.user()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Membership { session, standing, .. } = &self.membership;
        // Without a code the connection broke, or ended without a Close frame.
        log::debug!(target: LOG_TARGET, session:%, user = standing.user(), code = self.outbox.close_code(); "session closed");
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.services.hub.do_send(Leave { session: self.session });
    }
}

impl Session {
    /// Opens the conversation: Hello is on its way when this returns.
    pub fn open(services: Rc<Services>, version: Version, place: Unidentified, outbox: Outbox) -> Self {
        let session = SessionId(rand::random());
        let jitter = rand::random::<f64>();
        log::debug!(target: LOG_TARGET, session:%, version = if version == Version::V1 { 1 } else { 2 }; "session opened");
        let mut actions = Vec::new();
        let conversation =
            Conversation::open(Arc::clone(&services.rules), version, session, jitter, now(), &mut actions);
        for action in actions {
            if let Action::Send(event) = action {
                outbox.push(event.to_frame(version));
            }
        }
        Self {
            conversation,
            timer: None,
            registration: outboxes::register(outbox.clone()),
            membership: Membership { services, session, standing: Standing::Unidentified(place) },
            outbox,
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
        self.arm_timer(now, context);
    }

    fn perform(&mut self, action: Action, answers: &mut VecDeque<Input<'static>>) {
        let session = self.conversation.session();
        let hub = &self.membership.services.hub;
        match action {
            Action::Send(event) => {
                self.outbox.push(event.to_frame(self.conversation.version()));
            }
            Action::Authenticate(token) => answers.push_back(self.authenticate(&token.0)),
            Action::Join { channels } => hub.do_send(Join { session, channels }),
            Action::Subscribe { wanted, ticket } => hub.do_send(Subscribe { session, wanted, ticket }),
            Action::Unsubscribe { channel, answer } => {
                let answer = answer.to_frame(self.conversation.version());
                hub.do_send(Unsubscribe { session, channel, answer });
            }
            Action::GoLive(channel) => hub.do_send(GoLive { session, channel }),
            Action::Close(code) => self.outbox.close(code),
        }
    }

    fn authenticate(&mut self, token: &str) -> Input<'static> {
        let services = &self.membership.services;
        let outcome = services.authenticator.verify(token, SystemTime::now());
        let mut label = outcome.as_ref().map_or_else(|error| error.label(), |_| "accepted");
        let verdict = outcome.map_err(|_| NotIdentified).and_then(identity);
        let mut answer = Input::Verified(verdict);
        // A Refresh finds the session identified already.
        if let (Input::Verified(Ok(identity)), Standing::Unidentified(place)) =
            (&answer, &self.membership.standing)
        {
            match place.limits().identify(&identity.user) {
                Some(place) => {
                    log::debug!(target: LOG_TARGET, session:% = self.membership.session, user = place.user(); "session identified");
                    self.membership.standing = Standing::Identified(place);
                }
                None => (answer, label) = (Input::TooManySessions, "too_many_sessions"),
            }
        }
        Metrics::count(&services.metrics.identifies, label);
        if label != "accepted" {
            log::debug!(target: LOG_TARGET, session:% = self.conversation.session(); "token refused: {label}");
        }
        answer
    }

    /// Sees to it that the one timer fires when the conversation wants it. A timer that fires too early is
    /// left alone: most deadlines move on with every frame, and asking again is cheaper than rearming.
    fn arm_timer(&mut self, now: Now, context: &mut WebsocketContext<Self>) {
        let Some(deadline) = self.conversation.next_deadline() else { return };
        if let Some((handle, due)) = self.timer {
            if due <= deadline {
                return;
            }
            context.cancel_future(handle);
        }
        let wait = deadline.saturating_duration_since(now.monotonic);
        let handle = context.run_later(wait, |session, context| {
            session.timer = None;
            session.on(Input::DeadlinePassed, context);
        });
        self.timer = Some((handle, deadline));
    }
}

/// What the protocol needs of an authenticated identity.
fn identity(authenticated: Authenticated) -> Result<Identity, NotIdentified> {
    Ok(Identity {
        user: ChannelName::of_user(&authenticated.user).map_err(|_| NotIdentified)?,
        expires_at_ms: authenticated.expires_at.map(unix_ms),
        grants: authenticated.channels.iter().map(|pattern| ChannelPattern::new(pattern)).collect(),
    })
}

impl Actor for Session {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.membership.services.hub.do_send(Connect {
            session: self.conversation.session(),
            variant: Variant { version: self.conversation.version(), is_deflated: self.outbox.is_deflated() },
            outbox: self.registration.key(),
            opened: now().monotonic,
            recipient: context.address().recipient(),
        });
        self.arm_timer(now(), context);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Session {
    fn handle(&mut self, message: Result<Message, ProtocolError>, context: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => {
                self.membership.services.metrics.client_messages.inc();
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
        use actix::ActorContext as _;
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
