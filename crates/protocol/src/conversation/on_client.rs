//! Inputs from the client.

use std::time::Duration;

use super::{
    Action, Conversation, ConversationState, IdentifyChannel, Input, ResumePoint, Token, Verifying,
    WaitingFrame,
};
use crate::Now;
use crate::budget::Budget;
use crate::close::CloseCode;
use crate::command::{ChannelRequest, Command};
use crate::event::Event;

/// The maximum number of frames that wait for Ready. The wait includes the verification of the token and reads of
/// histories, but lasts at most until the identify timeout and then for `broker.response_timeout`, so a client has no
/// reason to send more.
const MAX_WAITING_FRAMES: usize = 16;
/// The period of the budgets.
const MINUTE: Duration = Duration::from_secs(60);

/// How the budgets take a frame.
enum Charge {
    Accepted,
    /// The budget of the frame's op is used up, so the frame is refused or dropped.
    OverOwnBudget,
    /// No budget is left for the frame.
    Exhausted,
}

impl Conversation {
    /// Handles a frame. Every frame resets the heartbeat timeout and counts against a budget.
    pub(super) fn on_client(&mut self, now: Now, input: Input<'_>, actions: &mut Vec<Action>) {
        self.heartbeat.on_frame(now.monotonic);
        let Input::Text(text) = input else {
            return match (self.charge(now, None), input) {
                (Charge::Exhausted, _) => self.close(CloseCode::RateLimited, actions),
                (_, Input::Binary) => self.close(CloseCode::UnsupportedData, actions),
                _ => {}
            };
        };
        let command = self.parse(text);
        match (self.charge(now, command.as_ref()), command) {
            (Charge::Exhausted, _) => self.close(CloseCode::RateLimited, actions),
            (_, None) => self.close(CloseCode::Malformed, actions),
            (charge, Some(command)) => {
                let is_over_budget = matches!(charge, Charge::OverOwnBudget);
                self.on_command(now, text, command, is_over_budget, actions);
            }
        }
    }

    /// Handles a frame that has waited for Ready.
    pub(super) fn on_waiting_frame(&mut self, now: Now, frame: &WaitingFrame, actions: &mut Vec<Action>) {
        match self.parse(&frame.text) {
            Some(command) => self.on_command(now, &frame.text, command, frame.is_over_budget, actions),
            None => self.close(CloseCode::Malformed, actions),
        }
    }

    fn parse<'a>(&self, text: &'a str) -> Option<Command<'a>> {
        Command::parse_within(self.version, text, self.rules.max_listed_channels).ok()
    }

    /// Takes a frame from its budget.
    fn charge(&mut self, now: Now, command: Option<&Command<'_>>) -> Charge {
        let own = self.own_budget(command);
        let has_own_budget = own.is_some();
        if own.is_some_and(|(budget, limit)| budget.try_acquire(limit, MINUTE, now.monotonic)) {
            return Charge::Accepted;
        }
        match self.budget.try_acquire(self.rules.messages_per_minute, MINUTE, now.monotonic) {
            false => Charge::Exhausted,
            true if has_own_budget => Charge::OverOwnBudget,
            true => Charge::Accepted,
        }
    }

    /// The budget of the command's op, and its limit in a minute. Messages for the backend and signals have budgets of
    /// their own once the session is identified.
    fn own_budget(&mut self, command: Option<&Command<'_>>) -> Option<(&mut Budget, u32)> {
        let command = command.filter(|command| matches!(command, Command::Send(_) | Command::Signal(_)))?;
        let on_demand = match &mut self.state {
            ConversationState::Ready(verified) => verified.on_demand_mut(),
            ConversationState::Joining(joining) => joining.verified.on_demand_mut(),
            _ => return None,
        };
        Some(match command {
            Command::Send(_) => (&mut on_demand.send_budget, self.rules.sends_per_minute),
            _ => (&mut on_demand.signal_budget, self.rules.signals_per_minute),
        })
    }

    fn on_command(
        &mut self,
        now: Now,
        text: &str,
        command: Command<'_>,
        is_over_budget: bool,
        actions: &mut Vec<Action>,
    ) {
        match command {
            Command::Heartbeat { time } => {
                actions.push(Action::Send(Event::HeartbeatAck { time: time.map(Into::into) }));
            }
            Command::HeartbeatAck => {}
            Command::Identify { token, channels } => self.on_identify(token.into_owned(), channels, actions),
            _ if !self.require_identified(text, is_over_budget, actions) => {}
            Command::Subscribe { channels, is_batch } => self.on_subscribe(&channels, is_batch, actions),
            Command::Unsubscribe { channels, is_batch } => self.on_unsubscribe(&channels, is_batch, actions),
            Command::Refresh { token } => self.on_refresh(Token(token.into_owned()), actions),
            Command::Members(command) => self.on_members_command(command, actions),
            Command::Send(command) => self.on_send(&command, is_over_budget, actions),
            Command::Signal(_) if is_over_budget => {}
            Command::Signal(command) => self.on_signal(now.monotonic, &command, actions),
            Command::History(command) => self.on_history_command(&command, actions),
        }
    }

    fn on_identify(&mut self, token: String, channels: Vec<ChannelRequest<'_>>, actions: &mut Vec<Action>) {
        let ConversationState::Unidentified { identify_by } = self.state else {
            return self.close(CloseCode::AlreadyIdentified, actions);
        };
        let requests = channels
            .into_iter()
            .map(|request| IdentifyChannel {
                since: request.since.as_deref().map(ResumePoint::parse),
                channel: request.channel.into(),
                last: request.last,
            })
            .collect();
        let verifying = Verifying { identify_by, requests, waiting: Vec::new() };
        self.state = ConversationState::Verifying(Box::new(verifying));
        actions.push(Action::Authenticate(Token(token)));
    }

    /// Whether to handle an op that needs an identity now. Before Identify, the op closes the session; until Ready is
    /// sent, it waits.
    fn require_identified(&mut self, text: &str, is_over_budget: bool, actions: &mut Vec<Action>) -> bool {
        let waiting = match &mut self.state {
            ConversationState::Ready(_) => return true,
            ConversationState::Verifying(verifying) => &mut verifying.waiting,
            ConversationState::Joining(joining) => &mut joining.waiting,
            ConversationState::Unidentified { .. } | ConversationState::Closed => {
                self.close(CloseCode::NotIdentified, actions);
                return false;
            }
        };
        if waiting.len() < MAX_WAITING_FRAMES {
            waiting.push(WaitingFrame { text: text.into(), is_over_budget });
        } else {
            self.close(CloseCode::RateLimited, actions);
        }
        false
    }
}
