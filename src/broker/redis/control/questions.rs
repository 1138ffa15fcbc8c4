//! Questions: commands that change nothing. They are not kept for a replica that is cut off, and wait behind commands.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::super::control::StreamId;
use super::queued::QueuedCommand;

/// The key of the stream of questions after the prefix.
pub(super) const QUESTIONS: &str = "questions";
/// The payload that announces a question.
pub(super) const ANNOUNCEMENT: &[u8] = b"question";
/// A question is answered within this time or not at all. The admin port waits for as long.
pub(super) const QUESTION_TTL: Duration = Duration::from_secs(5);
/// The most questions that were read and not yet answered.
const MAX_WAITING: usize = 16;

/// The questions that were read.
#[derive(Default)]
pub(super) struct Questions {
    state: Mutex<QuestionQueue>,
    /// Notified when a question is added.
    added: Notify,
}

#[derive(Default)]
struct QuestionQueue {
    /// The id of the latest question that was read.
    read: StreamId,
    waiting: VecDeque<QueuedCommand>,
}

impl Questions {
    /// The id at which to begin to read, if Redis' clock shows `now_ms`. Older questions have nobody who waits.
    pub(super) fn first_unread(&self, now_ms: u64) -> StreamId {
        let oldest_ms = now_ms.saturating_sub(QUESTION_TTL.as_millis() as u64);
        self.state.lock().read.next().max(StreamId { ms: oldest_ms, number: 0 })
    }

    /// This question was read.
    pub(super) fn note_read(&self, id: StreamId) {
        self.state.lock().read = id;
    }

    /// Adds questions in their order. Returns how many older ones are dropped for them.
    pub(super) fn add(&self, questions: Vec<QueuedCommand>) -> usize {
        let mut state = self.state.lock();
        state.waiting.extend(questions);
        let dropped = state.waiting.len().saturating_sub(MAX_WAITING);
        state.waiting.drain(..dropped);
        self.added.notify_one();
        dropped
    }

    /// Waits for the next question. Nothing is lost if the caller stops waiting.
    pub(super) async fn next(&self) -> QueuedCommand {
        loop {
            let next = self.state.lock().waiting.pop_front();
            match next {
                Some(question) => return question,
                None => self.added.notified().await,
            }
        }
    }
}

/// Whether nobody waits for the answer to a question any more.
pub(super) fn is_expired(issued: Instant) -> bool {
    issued.elapsed() > QUESTION_TTL
}
