//! Reads which users are online on any replica: for HTTP, and for the subscribers of `online:<user>`. Sends the other
//! queries about presence.

use std::convert::Infallible;
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::time::{sleep, timeout};

use super::super::PresenceError;
use super::super::link::PresenceQuery;
use super::commands::Commands;
use super::function;
use super::link_error::describe;
use super::not_run::NotRun;
use super::resend::{self, QueryError};
use super::state::RedisState;
use protocol::channel::ChannelName;
use protocol::presence::UserPresence;

/// The most users of one read for subscribers, because Redis runs nothing else meanwhile.
const MAX_READ: usize = 500;
/// The mean wait before failed reads are repeated.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Reads on how many replicas each user has a session, in one command.
pub(super) async fn read(
    state: &RedisState,
    users: &[ChannelName],
) -> Result<Vec<Option<u32>>, PresenceError> {
    if state.presence.is_none() {
        return Err(PresenceError::Disabled);
    }
    // HMGET needs a field.
    if users.is_empty() {
        return Ok(Vec::new());
    }
    query(state, &counts_of(state, users.iter().map(ChannelName::user_id))).await
}

/// Sends a query about presence, which may be a call of a function.
pub(super) async fn query<T: FromRedisValue>(state: &RedisState, query: &Cmd) -> Result<T, PresenceError> {
    let attempt = async |mut commands| function::call(state, &mut commands, query).await;
    resend::query(state, attempt).await.map_err(|error| match error {
        QueryError::Timeout => PresenceError::Timeout,
        QueryError::Refused(error) => PresenceError::Refused(describe(&error)),
        QueryError::Unavailable | QueryError::Broken => PresenceError::Unavailable,
    })
}

/// Reads the presence of users for hubs, while the link is connected. All reads that wait are made in one call.
pub(super) async fn run(state: &RedisState) -> Infallible {
    let mut is_logged = false;
    loop {
        let queries = state.link.lock().next_presence_reads(MAX_READ);
        if queries.is_empty() {
            state.link.presence_reads_changed().await;
            continue;
        }
        let Some(commands) = state.watch().borrow().publishing() else {
            wait_to_retry().await;
            continue;
        };
        let outcome = timeout(state.options.response_timeout, read_at(state, &commands, &queries)).await;
        match outcome {
            Ok(Ok(found)) => answer(state, queries, found.into_iter().map(Some)),
            Ok(Err(error)) if is_refusal(&error) => {
                if !std::mem::replace(&mut is_logged, true) {
                    let reason = describe(&error);
                    log::warn!("redis: subscribers of online:<user> get no state of the user: {reason}");
                }
                answer(state, queries, std::iter::repeat(None));
            }
            Ok(Err(error)) => {
                log::debug!("redis: the presence of users was not read: {}", describe(&error));
                note_failure(state, &commands, &error);
                wait_to_retry().await;
            }
            Err(_) => wait_to_retry().await,
        }
    }
}

async fn wait_to_retry() {
    sleep(RETRY_INTERVAL.mul_f64(rand::random_range(0.8..1.2))).await;
}

fn answer(
    state: &RedisState,
    queries: Vec<PresenceQuery>,
    found: impl Iterator<Item = Option<UserPresence>>,
) {
    let mut link = state.link.lock();
    queries.into_iter().zip(found).for_each(|(query, presence)| link.on_presence(query, presence));
}

/// Whether Redis refuses the read for as long as its rights or the types of its keys do not change.
fn is_refusal(error: &RedisError) -> bool {
    error.code().is_some() && NotRun::of(error).is_none()
}

/// The presence of the users. The time is read first, so an edge after the state never has an earlier time.
async fn read_at(
    state: &RedisState,
    commands: &Commands,
    queries: &[PresenceQuery],
) -> RedisResult<Vec<UserPresence>> {
    let clock = redis::cmd("TIME");
    let call = counts_of(state, queries.iter().map(|query| query.channel.watched_user()));
    // Both are sent on one connection, in this order.
    let (time, counts) =
        tokio::join!(send::<(u64, u64)>(commands, &clock), send::<Vec<Option<u32>>>(commands, &call));
    let ((seconds, microseconds), counts) = (time?, counts?);
    if counts.len() != queries.len() {
        return Err((ErrorKind::UnexpectedReturnType, "HMGET returned another number of values").into());
    }
    let at_ms = seconds.saturating_mul(1_000).saturating_add(microseconds / 1_000);
    Ok(counts.into_iter().map(|count| UserPresence::new(count.is_some(), at_ms)).collect())
}

/// The command that reads on how many replicas each user has a session.
fn counts_of<'a>(state: &RedisState, users: impl Iterator<Item = Option<&'a str>>) -> Cmd {
    let mut call = redis::cmd("HMGET");
    call.arg(state.options.names().presence("online"));
    for user in users {
        // No user has an empty id.
        call.arg(user.unwrap_or_default());
    }
    call
}

async fn send<T: FromRedisValue>(commands: &Commands, call: &Cmd) -> RedisResult<T> {
    call.query_async(&mut commands.connection()).await
}

/// Lets the link detect what a failed read shows about it.
fn note_failure(state: &RedisState, commands: &Commands, error: &RedisError) {
    if !state.is_not_run(error) && error.code().is_none() && error.is_unrecoverable_error() {
        commands.mark_closed();
        state.probe_now.notify_one();
    }
}
