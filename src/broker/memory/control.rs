//! Control inside one process: commands go to the handler in their order, without a stream. Questions do not wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;

use super::super::control::{Applier, StreamId, new_replica_name};
use super::super::revocations::Revocations;
use super::super::{ControlAnswer, ControlCommand, ControlError, ControlOutcome};
use super::now_ms;

/// A command that is to be applied.
struct WaitingCommand {
    command: ControlCommand,
    issued: Instant,
    answer: oneshot::Sender<Option<ControlAnswer>>,
}

/// The commands that are to be applied, and the id of the latest one.
#[derive(Default)]
struct CommandQueue {
    waiting: VecDeque<WaitingCommand>,
    latest: StreamId,
}

impl CommandQueue {
    fn next_id(&mut self, now_ms: u64) -> StreamId {
        self.latest = self.latest.next().max(StreamId { ms: now_ms, number: 0 });
        self.latest
    }
}

/// The commands of this process.
pub(in crate::broker) struct MemoryControl {
    pub(in crate::broker) replica: String,
    pub(in crate::broker) revocations: Revocations,
    pub(in crate::broker) applier: Arc<Applier>,
    /// How long a revocation is kept if the command does not say it.
    revocation_ttl: Duration,
    queue: Arc<Mutex<CommandQueue>>,
    /// Locked while a command is applied.
    applying: Arc<AsyncMutex<()>>,
}

impl MemoryControl {
    /// `revocation_ttl`: how long a revocation is kept if its command does not say it.
    pub(super) fn new(revocation_ttl: Duration) -> Self {
        Self {
            replica: new_replica_name(),
            revocations: Revocations::default(),
            applier: Arc::default(),
            revocation_ttl,
            queue: Arc::default(),
            applying: Arc::default(),
        }
    }

    /// Applies a command, and waits until `deadline` for the handler. A command that is not applied by then is still
    /// applied.
    pub(super) async fn issue(
        &self,
        command: &ControlCommand,
        deadline: Duration,
    ) -> Result<ControlOutcome, ControlError> {
        command.check()?;
        if matches!(command, ControlCommand::Sessions(_)) {
            let id = self.queue.lock().next_id(now_ms());
            let answer = self.applier.apply_now(command.clone(), deadline).await;
            return Ok(self.outcome(id, answer));
        }
        let (issued, now_ms) = (Instant::now(), now_ms());
        let command = self.with_times(command, now_ms)?;
        let (answer, answered) = oneshot::channel();
        let id = self.enqueue(WaitingCommand { command, issued, answer }, now_ms);
        let (applier, queue, applying) =
            (Arc::clone(&self.applier), Arc::clone(&self.queue), Arc::clone(&self.applying));
        // A task of its own, because a handler must not be interrupted at the deadline. Each task applies the command
        // that is next, which may be another one than that of its caller.
        tokio::spawn(async move {
            let _lock = applying.lock().await;
            let next = queue.lock().waiting.pop_front();
            if let Some(next) = next {
                // The caller may have stopped waiting.
                let _ = next.answer.send(applier.apply(next.command, next.issued).await);
            }
        });
        let answer = timeout(deadline, answered).await.ok().and_then(Result::ok).flatten();
        Ok(self.outcome(id, answer))
    }

    fn outcome(&self, id: StreamId, answer: Option<ControlAnswer>) -> ControlOutcome {
        ControlOutcome { id: id.to_string(), ..ControlOutcome::of_one(&self.replica, answer) }
    }

    /// Queues a command. Returns its id.
    fn enqueue(&self, command: WaitingCommand, now_ms: u64) -> StreamId {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(command);
        queue.next_id(now_ms)
    }

    /// Records a revocation, and adds the times that the command left out. Refuses times that cannot be meant.
    fn with_times(&self, command: &ControlCommand, now_ms: u64) -> Result<ControlCommand, ControlError> {
        let mut command = command.clone();
        if let ControlCommand::Revoke(revocation) = &mut command {
            revocation.check_times(now_ms)?;
            if revocation.user.is_some() {
                revocation.issued_before.get_or_insert(now_ms);
            }
            let ttl_ms = u64::try_from(self.revocation_ttl.as_millis()).unwrap_or(u64::MAX);
            revocation.until.get_or_insert_with(|| now_ms.saturating_add(ttl_ms));
            let added = self.revocations.add_bounded(revocation, now_ms);
            added.map_err(|_| ControlError::Refused("there are too many revocations".into()))?;
        }
        Ok(command)
    }
}
