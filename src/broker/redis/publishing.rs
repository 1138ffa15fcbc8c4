//! Publishes on the connection for commands, in order, and retries while that connection is being replaced.
//!
//! A publication is retried only if that cannot publish it twice: it has an idempotency key, it was certainly not sent,
//! or Redis answered that it cannot run commands now.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_util::future::maybe_done;
use redis::RedisError;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::super::types::{PublishOutcome, PublishRequest, Published, check_request};
use super::super::{PublishError, Retry};
use super::commands::Commands;
use super::resend::{Next, Rounds, connection_replaced};
use super::state::RedisState;
use super::{function, link_error};
use protocol::position::Position;

/// The end of one attempt.
enum Attempt {
    Finished(PublishOutcome),
    /// Nothing was published, or an idempotency key makes it safe to publish again. The error is reported if there
    /// is no time left.
    Retry(PublishError),
    /// The same, but a retry does not need another connection.
    RetrySoon(PublishError),
    /// The same, because another server has the slot.
    Moved(PublishError),
    /// Redis does not have the function, which may have been flushed.
    FunctionMissing(PublishError),
}

/// The end of the publications of one call on one link.
pub(super) struct LinkOutcome {
    /// For each request its outcome, or the error of its latest attempt if it is to be sent again.
    pub(super) outcomes: Vec<Result<PublishOutcome, PublishError>>,
    /// Whether the server said that another one has the slot of a request.
    pub(super) is_moved: bool,
}

/// When a link gives requests back, so that they can be sent over another link.
pub(super) struct GiveBack<'a> {
    /// Whether another server has the slot of a request, as this link's server says.
    pub(super) if_moved: bool,
    /// Returns when other links may serve the channels.
    pub(super) rerouted: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// Publishes all requests in order and returns an outcome for each.
pub(super) async fn publish_all(
    state: &RedisState,
    requests: &[PublishRequest<'_>],
    retry: Retry,
) -> Vec<PublishOutcome> {
    let deadline = Instant::now() + state.options.response_timeout;
    let never = GiveBack { if_moved: false, rerouted: Box::pin(pending()) };
    let LinkOutcome { outcomes, .. } = publish(state, requests, retry, deadline, never).await;
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(Err)).collect()
}

/// Publishes all requests in order over one link.
///
/// The requests of one call are sent on one connection in their order. Retries keep the order, because a broken
/// connection has no unanswered request before an answered one.
pub(super) async fn publish(
    state: &RedisState,
    requests: &[PublishRequest<'_>],
    retry: Retry,
    deadline: Instant,
    mut give_back: GiveBack<'_>,
) -> LinkOutcome {
    let mut batch = PublicationBatch::new(state, requests);
    let mut rounds = Rounds::new(state, deadline, retry);
    loop {
        let mut next = batch.next();
        if let (Some(commands), Next::Connection) = (rounds.connection(), next) {
            let pending: Vec<_> = batch.pending().collect();
            let attempts = pending.iter().map(|index| attempt(state, &commands, &requests[*index], deadline));
            let attempts = join_in_order(attempts).await;
            let is_moved = attempts.iter().any(|attempt| matches!(attempt, Attempt::Moved(_)));
            let is_soon = is_moved || attempts.iter().any(|attempt| matches!(attempt, Attempt::RetrySoon(_)));
            let needs_function = !rounds.is_function_loaded()
                && attempts.iter().any(|attempt| matches!(attempt, Attempt::FunctionMissing(_)));
            for (index, attempt) in pending.into_iter().zip(attempts) {
                batch.settle(index, attempt, rounds.is_function_loaded());
            }
            if is_moved && give_back.if_moved {
                return batch.finish(true);
            }
            next = match batch.next() {
                Next::Connection if needs_function => Next::Function,
                Next::Connection if is_soon => Next::Soon,
                next => next,
            };
        }
        tokio::select! {
            biased;
            () = &mut give_back.rerouted => break,
            is_another = rounds.prepare(next) => {
                if !is_another {
                    break;
                }
            }
        }
    }
    batch.finish(false)
}

/// The publications of one call.
struct PublicationBatch<'a> {
    outcomes: Vec<PendingPublication>,
    /// Permits to wait for Redis, one for each publication that was admitted.
    _permits: Vec<SemaphorePermit<'a>>,
}

enum PendingPublication {
    /// To be sent, or sent again; with its latest error.
    Pending(PublishError),
    Finished(PublishOutcome),
}

impl<'a> PublicationBatch<'a> {
    fn new(state: &'a RedisState, requests: &[PublishRequest<'_>]) -> Self {
        let limits = state.dataset.payload_limits();
        let mut permits = Vec::with_capacity(requests.len());
        let outcomes = requests.iter().map(|request| {
            let permit = check_request(request, limits)
                .and_then(|()| check_push(state, request))
                .and_then(|()| state.publishing.try_acquire().map_err(|_| PublishError::Busy));
            match permit {
                Ok(permit) => {
                    permits.push(permit);
                    PendingPublication::Pending(PublishError::Unavailable)
                }
                Err(error) => PendingPublication::Finished(Err(error)),
            }
        });
        Self { outcomes: outcomes.collect(), _permits: permits }
    }

    fn pending(&self) -> impl Iterator<Item = usize> {
        let outcomes = self.outcomes.iter().enumerate();
        outcomes
            .filter_map(|(index, outcome)| matches!(outcome, PendingPublication::Pending(_)).then_some(index))
    }

    /// What must happen before the first round, or after one in which nothing else was found.
    fn next(&self) -> Next {
        if self.pending().next().is_some() { Next::Connection } else { Next::Finished }
    }

    fn settle(&mut self, index: usize, attempt: Attempt, is_function_loaded: bool) {
        self.outcomes[index] = match attempt {
            Attempt::Finished(outcome) => PendingPublication::Finished(outcome),
            Attempt::FunctionMissing(error) if is_function_loaded => PendingPublication::Finished(Err(error)),
            // If an attempt may have published the message, that must stay the outcome.
            Attempt::Retry(_) | Attempt::RetrySoon(_) | Attempt::Moved(_)
                if matches!(self.outcomes[index], PendingPublication::Pending(PublishError::Interrupted)) =>
            {
                return;
            }
            Attempt::Retry(error)
            | Attempt::RetrySoon(error)
            | Attempt::Moved(error)
            | Attempt::FunctionMissing(error) => PendingPublication::Pending(error),
        };
    }

    fn finish(self, is_moved: bool) -> LinkOutcome {
        let outcomes = self.outcomes.into_iter().map(|outcome| match outcome {
            PendingPublication::Pending(error) => Err(error),
            PendingPublication::Finished(outcome) => Ok(outcome),
        });
        LinkOutcome { outcomes: outcomes.collect(), is_moved }
    }
}

