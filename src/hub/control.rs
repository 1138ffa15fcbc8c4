//! Applies the backend's commands to the sessions of a hub. Runs on the hub's thread, between deliveries.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use actix::{Context, Handler, Message};

use super::actor::Hub;
use super::connected::TokenMark;
use super::messages::SessionEvent;
use super::registry::SessionKey;
use protocol::SessionId;
use protocol::channel::ChannelName;

/// A command for the sessions of the process.
#[derive(Debug, Clone)]
pub enum HubCommand {
    /// Ends sessions with close code 4010.
    Disconnect {
        /// The sessions.
        target: SessionTarget,
        /// The reason in the Close frame, at most 123 bytes; `None`: the usual one.
        reason: Option<Arc<str>>,
    },
    /// Subscribes sessions to a channel, or ends their subscriptions.
    SetSubscription {
        /// The sessions.
        target: SessionTarget,
        /// The channel.
        channel: ChannelName,
        /// Whether the sessions are subscribed from now on.
        is_subscribed: bool,
    },
    /// Ends the sessions that use a token.
    Revoke(RevokedTokens),
}

/// The sessions that a command is for.
#[derive(Debug, Clone)]
pub enum SessionTarget {
    /// The sessions of the user with this channel.
    User(ChannelName),
    /// One session.
    Session(SessionId),
    /// The sessions that are subscribed to this channel.
    Channel(ChannelName),
}

/// The tokens that are revoked.
#[derive(Debug, Clone)]
pub enum RevokedTokens {
    /// The token with this id.
    Id(Arc<str>),
    /// The tokens of a user.
    User {
        /// The channel of the user.
        user: ChannelName,
        /// Only tokens that were issued before this time, in Unix milliseconds.
        issued_before_ms: u64,
    },
}

/// Applies a command. Answered with the number of affected sessions.
#[derive(Debug, Clone, Message)]
#[rtype(result = "usize")]
pub struct ApplyCommand {
    /// The command.
    pub command: HubCommand,
    /// When the command was issued. Sessions that were opened later are not affected, except by revocations.
    pub issued: Instant,
}

/// A session uses a token from now on. Sent after the session's Join or Refresh.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TokenAccepted {
    /// The session.
    pub session: SessionId,
    /// The token.
    pub token: AcceptedToken,
}

/// What revocations need of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedToken {
    /// The id of the token, if it has one.
    pub id: Option<Box<str>>,
    /// When the token was issued, in Unix milliseconds, if it says so.
    pub issued_at_ms: Option<u64>,
}

impl Handler<ApplyCommand> for Hub {
    type Result = usize;

    fn handle(&mut self, ApplyCommand { command, issued }: ApplyCommand, _: &mut Context<Self>) -> usize {
        match command {
            HubCommand::Disconnect { target, reason } => {
                let ended = self.targeted(&target, issued);
                ended.iter().for_each(|key| self.end(*key, SessionEvent::Disconnect(reason.clone())));
                ended.len()
            }
            HubCommand::SetSubscription { target, channel, is_subscribed } => {
                let mut changed = self.targeted(&target, issued);
                changed.retain(|key| self.can_change(*key, &channel, is_subscribed));
                for key in &changed {
                    let channel = channel.clone();
                    self.notify(*key, SessionEvent::SetSubscription { channel, is_subscribed });
                }
                changed.len()
            }
            HubCommand::Revoke(revoked) => {
                let ended = self.users_of(&revoked);
                ended.iter().for_each(|key| self.end(*key, SessionEvent::TokenRevoked));
                ended.len()
            }
        }
    }
}

impl Handler<TokenAccepted> for Hub {
    type Result = ();

    fn handle(&mut self, TokenAccepted { session, token }: TokenAccepted, _: &mut Context<Self>) {
        let Some(key) = self.core.key(session) else { return };
        let id = token.id.as_deref().map(|id| self.token_hasher.hash_one(id));
        let mark = TokenMark::new(id, token.issued_at_ms);
        let Some(connected) = self.connected_mut(key) else { return };
        connected.token = mark;
        // The token may have been revoked after the session checked it, and before the mark was there to be found.
        if self.is_revoked(key, &token) {
            self.end(key, SessionEvent::TokenRevoked);
        }
    }
}

impl Hub {
    /// The sessions that a command is for: opened by `issued`, and not ending.
    fn targeted(&self, target: &SessionTarget, issued: Instant) -> Vec<SessionKey> {
        let registry = self.core.registry();
        let mut keys = match target {
            SessionTarget::Session(session) => self.core.key(*session).into_iter().collect(),
            SessionTarget::User(user) => registry.sessions_of(user),
            SessionTarget::Channel(channel) => registry.subscribers_of(channel),
        };
        keys.retain(|key| {
            self.is_open(*key)
                && self.connected(*key).is_some_and(|session| session.opened.is_by(issued, self.started))
        });
        keys
    }

    /// The sessions that use a revoked token, whenever they were opened.
    fn users_of(&self, revoked: &RevokedTokens) -> Vec<SessionKey> {
        let mut keys = match revoked {
            RevokedTokens::Id(id) => {
                let id = self.token_hasher.hash_one(&**id);
                self.core
                    .sessions()
                    .map(|(_, key)| key)
                    .filter(|key| self.connected(*key).is_some_and(|session| session.token.has_id(id)))
                    .collect()
            }
            RevokedTokens::User { user, issued_before_ms } => {
                let mut keys = self.core.registry().sessions_of(user);
                keys.retain(|key| {
                    self.connected(*key)
                        .is_some_and(|session| session.token.is_issued_before(*issued_before_ms))
                });
                keys
            }
        };
        keys.retain(|key| self.is_open(*key));
        keys
    }

    /// Whether a session that is identified can be subscribed to a channel, or is subscribed to it and can leave it.
    fn can_change(&self, key: SessionKey, channel: &ChannelName, is_subscribed: bool) -> bool {
        let registry = self.core.registry();
        let is_identified = registry.user_channel(key).is_some();
        let can_leave = || !registry.is_own(key, channel) && registry.is_subscribed(key, channel);
        is_identified && (is_subscribed || can_leave())
    }

    fn is_open(&self, key: SessionKey) -> bool {
        !self.core.registry().is_closed(key)
    }

    fn is_revoked(&self, key: SessionKey, token: &AcceptedToken) -> bool {
        let user = self.core.registry().user_channel(key).and_then(ChannelName::user_id);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        user.is_some_and(|user| {
            let revocations = self.broker.revocations();
            revocations.is_revoked(user, token.id.as_deref(), token.issued_at_ms, now.as_millis() as u64)
        })
    }

    /// Ends a session. It is not counted again by a command that comes before its Leave.
    fn end(&mut self, key: SessionKey, event: SessionEvent) {
        self.notify(key, event);
        self.forget(key);
    }
}
