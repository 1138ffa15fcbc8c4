//! Checks that the link's thread responds. A thread that is blocked in a system call cannot report it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How many checks may wait. Each one comes from a request that waits no longer than its deadline.
const MAX_WAITING: usize = 64;

type LivenessCheck = oneshot::Sender<()>;

/// Sends checks to the link's thread.
#[derive(Debug)]
pub(super) struct ThreadCheck {
    checks: mpsc::Sender<LivenessCheck>,
    /// `None` once the link's thread answers checks.
    receiver: Mutex<Option<mpsc::Receiver<LivenessCheck>>>,
}

impl Default for ThreadCheck {
    fn default() -> Self {
        let (checks, receiver) = mpsc::channel(MAX_WAITING);
        Self { checks, receiver: Mutex::new(Some(receiver)) }
    }
}

impl ThreadCheck {
    /// Answers checks. Only the first call does; later calls wait without end.
    pub(super) async fn run(&self) -> std::convert::Infallible {
        let receiver = self.receiver.lock().take();
        if let Some(mut checks) = receiver {
            while let Some(check) = checks.recv().await {
                // The caller may have stopped waiting.
                let _ = check.send(());
            }
        }
        std::future::pending().await
    }

    /// Whether the link's thread responds within `deadline`.
    pub(super) async fn responds(&self, deadline: Duration) -> bool {
        let (check, answer) = oneshot::channel();
        let response = async { self.checks.send(check).await.is_ok() && answer.await.is_ok() };
        timeout(deadline, response).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn only_a_running_thread_responds() {
        let check = ThreadCheck::default();
        assert!(!check.responds(DEADLINE).await, "no thread answers yet");
        tokio::select! {
            never = check.run() => match never {},
            answered = check.responds(Duration::from_secs(20)) => assert!(answered),
        }
        assert!(!check.responds(DEADLINE).await, "the receiver was dropped");
    }
}
