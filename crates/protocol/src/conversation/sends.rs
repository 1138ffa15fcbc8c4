//! Messages for the backend (op 16), and their acknowledgements (op 17).

use super::{Action, Conversation, ConversationState};
use crate::channel::ChannelName;
use crate::client_message::{ClientMessage, SendCommand, SendError};
use crate::event::{Event, SoftError};

/// The maximum number of messages of one session without an answer.
pub const MAX_OPEN_SENDS: u8 = 16;
/// When a client may try again that has sent too many messages without waiting for an answer.
const OPEN_SENDS_RETRY_MS: u64 = 1_000;

impl Conversation {
    /// Handles op 16. `is_over_budget`: the session has used up its messages of a minute.
    pub(super) fn on_send(
        &mut self,
        command: &SendCommand<'_>,
        is_over_budget: bool,
        actions: &mut Vec<Action>,
    ) {
        let id: Box<str> = command.id.as_ref().into();
        match self.accept_send(command, is_over_budget) {
            Ok(channel) => {
                let message = command.message.to_owned();
                actions.push(Action::SendMessage(ClientMessage { id, channel, message }));
            }
            Err(error) => actions.push(Action::Send(Event::RequestError { id, error })),
        }
    }

    /// Counts a message that is to be passed on, and returns its channel.
    fn accept_send(
        &mut self,
        command: &SendCommand<'_>,
        is_over_budget: bool,
    ) -> Result<ChannelName, SoftError> {
        let ConversationState::Ready(verified) = &mut self.state else { return Err(SoftError::Unavailable) };
        if is_over_budget {
            return Err(SoftError::RateLimited);
        }
        let channel = ChannelName::parse(&command.channel).map_err(|_| SoftError::NotAllowed)?;
        let may_send = self.rules.namespaces.of(&channel).send
            && (verified.is_subscribed(&channel) || verified.allows(&self.rules, &channel));
        if !may_send {
            return Err(SoftError::NotAllowed);
        }
        if command.message.get().len() > self.rules.max_send_bytes {
            return Err(SoftError::TooBig);
        }
        let open_sends = &mut verified.on_demand_mut().open_sends;
        if *open_sends >= MAX_OPEN_SENDS {
            return Err(SoftError::Busy { after_ms: OPEN_SENDS_RETRY_MS });
        }
        *open_sends += 1;
        Ok(channel)
    }

    pub(super) fn on_sent(
        &mut self,
        id: Box<str>,
        outcome: Result<(), SendError>,
        actions: &mut Vec<Action>,
    ) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let open_sends = verified.on_demand.as_mut().map(|on_demand| &mut on_demand.open_sends);
        let Some(open_sends) = open_sends.filter(|open| **open > 0) else { return };
        *open_sends -= 1;
        actions.push(Action::Send(match outcome {
            Ok(()) => Event::Sent { id },
            Err(error) => Event::RequestError { id, error: error.into() },
        }));
    }
}
