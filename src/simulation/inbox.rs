//! The messages of clients for the inbox, in each place where they wait, and the inbox in Redis.

use std::collections::{BTreeSet, VecDeque};

use crate::broker::InboxSendError;
use crate::session::sends::SendQueue;
use protocol::client_message::ClientMessage;

/// A message, by its client and its number, which counts from 1 for each client.
pub(super) type SentMessage = (usize, u64);

/// The messages of one client.
#[derive(Default)]
pub(super) struct ClientSends {
    pub(super) last: u64,
    /// Sent at least once and not acknowledged, in their order.
    pub(super) unacknowledged: VecDeque<u64>,
    /// How many messages of the current connection have no answer.
    pub(super) unanswered: usize,
    pub(super) is_ready: bool,
}

/// The messages of one session in its gateway.
#[derive(Default)]
pub(super) struct SessionSends {
    pub(super) queue: SendQueue,
    /// The message that is being sent.
    pub(super) call: Option<SendCall>,
}

/// A call of `gateway_send`, with its outcome once it is known.
pub(super) struct SendCall {
    pub(super) message: SentMessage,
    pub(super) outcome: Option<Result<(), InboxSendError>>,
}

impl SendCall {
    pub(super) fn new(message: &ClientMessage) -> Self {
        Self { message: parse_id(&message.id), outcome: None }
    }

    /// Whether Redis or the loss of the connection has decided the call.
    pub(super) fn is_decided(&self) -> bool {
        self.outcome.is_some()
    }
}

/// The inbox and its receipts in Redis.
#[derive(Clone, Default)]
pub(super) struct SimulatedInbox {
    pub(super) entries: VecDeque<SentMessage>,
    receipts: BTreeSet<SentMessage>,
}

impl SimulatedInbox {
    /// `gateway_send`.
    pub(super) fn store(
        &mut self,
        message: SentMessage,
        max_entries: usize,
        checks_receipts: bool,
    ) -> Result<(), InboxSendError> {
        if checks_receipts && self.receipts.contains(&message) {
            return Ok(());
        } else if self.entries.len() >= max_entries {
            return Err(InboxSendError::Full);
        }
        self.receipts.insert(message);
        self.entries.push_back(message);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// All users are the same, so the id names the client too.
pub(super) fn parse_id(id: &str) -> SentMessage {
    let (client, number) = id.split_once('-').unwrap();
    (client.parse().unwrap(), number.parse().unwrap())
}
