//! The messages of one session for the inbox. They are sent one after the other, which keeps their order.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use crate::broker::{Broker, InboxMessage, InboxSendError};
use crate::metrics::{Metrics, SendResult};
use protocol::SessionId;
use protocol::client_message::{ClientMessage, SendError};

/// The bounds of the wait that a client is told while the inbox is full, in milliseconds.
const MIN_WAIT_MS: u64 = 1_000;
const MAX_WAIT_MS: u64 = 5_000;

/// The messages of a session that wait for an answer. The conversation bounds their number.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    waiting: VecDeque<ClientMessage>,
    /// The id of the message that is being sent.
    current: Option<Box<str>>,
    /// How often in a row the inbox was full.
    full_count: u32,
}

/// The queues of the sessions of one worker thread that wait for an answer.
#[derive(Debug, Default)]
pub struct SendQueues(RefCell<HashMap<SessionId, SendQueue>>);

impl SendQueues {
    /// Adds a message of a session. Returns it if it is to be sent now.
    pub(super) fn push(&self, session: SessionId, message: ClientMessage) -> Option<ClientMessage> {
        self.0.borrow_mut().entry(session).or_default().push(message)
    }

    /// The message that a session was sending has this outcome.
    pub(super) fn finish(
        &self,
        session: SessionId,
        outcome: Result<(), InboxSendError>,
    ) -> Option<AfterSend> {
        let mut queues = self.0.borrow_mut();
        let queue = queues.get_mut(&session)?;
        let after = queue.finish(outcome, rand::random());
        if queue.is_idle() {
            queues.remove(&session);
        }
        Some(after)
    }

    /// A session has ended.
    pub(super) fn remove(&self, session: SessionId) {
        self.0.borrow_mut().remove(&session);
    }
}

/// What follows an answer of the broker.
#[derive(Debug)]
pub(crate) struct AfterSend {
    /// The ids of messages, each with its outcome.
    pub(crate) answers: Vec<(Box<str>, Result<(), SendError>)>,
    /// The message to send next.
    pub(crate) next: Option<ClientMessage>,
}

impl SendQueue {
    /// Adds a message. Returns it if it is to be sent now.
    pub(crate) fn push(&mut self, message: ClientMessage) -> Option<ClientMessage> {
        if self.current.is_some() {
            self.waiting.push_back(message);
            return None;
        }
        self.current = Some(message.id.clone());
        Some(message)
    }

    /// The message that was being sent has this outcome. `random`, from 0 to 1, spreads the clients' next attempts.
    pub(crate) fn finish(&mut self, outcome: Result<(), InboxSendError>, random: f64) -> AfterSend {
        let outcome = outcome.map_err(|error| self.answer_of(&error, random));
        if !matches!(outcome, Err(SendError::Busy { .. })) {
            self.full_count = 0;
        }
        let mut ids: Vec<Box<str>> = self.current.take().into_iter().collect();
        if matches!(outcome, Err(SendError::Busy { .. } | SendError::Unavailable)) {
            // The client sends this message again. A later one that was stored meanwhile would be before it.
            ids.extend(self.waiting.drain(..).map(|message| message.id));
        }
        let next = self.waiting.pop_front();
        self.current = next.as_ref().map(|message| message.id.clone());
        AfterSend { answers: ids.into_iter().map(|id| (id, outcome)).collect(), next }
    }

    /// Whether a new queue would do the same.
    fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty() && self.full_count == 0
    }

    fn answer_of(&mut self, error: &InboxSendError, random: f64) -> SendError {
        match error {
            InboxSendError::Full => {
                self.full_count = self.full_count.saturating_add(1);
                let longest = MIN_WAIT_MS.saturating_mul(1 << self.full_count.min(8)).min(MAX_WAIT_MS);
                let spread = (longest - MIN_WAIT_MS) as f64 * random;
                SendError::Busy { after_ms: MIN_WAIT_MS + spread as u64 }
            }
            InboxSendError::IdReused => SendError::IdReused,
            InboxSendError::BadMessage(_) => SendError::NotAllowed,
            InboxSendError::Unavailable | InboxSendError::Refused(_) => SendError::Unavailable,
        }
    }
}

