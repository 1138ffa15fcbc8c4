//! Timeouts that a stop of the process does not use up.
//!
//! After the process was stopped or its machine was paused, timers fire before the runtime has asked the kernel what has
//! arrived meanwhile.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::{error::Elapsed, timeout};

/// A timer that fires so much later than it should was not waited for by a running process.
const LATE_TOLERANCE: Duration = Duration::from_millis(50);

/// Whether a wait of `bound` that began at `started` ended later than a running process would have ended it.
pub fn was_late(started: Instant, bound: Duration) -> bool {
    started.elapsed() > bound + LATE_TOLERANCE
}

/// As [`timeout`]; but if the end was noticed late, the future has the same time once more.
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
    async fn what_arrived_during_a_stop_was_in_time() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let answer = tokio::join!(timeout_awake(BOUND, receiver), async {
            // Nothing else of this thread runs meanwhile, and the timer is noticed before the answer.
            std::thread::park_timeout(BOUND + 2 * LATE_TOLERANCE);
            tokio::task::yield_now().await;
            sender.send(7)
        });
        assert_eq!(answer.0.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn what_never_comes_ends_even_after_a_stop() {
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
