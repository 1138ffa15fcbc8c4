//! Requests for pages of a channel's history (op 19), and their answers (op 20).

use super::{Action, Conversation, ConversationState};
use crate::channel::ChannelName;
use crate::event::Event;
use crate::history_page::{HistoryCommand, HistoryError, HistoryPage, HistoryQuery};
use crate::position::Position;

impl Conversation {
    pub(super) fn on_history_command(&mut self, command: &HistoryCommand<'_>, actions: &mut Vec<Action>) {
        let id: Box<str> = command.id.as_ref().into();
        actions.push(match self.accept_history(id.clone(), command) {
            Ok(query) => Action::ReadHistory(query),
            Err(error) => Action::Send(Event::RequestError { id, error: error.into() }),
        });
    }

    /// Counts a request that is to be answered.
    fn accept_history(
        &mut self,
        id: Box<str>,
        command: &HistoryCommand<'_>,
    ) -> Result<HistoryQuery, HistoryError> {
        let ConversationState::Ready(verified) = &mut self.state else {
            return Err(HistoryError::Unavailable);
        };
        let channel = ChannelName::parse(&command.channel).map_err(|_| HistoryError::NotAllowed)?;
        let max_last = self.rules.namespaces.of(&channel).max_last;
        if max_last == 0 || !verified.is_subscribed(&channel) {
            return Err(HistoryError::NotAllowed);
        }
        let before = command.before.as_deref().map(Position::parse);
        let before = before.map(|before| before.ok_or(HistoryError::NotAllowed)).transpose()?;
        if !verified.open_request() {
            return Err(HistoryError::Unavailable);
        }
        Ok(HistoryQuery { id, channel, before, limit: command.clamped_limit(max_last) })
    }

    pub(super) fn on_history(
        &mut self,
        id: Box<str>,
        channel: ChannelName,
        outcome: Result<HistoryPage, HistoryError>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        if !verified.close_request() {
            return;
        }
        // The subscription may have ended meanwhile.
        let outcome = outcome.and_then(|page| match verified.is_subscribed(&channel) {
            true => Ok(page),
            false => Err(HistoryError::NotAllowed),
        });
        actions.push(Action::Send(match outcome {
            Ok(page) => Event::History { id, channel, page },
            Err(error) => Event::RequestError { id, error: error.into() },
        }));
    }
}