fn check_push(state: &RedisState, request: &PublishRequest<'_>) -> Result<(), PublishError> {
    if request.push && state.presence.is_none() { Err(PublishError::PresenceDisabled) } else { Ok(()) }
}

/// Sends one publication and waits for the answer in the caller's task. There is one hop between threads each way, and
/// no intermediate task with a queue.
async fn attempt(
    state: &RedisState,
    commands: &Commands,
    request: &PublishRequest<'_>,
    deadline: Instant,
) -> Attempt {
    if commands.is_closed() {
        return Attempt::Retry(PublishError::Unavailable);
    }
    let sending = timeout_at(deadline, send(state, commands, request));
    let outcome = if matches!(request.durable, Some(Some(_))) {
        tokio::select! {
            biased;
            outcome = sending => outcome,
            // redis-rs may leave a request on a closed connection unanswered until its timeout.
            () = connection_replaced(state, commands) => return Attempt::Retry(PublishError::Interrupted),
        }
    } else {
        sending.await
    };
    match outcome {
        Err(_) => Attempt::Finished(Err(PublishError::Timeout)),
        Ok(Ok(outcome)) => Attempt::Finished(outcome),
        Ok(Err(error)) => classify(state, commands, request, &error),
    }
}

async fn send(
    state: &RedisState,
    commands: &Commands,
    request: &PublishRequest<'_>,
) -> Result<PublishOutcome, RedisError> {
    let mut connection = commands.connection();
    let key = state.options.names().channel(request.channel.as_str());
    let Some(idempotency_key) = request.durable else {
        let replicas =
            super::publish(&mut connection, state.options.names(), &key, request.message.get()).await?;
        return Ok(Ok(Published::Plainly { replicas }));
    };
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_publish").arg(1).arg(key).arg(request.message.get());
    let (answer, is_pushed) = if request.push {
        call.arg(idempotency_key.unwrap_or_default()).arg("push").arg("report");
        let (answer, is_pushed): (String, u8) = call.query_async(&mut connection).await?;
        (answer, Some(is_pushed == 1))
    } else {
        (call.arg(idempotency_key).query_async(&mut connection).await?, None)
    };
    Ok(match (Position::parse(&answer), is_pushed) {
        (Some(position), None) => Ok(Published::Durably(position)),
        (Some(position), Some(is_pushed)) => Ok(Published::WithPush { position, is_pushed }),
        (None, _) => Err(PublishError::InvalidAnswer(format!(
            "the function returned {answer:?}, which is no position"
        ))),
    })
}

fn classify(
    state: &RedisState,
    commands: &Commands,
    request: &PublishRequest<'_>,
    error: &RedisError,
) -> Attempt {
    if error.is_timeout() {
        Attempt::Finished(Err(PublishError::Timeout))
    } else if function::is_missing(error) {
        Attempt::FunctionMissing(PublishError::HistoryUnavailable(function::reason(error)))
    } else if function::is_unknown(error) {
        Attempt::Finished(Err(PublishError::HistoryUnavailable(function::reason(error))))
    } else if function::is_key_reused(error) {
        Attempt::Finished(Err(PublishError::KeyReused))
    } else if error.code().is_some() {
        let refused = PublishError::Refused(link_error::describe(error));
        if state.is_moved(error) {
            Attempt::Moved(refused)
        } else if state.is_not_run(error) {
            Attempt::RetrySoon(refused)
        } else {
            Attempt::Finished(Err(refused))
        }
    } else {
        // The connection is still good after an answer of an unexpected type.
        if error.is_unrecoverable_error() {
            commands.mark_closed();
        }
        state.probe_now.notify_one();
        match request.durable {
            Some(Some(_)) => Attempt::Retry(PublishError::Interrupted),
            _ => Attempt::Finished(Err(PublishError::Interrupted)),
        }
    }
}

/// Waits for all futures and polls them in order, which keeps the order of messages. (`join_all` polls more than thirty
/// futures in the order of their wake-ups, which reordered messages.)
async fn join_in_order<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    // Answers arrive in order, so the finished futures are nearly always the first ones.
    let mut finished = 0;
    poll_fn(|context| {
        let mut is_all = true;
        for (index, future) in futures.iter_mut().enumerate().skip(finished) {
            let is_ready = future.as_mut().poll(context).is_ready();
            is_all &= is_ready;
            if is_all {
                finished = index + 1;
            }
        }
        if is_all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.iter_mut().filter_map(|future| future.as_mut().take_output()).collect()
}
