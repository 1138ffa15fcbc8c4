//! Timeouts that do not expire because the process or the machine was paused.
//!
//! When the process resumes, overdue timers fire before the runtime has read data that arrived during the pause.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{error::Elapsed, timeout};

/// A timer that fires later than this was delayed by a pause.
const LATE_TOLERANCE: Duration = Duration::from_millis(50);

/// Whether a wait of `bound` since `started` ended so late that the process must have been paused.
pub fn was_late(started: Instant, bound: Duration) -> bool {
    started.elapsed() > bound + LATE_TOLERANCE
}

/// Like [`timeout`], but gives the future the same time again if the timer fired late.
///
/// # Errors
/// The future did not complete in time.
pub async fn timeout_awake<F: Future>(bound: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (started, mut future) = (Instant::now(), pin!(future));
    match timeout(bound, &mut future).await {
        Err(_) if was_late(started, bound) => timeout(bound, future).await,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn an_answer_during_a_pause_is_in_time() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let answer = tokio::join!(timeout_awake(BOUND, receiver), async {
            // Blocks the thread, so that the runtime handles the timer before the answer.
            std::thread::park_timeout(BOUND + 2 * LATE_TOLERANCE);
            tokio::task::yield_now().await;
            sender.send(7)
        });
        assert_eq!(answer.0.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn a_future_without_an_end_times_out_after_a_pause() {
        let started = Instant::now();
        let never = async {
            std::thread::park_timeout(BOUND + 2 * LATE_TOLERANCE);
            std::future::pending::<()>().await;
        };
        assert!(timeout_awake(BOUND, never).await.is_err());
        assert!(was_late(started, BOUND));
        assert!(timeout_awake(BOUND, std::future::pending::<()>()).await.is_err());
    }
}
