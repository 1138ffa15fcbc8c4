//! What this process knows of the inbox in Redis.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::super::inbox::{InboxSendError, full_note};

/// How many messages of clients may wait for Redis. They have a bound of their own, so that clients cannot keep backends
/// from publishing.
pub(super) const MAX_SENDING: usize = 1024;

/// What this process knows of the inbox.
pub(super) struct InboxState {
    /// A message needs a permit while it waits for its answer.
    pub(super) sending: Semaphore,
    /// The number of entries as of the latest probe.
    pub(super) entries: AtomicU64,
    /// Redis does not let this user count the entries. Not asked again until a message was stored, because Redis logs
    /// each refusal.
    pub(super) is_count_refused: AtomicBool,
    /// Why Redis refused the latest message; `None`: it did not.
    refusal: Mutex<Option<String>>,
}

impl Default for InboxState {
    fn default() -> Self {
        Self {
            sending: Semaphore::new(MAX_SENDING),
            entries: AtomicU64::new(0),
            is_count_refused: AtomicBool::new(false),
            refusal: Mutex::default(),
        }
    }
}

impl InboxState {
    /// Notes the answer to a message, and logs each change between stored and refused.
    pub(super) fn note_outcome(&self, outcome: &Result<(), InboxSendError>) {
        let refusal = match outcome {
            // Redis runs the function again.
            Ok(()) | Err(InboxSendError::Full | InboxSendError::IdReused) => None,
            Err(InboxSendError::Refused(reason)) => Some(reason.clone()),
            Err(_) => return,
        };
        if refusal.is_none() {
            self.is_count_refused.store(false, Ordering::Relaxed);
        }
        let mut before = self.refusal.lock();
        match &refusal {
            Some(reason) if before.is_none() => log::warn!("redis: {}", refused_note(reason)),
            None if before.is_some() => log::info!("redis: clients can send messages again"),
            _ => {}
        }
        *before = refusal;
    }

    /// The notes in `/readyz`.
    pub(super) fn notes(&self, max_entries: u64) -> impl Iterator<Item = String> + use<> {
        let refused = self.refusal.lock().as_deref().map(refused_note);
        full_note(self.entries.load(Ordering::Relaxed), max_entries).into_iter().chain(refused)
    }
}

fn refused_note(reason: &str) -> String {
    format!("inbox: redis refuses the messages of clients: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_a_refusal_ends_with_the_refusal() {
        let inbox = InboxState::default();
        let notes = || inbox.notes(10).collect::<Vec<_>>();
        for answer in [Ok(()), Err(InboxSendError::Full), Err(InboxSendError::IdReused)] {
            inbox.note_outcome(&Err(InboxSendError::Refused("NOPERM".into())));
            inbox.note_outcome(&Err(InboxSendError::Unavailable));
            assert_eq!(notes(), [refused_note("NOPERM")], "nothing is known without an answer");
            inbox.note_outcome(&answer);
            assert_eq!(notes(), [""; 0], "{answer:?}");
        }
    }
}
