//! Messages of clients for the inbox: clients that repeat them, the calls of `gateway_send`, and the backend.

use std::collections::BTreeSet;

use super::checker::CheckResult;
use super::inbox::{SendCall, SentMessage, SessionSends, parse_id};
use super::plan::{Fault, PlantedBug};
use super::run::{NAMES, OWN, RunFailure, SimulationRun, trace};
use crate::broker::InboxSendError;
use protocol::conversation::Input;

/// The most messages that a client sends without waiting for answers.
const MAX_WINDOW: u64 = 4;

impl SimulationRun {
    /// A client sends a few messages, unless an earlier one has no answer: a client that wants to keep its order waits.
    pub(super) fn send_messages(&mut self, client: usize) {
        let count = self.rng.between(1, MAX_WINDOW);
        let sends = &mut self.clients[client].sends;
        if sends.unacknowledged.is_empty() && sends.is_ready {
            sends.unacknowledged.extend(sends.last + 1..=sends.last + count);
            sends.last += count;
            self.repeat_messages(client);
        }
    }

    /// A client sends all messages that are not acknowledged.
    fn repeat_messages(&mut self, client: usize) {
        let one = &mut self.clients[client];
        let Some(session) = &mut one.session else { return };
        for number in &one.sends.unacknowledged {
            let channel = NAMES[OWN];
            let text = format!(r#"{{"op":16,"id":"{client}-{number}","channel":"{channel}","message":1}}"#);
            session.inbound.push_back(text);
        }
        one.sends.unanswered = one.sends.unacknowledged.len();
    }

    /// The client has read Ready.
    pub(super) fn on_ready(&mut self, client: usize) {
        self.clients[client].sends.is_ready = true;
        self.repeat_messages(client);
    }

    /// The client has read an answer to a message.
    pub(super) fn on_send_answer(&mut self, client: usize, id: &str, is_acknowledged: bool) -> CheckResult {
        let (_, number) = parse_id(id);
        let sends = &mut self.clients[client].sends;
        if is_acknowledged {
            sends.unacknowledged.retain(|unacknowledged| *unacknowledged != number);
        }
        sends.unanswered = sends.unanswered.checked_sub(1).ok_or("an answer to no message")?;
        if sends.unanswered == 0 {
            self.repeat_messages(client);
        }
        Ok(())
    }

    /// The client's connection is gone. Redis may execute the call of its session later.
    pub(super) fn on_sends_cut(&mut self, client: usize, sends: SessionSends) {
        let one = &mut self.clients[client].sends;
        (one.is_ready, one.unanswered) = (false, 0);
        if let Some(SendCall { message, outcome: None }) = sends.call {
            self.late_calls.push(message);
        }
    }

    /// Redis executes the call of a session, or a fault prevents that or loses the answer.
    pub(super) fn execute_call(&mut self, client: usize) {
        let is_faulty = !self.is_settling() && self.rng.percent(25);
        let Some(session) = &mut self.clients[client].session else { return };
        let is_connected = self.replicas[session.replica].is_connected();
        let Some(call) = session.sends.call.as_mut().filter(|call| !call.is_decided()) else { return };
        let message = call.message;
        let is_lost = Err(InboxSendError::Unavailable);
        let outcome = if !is_connected {
            is_lost
        } else if !is_faulty {
            self.store(message)
        } else if self.rng.percent(50) {
            // Only the answer is lost.
            let _ = self.store(message);
            is_lost
        } else {
            self.late_calls.extend(self.rng.percent(50).then_some(message));
            // The planted bug does not wait for the answer.
            if self.plan.planted_bug == PlantedBug::EarlyAcknowledgement { Ok(()) } else { is_lost }
        };
        trace!(self, "message {message:?}: {outcome:?}");
        let call = self.clients[client].session.as_mut().and_then(|session| session.sends.call.as_mut());
        call.into_iter().for_each(|call| call.outcome = Some(outcome.clone()));
    }

    /// Redis executes a call that a gateway gave up.
    pub(super) fn execute_late_call(&mut self) {
        let message = self.late_calls.swap_remove(self.rng.below(self.late_calls.len()));
        let outcome = self.store(message);
        trace!(self, "late message {message:?}: {outcome:?}");
    }

    fn store(&mut self, message: SentMessage) -> Result<(), InboxSendError> {
        let checks_receipts = self.plan.planted_bug != PlantedBug::ForgottenReceipt;
        self.cluster.inbox().store(message, self.plan.inbox_size, checks_receipts)
    }

    /// A session handles the outcome of its call, as its actor does.
    pub(super) fn finish_call(&mut self, client: usize) {
        let Some(session) = &mut self.clients[client].session else { return };
        let Some(SendCall { outcome: Some(outcome), .. }) = session.sends.call.take() else { return };
        let queue = &mut session.sends.queue;
        let is_overtaken = self.plan.planted_bug == PlantedBug::OvertakenMessage && outcome.is_err();
        let mut after = queue.finish(if is_overtaken { Ok(()) } else { outcome }, 0.5);
        if is_overtaken {
            after.answers[0].1 = Err(protocol::client_message::SendError::Unavailable);
        }
        session.sends.call = after.next.as_ref().map(SendCall::new);
        for (id, outcome) in after.answers {
            self.drive(client, Input::Sent { id, outcome });
        }
    }

    /// The backend processes the oldest entry and deletes it.
    pub(super) fn process_entry(&mut self) {
        self.processed.extend(self.cluster.inbox().entries.pop_front());
    }

    /// Each message of each client was processed once, in its order. Redis may have lost data.
    pub(super) fn check_inbox(&self) -> Result<(), RunFailure> {
        let losses = [Fault::RestartWithLostEnd, Fault::RestartEmpty, Fault::Flush];
        let is_kept = !losses.iter().any(|fault| self.plan.may(*fault));
        for (number, client) in self.clients.iter().enumerate() {
            let of_client = self.processed.iter().filter(|(of, _)| *of == number);
            let processed: Vec<u64> = of_client.map(|(_, message)| *message).collect();
            let outcome = if client.sends.unacknowledged.is_empty() {
                if is_kept { check_processed(&processed, client.sends.last) } else { Ok(()) }
            } else {
                Err("a message is never acknowledged".to_owned())
            };
            outcome.map_err(|error| format!("client {number}: {error}"))?;
        }
        Ok(())
    }
}

/// Compares the processed messages of a client with 1, 2 … `last`.
fn check_processed(processed: &[u64], last: u64) -> CheckResult {
    let mut seen = BTreeSet::new();
    for (at, number) in processed.iter().enumerate() {
        if !seen.insert(*number) {
            return Err(format!("message {number} is stored twice"));
        }
        if at > 0 && *number < processed[at - 1] {
            return Err(format!("message {number} is stored after message {}", processed[at - 1]));
        }
    }
    match (1..=last).find(|number| !seen.contains(number)) {
        Some(missing) => Err(format!("message {missing} is acknowledged and was never stored")),
        None => Ok(()),
    }
}