/// Puts a message into the inbox. The broker answers within `broker.response_timeout`.
pub(super) async fn send(
    broker: Broker,
    user: Box<str>,
    session: SessionId,
    message: ClientMessage,
) -> Result<(), InboxSendError> {
    let ClientMessage { id, channel, message } = &message;
    broker.send(&InboxMessage { user: &user, session, channel, id, message }).await
}

/// Counts an outcome.
pub(super) fn count(metrics: &Metrics, outcome: &Result<(), InboxSendError>) {
    let result = match outcome {
        Ok(()) => SendResult::Stored,
        Err(InboxSendError::Full) => SendResult::Busy,
        Err(InboxSendError::Unavailable) => SendResult::Unavailable,
        Err(InboxSendError::IdReused | InboxSendError::BadMessage(_)) => SendResult::Refused,
        Err(InboxSendError::Refused(_)) => SendResult::Failed,
    };
    Metrics::count(&metrics.sends, result);
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::channel::ChannelName;
    use serde_json::value::RawValue;

    fn message(id: &str) -> ClientMessage {
        let message = RawValue::from_string("1".into()).unwrap();
        ClientMessage { id: id.into(), channel: ChannelName::parse("room:7").unwrap(), message }
    }

    /// A queue with messages a, b and c, of which a is being sent.
    fn queue() -> SendQueue {
        let mut queue = SendQueue::default();
        assert_eq!(queue.push(message("a")), Some(message("a")));
        assert_eq!([queue.push(message("b")), queue.push(message("c"))], [None, None]);
        queue
    }

    fn ids(after: &AfterSend) -> Vec<&str> {
        after.answers.iter().map(|(id, _)| &**id).collect()
    }

    #[test]
    fn messages_are_sent_one_after_the_other() {
        let mut queue = queue();
        for (id, next) in [("a", Some("b")), ("b", Some("c")), ("c", None)] {
            let after = queue.finish(Ok(()), 0.0);
            assert_eq!((after.answers, after.next), (vec![(id.into(), Ok(()))], next.map(message)));
        }
        assert_eq!(queue.push(message("d")), Some(message("d")));
    }

    #[test]
    fn messages_behind_one_to_be_repeated_are_to_be_repeated_too() {
        for (error, answer) in [
            (InboxSendError::Unavailable, SendError::Unavailable),
            (InboxSendError::Refused("NOPERM".into()), SendError::Unavailable),
            (InboxSendError::Full, SendError::Busy { after_ms: 1_000 }),
        ] {
            let mut queue = queue();
            let after = queue.finish(Err(error), 0.0);
            assert_eq!(ids(&after), ["a", "b", "c"]);
            assert!(after.answers.iter().all(|(_, outcome)| *outcome == Err(answer)));
            assert_eq!((after.next, queue.push(message("a"))), (None, Some(message("a"))));
        }
        let mut queue = queue();
        let after = queue.finish(Err(InboxSendError::IdReused), 0.0);
        assert_eq!(after.answers, [("a".into(), Err(SendError::IdReused))]);
        assert_eq!(after.next, Some(message("b")), "a refused message is not repeated");
    }

    #[test]
    fn the_wait_grows_while_the_inbox_stays_full() {
        let mut queue = SendQueue::default();
        let mut wait = |outcome, random| {
            queue.push(message("a"));
            match queue.finish(outcome, random).answers[0].1 {
                Err(SendError::Busy { after_ms }) => after_ms,
                _ => 0,
            }
        };
        let waits = [1.0, 1.0, 1.0, 1.0, 0.5, 0.0].map(|random| wait(Err(InboxSendError::Full), random));
        assert_eq!(waits, [2_000, 4_000, 5_000, 5_000, 3_000, 1_000]);
        assert_eq!(wait(Ok(()), 1.0), 0);
        assert_eq!(wait(Err(InboxSendError::Full), 1.0), 2_000);
    }
}
