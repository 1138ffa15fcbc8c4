//! Requests for the members of a channel (op 15), and their answers.

use super::{Action, Conversation, ConversationState};
use crate::channel::ChannelName;
use crate::event::Event;
use crate::members::{MembersCommand, MembersError, MembersPage, MembersRequest};

/// The maximum number of requests of one session, for members or histories, without an answer. A client that reads page after page has one.
pub const MAX_OPEN_REQUESTS: u8 = 4;

impl Conversation {
    pub(super) fn on_members_command(&mut self, command: MembersCommand<'_>, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let id: Box<str> = command.id.into();
        let channel =
            ChannelName::parse(&command.channel).ok().filter(|channel| verified.is_subscribed(channel));
        let Some(channel) = channel else {
            return actions.push(refused(id, MembersError::NotAllowed));
        };
        if !verified.open_request() {
            return actions.push(refused(id, MembersError::Unavailable));
        }
        let after = command.after.map(Into::into);
        actions.push(Action::ReadMembers(MembersRequest { id, channel, after }));
    }

    pub(super) fn on_members(
        &mut self,
        id: Box<str>,
        channel: ChannelName,
        outcome: Result<MembersPage, MembersError>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        if !verified.close_request() {
            return;
        }
        // The subscription may have ended meanwhile.
        let outcome = outcome.and_then(|page| match verified.is_subscribed(&channel) {
            true => Ok(page),
            false => Err(MembersError::NotAllowed),
        });
        actions.push(match outcome {
            Ok(page) => Action::Send(Event::Members { id, channel, page }),
            Err(error) => refused(id, error),
        });
    }
}

fn refused(id: Box<str>, error: MembersError) -> Action {
    Action::Send(Event::RequestError { id, error: error.into() })
}
