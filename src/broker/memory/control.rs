//! Control inside one process: commands go to the handler in their order, without a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::super::control::{Applier, new_replica_name};
use super::super::revocations::Revocations;
use super::super::{ControlCommand, ControlError, ControlOutcome};
use super::now_ms;

/// How long a revocation is kept if the command does not say it; the default of `auth.max_age`.
const REVOCATION_TTL_MS: u64 = 30 * 24 * 3600 * 1000;

/// The commands of this process.
pub(in crate::broker) struct MemoryControl {
    pub(in crate::broker) replica: String,
    pub(in crate::broker) revocations: Revocations,
    pub(in crate::broker) applier: Arc<Applier>,
    /// The id of the latest command. Locked while a command is applied.
    latest: Arc<Mutex<(u64, u64)>>,
}

impl Default for MemoryControl {
    fn default() -> Self {
        Self {
            replica: new_replica_name(),
            revocations: Revocations::default(),
            applier: Arc::default(),
            latest: Arc::default(),
        }
    }
}

impl MemoryControl {
    /// Applies a command, and waits until `deadline` for the handler. A command that is not applied by then is still
    /// applied.
    pub(super) async fn issue(
        &self,
        command: &ControlCommand,
        deadline: Duration,
    ) -> Result<ControlOutcome, ControlError> {
        command.check()?;
        let (issued, now_ms) = (Instant::now(), now_ms());
        let command = self.with_times(command, now_ms)?;
        let (applier, latest) = (Arc::clone(&self.applier), Arc::clone(&self.latest));
        // A task of its own, because a handler must not be interrupted at the deadline.
        let applying = tokio::spawn(async move {
            let mut latest = latest.lock().await;
            *latest = if now_ms > latest.0 { (now_ms, 0) } else { (latest.0, latest.1 + 1) };
            let id = format!("{}-{}", latest.0, latest.1);
            (id, applier.apply(command, issued).await)
        });
        let mut outcome = ControlOutcome::default();
        match timeout(deadline, applying).await {
            Ok(Ok((id, Some(answer)))) => {
                outcome.id = id;
                outcome.replicas.insert(self.replica.clone(), answer);
            }
            Ok(Ok((id, None))) => {
                outcome.id = id;
                outcome.missing.push(self.replica.clone());
            }
            Ok(Err(_)) | Err(_) => outcome.missing.push(self.replica.clone()),
        }
        Ok(outcome)
    }

    /// Records a revocation, and adds the times that the command left out.
    fn with_times(&self, command: &ControlCommand, now_ms: u64) -> Result<ControlCommand, ControlError> {
        let mut command = command.clone();
        if let ControlCommand::Revoke(revocation) = &mut command {
            if revocation.user.is_some() {
                revocation.issued_before.get_or_insert(now_ms);
            }
            revocation.until.get_or_insert(now_ms + REVOCATION_TTL_MS);
            let added = self.revocations.add_bounded(revocation, now_ms);
            added.map_err(|_| ControlError::Refused("there are too many revocations".into()))?;
        }
        Ok(command)
    }
}
