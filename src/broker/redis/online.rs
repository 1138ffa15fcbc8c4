//! Reads which users are online on any replica, and asks other questions about presence.

use redis::{Cmd, FromRedisValue, RedisError};
use tokio::time::timeout;

use super::super::PresenceError;
use super::commands::Commands;
use super::function;
use super::link_error::describe;
use super::state::RedisState;
use protocol::channel::ChannelName;

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
    let mut call = redis::cmd("HMGET");
    call.arg(state.options.redis_channel("{presence}:online"));
    for user in users {
        call.arg(user.user_id());
    }
    ask(state, &call).await
}

/// Sends a question about presence, which may be a call of a function.
pub(super) async fn ask<T: FromRedisValue>(state: &RedisState, question: &Cmd) -> Result<T, PresenceError> {
    let commands = state.watch().borrow().publishing().ok_or(PresenceError::Unavailable)?;
    let mut connection = commands.connection();
    let answer = function::call(state, &mut connection, question);
    match timeout(state.options.response_timeout, answer).await {
        Err(_) => Err(PresenceError::Timeout),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(classify(state, &commands, &error)),
    }
}

fn classify(state: &RedisState, commands: &Commands, error: &RedisError) -> PresenceError {
    if error.is_timeout() {
        return PresenceError::Timeout;
    }
    if error.code().is_some() || !error.is_unrecoverable_error() {
        return PresenceError::Refused(describe(error));
    }
    commands.mark_closed();
    state.probe_now.notify_one();
    PresenceError::Unavailable
}
