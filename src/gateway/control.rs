//! Applies the commands of the broker to the sessions of this process.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::broker::{
    ChannelChange, ControlAnswer, ControlCommand, ControlHandler, Disconnection, Revocation, SessionQuery,
};
use crate::http::{DEFAULT_LISTED, ReplicaReporter, SessionPage, worker_timeout_detail};
use crate::hub::control::{ApplyCommand, HubCommand, RevokedTokens, SessionTarget};
use crate::hub::messages::ListSessions;
use crate::hub::{HubTimeout, Hubs};
use protocol::SessionId;
use protocol::channel::ChannelName;

/// The time in which all workers must respond. A healthy worker needs far less than a second.
const HUB_TIMEOUT: Duration = Duration::from_secs(2);

/// Applies commands to the sessions of all workers.
pub(super) struct SessionControl {
    pub(super) hubs: Hubs,
    pub(super) reporter: ReplicaReporter,
}

impl ControlHandler for SessionControl {
    fn apply(
        &self,
        command: ControlCommand,
        issued: Instant,
    ) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send + '_>> {
        Box::pin(async move {
            let answer = match command {
                ControlCommand::Sessions(query) => self.list(query).await,
                command => self.change(command, issued).await,
            };
            // A worker that did not answer still applies the command, but the number of its sessions is unknown.
            answer.unwrap_or_else(|HubTimeout| ControlAnswer { affected: 0, detail: worker_timeout_detail() })
        })
    }
}

impl SessionControl {
    async fn change(&self, command: ControlCommand, issued: Instant) -> Result<ControlAnswer, HubTimeout> {
        // The broker has checked the command.
        let Some(command) = hub_command(command) else { return Ok(ControlAnswer::default()) };
        let affected = self.hubs.apply(ApplyCommand { command, issued }, HUB_TIMEOUT).await?;
        Ok(ControlAnswer { affected, detail: None })
    }

    async fn list(&self, query: SessionQuery) -> Result<ControlAnswer, HubTimeout> {
        let query = ListSessions {
            user: query.user.as_deref().and_then(user_channel),
            channel: query.channel.as_deref().and_then(channel),
            after: query.after.as_deref().and_then(session_id),
            limit: query.limit.unwrap_or(DEFAULT_LISTED),
            now: Instant::now(),
        };
        let list = self.hubs.sessions(query, HUB_TIMEOUT).await?;
        Ok(ControlAnswer { affected: 0, detail: SessionPage::new(&list, self.reporter.report()).encode() })
    }
}

/// The command for the hubs. `None`: a name is not valid, so there are no sessions with it.
fn hub_command(command: ControlCommand) -> Option<HubCommand> {
    let set_subscription = |change: ChannelChange, is_subscribed| {
        let target = target(change.user.as_deref(), change.session.as_deref(), None)?;
        Some(HubCommand::SetSubscription { target, channel: channel(&change.channel)?, is_subscribed })
    };
    match command {
        ControlCommand::Disconnect(Disconnection { user, session, channel, reason }) => {
            let target = target(user.as_deref(), session.as_deref(), channel.as_deref())?;
            Some(HubCommand::Disconnect { target, reason: reason.map(Into::into) })
        }
        ControlCommand::Subscribe(change) => set_subscription(change, true),
        ControlCommand::Unsubscribe(change) => set_subscription(change, false),
        ControlCommand::Revoke(Revocation { jti: Some(id), .. }) => {
            Some(HubCommand::Revoke(RevokedTokens::Id(id.into())))
        }
        ControlCommand::Revoke(Revocation { user, issued_before, .. }) => {
            let user = user_channel(&user?)?;
            Some(HubCommand::Revoke(RevokedTokens::User { user, issued_before_ms: issued_before? }))
        }
        // Changes nothing.
        ControlCommand::Sessions(_) => None,
    }
}

fn target(user: Option<&str>, session: Option<&str>, name: Option<&str>) -> Option<SessionTarget> {
    match (user, session, name) {
        (Some(user), None, None) => user_channel(user).map(SessionTarget::User),
        (None, Some(session), None) => session_id(session).map(SessionTarget::Session),
        (None, None, Some(name)) => channel(name).map(SessionTarget::Channel),
        _ => None,
    }
}

fn user_channel(user: &str) -> Option<ChannelName> {
    ChannelName::of_user(user).ok()
}

fn channel(name: &str) -> Option<ChannelName> {
    ChannelName::parse(name).ok()
}

fn session_id(text: &str) -> Option<SessionId> {
    u128::from_str_radix(text, 16).ok().map(SessionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_an_invalid_name_reaches_no_session() {
        for text in [
            r#"{"disconnect":{}}"#,
            r#"{"disconnect":{"user":"4 2"}}"#,
            r#"{"disconnect":{"user":"42","channel":"all"}}"#,
            r#"{"disconnect":{"session":"none"}}"#,
            r#"{"subscribe":{"user":"42","channel":"room"}}"#,
            r#"{"revoke":{}}"#,
        ] {
            let command: ControlCommand = serde_json::from_str(text).unwrap();
            assert!(hub_command(command).is_none(), "{text}");
        }
    }
}
