//! Signals of the client (op 18). On each channel at most one goes out in `session.signal_interval`. A newer one
//! replaces the one that waits.

use std::time::Instant;

use serde_json::value::RawValue;

use super::verified::VerifiedSession;
use super::{Action, Conversation, ConversationState};
use crate::channel::ChannelName;
use crate::event::{Event, SoftError};
use crate::signal::{ClientSignal, MAX_SIGNAL_BYTES, SignalCommand};

/// A channel on which the session has sent a signal.
#[derive(Debug)]
pub(super) struct SignalSlot {
    channel: ChannelName,
    /// When the next signal may go out.
    next_at: Instant,
    /// The newest signal since then.
    waiting: Option<Box<RawValue>>,
}

impl Conversation {
    /// Handles op 18.
    pub(super) fn on_signal(&mut self, now: Instant, command: &SignalCommand<'_>, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let allowed = ChannelName::parse(&command.channel)
            .ok()
            .filter(|channel| self.rules.namespaces.of(channel).signals && verified.is_subscribed(channel));
        let error = match allowed {
            None => SoftError::NotAllowed,
            Some(_) if command.signal.get().len() > MAX_SIGNAL_BYTES => SoftError::TooBig,
            Some(channel) => {
                let signal = command.signal.to_owned();
                let slots = &mut verified.on_demand_mut().signals;
                // Slots whose interval has ended are not needed.
                slots.retain(|slot| slot.next_at > now || slot.waiting.is_some());
                let slot = slots.iter_mut().find(|slot| slot.channel == channel);
                match slot {
                    Some(slot) if slot.next_at > now => slot.waiting = Some(signal),
                    slot => {
                        let next_at = now + self.rules.signal_interval;
                        match slot {
                            Some(slot) => (slot.next_at, slot.waiting) = (next_at, None),
                            None => {
                                slots.push(SignalSlot { channel: channel.clone(), next_at, waiting: None });
                            }
                        }
                        actions.push(Action::Signal(ClientSignal { channel, signal }));
                    }
                }
                return;
            }
        };
        actions.push(Action::Send(Event::ChannelError { channel: command.channel.as_ref().into(), error }));
    }

    /// Sends the waiting signals whose interval has ended.
    pub(super) fn send_due_signals(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ConversationState::Ready(verified) = &mut self.state else { return };
        let Some(on_demand) = &mut verified.on_demand else { return };
        for slot in on_demand.signals.iter_mut().filter(|slot| slot.next_at <= now) {
            if let Some(signal) = slot.waiting.take() {
                slot.next_at = now + self.rules.signal_interval;
                actions.push(Action::Signal(ClientSignal { channel: slot.channel.clone(), signal }));
            }
        }
    }
}

impl VerifiedSession {
    /// When the next waiting signal is due; `None` if none waits.
    pub(super) fn signal_deadline(&self) -> Option<Instant> {
        let slots = &self.on_demand.as_ref()?.signals;
        slots.iter().filter(|slot| slot.waiting.is_some()).map(|slot| slot.next_at).min()
    }
}

impl SignalSlot {
    pub(super) fn channel(&self) -> &ChannelName {
        &self.channel
    }
}
