//! Requests for pages: of the members of a channel (op 15), and of its history (op 19, answered by op 20).

use super::verified::VerifiedSession;
use super::{Action, Conversation, ConversationState};
use crate::channel::ChannelName;
use crate::event::Event;
use crate::history_page::{HistoryCommand, HistoryPage, HistoryQuery};
use crate::members::{MembersCommand, MembersPage, MembersRequest};
use crate::page_error::PageError;
use crate::position::Position;

/// The maximum number of requests of one session, for members or histories, without an answer. A client that reads page
/// after page has one.
pub const MAX_OPEN_REQUESTS: u8 = 4;

impl Conversation {
    pub(super) fn on_members_command(&mut self, command: MembersCommand<'_>, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let id: Box<str> = command.id.into();
        let channel = verified.subscribed_channel(&command.channel);
        actions.push(match channel.and_then(|channel| verified.open_request().map(|()| channel)) {
            Ok(channel) => {
                Action::ReadMembers(MembersRequest { id, channel, after: command.after.map(Into::into) })
            }
            Err(error) => refused(id, error),
        });
    }

    pub(super) fn on_history_command(&mut self, command: &HistoryCommand<'_>, actions: &mut Vec<Action>) {
        let id: Box<str> = command.id.as_ref().into();
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let namespaces = &self.rules.namespaces;
        let query = verified.subscribed_channel(&command.channel).and_then(|channel| {
            let max_last = namespaces.of(&channel).max_last;
            let before = command.before.as_deref().map(Position::parse);
            if max_last == 0 || before == Some(None) {
                return Err(PageError::NotAllowed);
            }
            verified.open_request()?;
            let limit = command.clamped_limit(max_last);
            Ok(HistoryQuery { id: id.clone(), channel, before: before.flatten(), limit })
        });
        actions.push(query.map_or_else(|error| refused(id, error), Action::ReadHistory));
    }

    pub(super) fn on_members(
        &mut self,
        id: Box<str>,
        channel: ChannelName,
        outcome: Result<MembersPage, PageError>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let Some(outcome) = verified.close_request(&channel, outcome) else { return };
        actions.push(match outcome {
            Ok(page) => Action::Send(Event::Members { id, channel, page }),
            Err(error) => refused(id, error),
        });
    }

    pub(super) fn on_history(
        &mut self,
        id: Box<str>,
        channel: ChannelName,
        outcome: Result<HistoryPage, PageError>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let Some(outcome) = verified.close_request(&channel, outcome) else { return };
        actions.push(match outcome {
            Ok(page) => Action::Send(Event::History { id, channel, page }),
            Err(error) => refused(id, error),
        });
    }
}

impl VerifiedSession {
    /// The channel with this name, if the session is subscribed to it.
    fn subscribed_channel(&self, name: &str) -> Result<ChannelName, PageError> {
        let channel = ChannelName::parse(name).ok().filter(|channel| self.is_subscribed(channel));
        channel.ok_or(PageError::NotAllowed)
    }

    /// Counts a request, unless too many are not answered.
    fn open_request(&mut self) -> Result<(), PageError> {
        if self.open_requests == MAX_OPEN_REQUESTS {
            return Err(PageError::Unavailable);
        }
        self.open_requests += 1;
        Ok(())
    }

    /// Ends a request with its outcome. The subscription may have ended meanwhile. `None` if there is no request.
    fn close_request<T>(
        &mut self,
        channel: &ChannelName,
        outcome: Result<T, PageError>,
    ) -> Option<Result<T, PageError>> {
        self.open_requests = self.open_requests.checked_sub(1)?;
        Some(if self.is_subscribed(channel) { outcome } else { outcome.and(Err(PageError::NotAllowed)) })
    }
}

fn refused(id: Box<str>, error: PageError) -> Action {
    Action::Send(Event::RequestError { id, error: error.into() })
}
