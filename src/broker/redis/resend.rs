//! Sends again what Redis did not run, or what can be sent twice.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::Retry;
use super::commands::Commands;
use super::function;
use super::state::{LinkState, RedisState};

/// The mean wait before something is sent again to a Redis that cannot run commands now. The wait varies, so what was
/// refused together is not sent again together.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(50);

/// What must happen before the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: everything is finished.
    Finished,
    /// A new connection.
    Connection,
    /// Nothing but a short wait.
    Soon,
    /// The function library must be loaded. Only a round before it is loaded returns this.
    Function,
}

/// The rounds of one call. A loop, not a function with a callback: the future of such a function is not `Send`.
pub(super) struct Rounds<'a> {
    state: &'a RedisState,
    links: watch::Receiver<LinkState>,
    deadline: Instant,
    retry: Retry,
    commands: Option<Commands>,
    is_function_loaded: bool,
}

impl<'a> Rounds<'a> {
    /// Rounds until `deadline`. With [`Retry::Never`] there is one, and another one only after a missing library, which
    /// published nothing.
    pub(super) fn new(state: &'a RedisState, deadline: Instant, retry: Retry) -> Self {
        Self { state, links: state.watch(), deadline, retry, commands: None, is_function_loaded: false }
    }

    /// The connection for the next round, if there is one.
    pub(super) fn connection(&mut self) -> Option<Commands> {
        self.commands = self.links.borrow_and_update().publishing();
        self.commands.clone()
    }

    /// Whether the function library was loaded between two rounds.
    pub(super) fn is_function_loaded(&self) -> bool {
        self.is_function_loaded
    }

    /// Waits until another round may succeed. Returns `false` if there is none: everything is finished, the deadline
    /// passed, or the link is stopped.
    pub(super) async fn prepare(&mut self, mut next: Next) -> bool {
        if let (Next::Function, Some(commands)) = (next, &self.commands) {
            match function::ensure_loaded(self.state, &mut commands.connection()).await {
                Ok(()) => {
                    self.is_function_loaded = true;
                    return true;
                }
                Err(_) => next = Next::Soon,
            }
        }
        let is_last = next == Next::Finished || self.retry == Retry::Never;
        if is_last || self.links.borrow().is_stopped() {
            return false;
        }
        let is_soon = next == Next::Soon;
        if !is_soon {
            self.state.probe_now.notify_one();
        }
        timeout_at(self.deadline, wait_for_connection(&mut self.links, is_soon)).await.is_ok()
    }
}

/// Waits until there may be another connection; with `is_soon`, at most for the retry delay.
async fn wait_for_connection(links: &mut watch::Receiver<LinkState>, is_soon: bool) {
    tokio::select! {
        // The sender is in the state, so the channel stays open.
        _ = links.changed() => {}
        () = sleep(RETRY_DELAY.mul_f64(rand::random_range(0.5..1.5))), if is_soon => {}
    }
}

/// Returns once there is another connection, or the link has ended for good.
pub(super) async fn connection_replaced(state: &RedisState, commands: &Commands) {
    let is_another = |link: &LinkState| {
        link.is_stopped() || link.publishing().is_some_and(|found| !found.is_same_connection(commands))
    };
    // The sender is in the state, so the channel stays open.
    let _ = state.watch().wait_for(is_another).await;
}

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum QueryError {
    /// There is no connection.
    Unavailable,
    /// Redis did not answer in time.
    Timeout,
    /// The connection broke while it waited for the answer.
    Broken,
    /// Redis answered with an error, or with something else than expected.
    Refused(RedisError),
}

/// Runs a query within `broker.response_timeout`. Repeats it while Redis answers that it did not run it.
pub(super) async fn query<T>(
    state: &RedisState,
    attempt: impl AsyncFn(MultiplexedConnection) -> RedisResult<T>,
) -> Result<T, QueryError> {
    let deadline = Instant::now() + state.options.response_timeout;
    loop {
        let commands = state.watch().borrow().publishing().ok_or(QueryError::Unavailable)?;
        let error = match timeout_at(deadline, attempt(commands.connection())).await {
            Err(_) => return Err(QueryError::Timeout),
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
        };
        if state.is_not_run(&error) && wait(deadline).await {
            continue;
        }
        return Err(if error.is_timeout() {
            QueryError::Timeout
        } else if error.code().is_some() || !error.is_unrecoverable_error() {
            QueryError::Refused(error)
        } else {
            commands.mark_closed();
            state.probe_now.notify_one();
            QueryError::Broken
        });
    }
}

/// Waits a moment. Returns `false` if that takes longer than until `deadline`.
pub(super) async fn wait(deadline: Instant) -> bool {
    let delay = RETRY_DELAY.mul_f64(rand::random_range(0.5..1.5));
    let has_time = Instant::now() + delay < deadline;
    if has_time {
        sleep(delay).await;
    }
    has_time
}
