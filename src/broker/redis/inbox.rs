//! The inbox in Redis: sends the messages of clients, and reads and deletes its entries for HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::super::Retry;
use super::super::inbox::{
    EntryId, InboxEntry, InboxError, InboxMessage, InboxPage, InboxSendError, MAX_PAGE_BYTES, check_message,
};
use super::super::page_size::PageSize;
use super::commands::Commands;
use super::link_error::describe;
use super::links::RedisLinks;
use super::resend::{self, Next, QueryError, Rounds, connection_replaced};
use super::state::RedisState;
use super::{RedisBroker, function};

/// The longest message that the settings allow.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Counts the entries, if any namespace lets clients send. Called with each probe.
pub(super) async fn count_entries(state: &RedisState, commands: &mut MultiplexedConnection) {
    let inbox = &state.inbox;
    if !state.duties().inbox
        || !state.options.history.inbox.is_used
        || inbox.is_count_refused.load(Ordering::Relaxed)
    {
        return;
    }
    match redis::cmd("XLEN").arg(key(state)).query_async::<u64>(commands).await {
        Ok(entries) => {
            inbox.entries.store(entries, Ordering::Relaxed);
            let max_entries = state.dataset.max_inbox_entries();
            state.metrics.inbox_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
            state.metrics.limits.inbox_entries.set(i64::try_from(max_entries).unwrap_or(i64::MAX));
        }
        Err(error) => {
            inbox.is_count_refused.store(error.code() == Some("NOPERM"), Ordering::Relaxed);
            log::debug!("redis: the entries of the inbox were not counted: {}", describe(&error));
        }
    }
}

fn key(state: &RedisState) -> String {
    state.options.names().inbox()
}

/// The end of one attempt to store a message.
enum SendAttempt {
    Finished(Result<(), InboxSendError>),
    /// Another attempt needs another connection.
    Reconnect,
    /// Redis may run the function soon.
    RetrySoon,
    /// Redis does not have the function, for this reason. It may have been flushed.
    FunctionMissing(String),
}

impl RedisBroker {
    pub(in crate::broker) async fn send(&self, message: &InboxMessage<'_>) -> Result<(), InboxSendError> {
        let links = &self.handle.links;
        let state = &links.inbox_link();
        check_message(message, state.dataset.payload_limits())?;
        let Ok(_permit) = state.inbox.sending.try_acquire() else { return Err(InboxSendError::Full) };
        let outcome = send(links, &call(state, message)).await;
        state.inbox.note_outcome(&outcome);
        outcome
    }

    pub(in crate::broker) async fn inbox(
        &self,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<InboxPage, InboxError> {
        read_page(&self.handle.links.inbox_link(), after, limit).await
    }

    pub(in crate::broker) async fn delete_inbox(&self, through: EntryId) -> Result<u64, InboxError> {
        let state = &self.handle.links.inbox_link();
        let mut trim = redis::cmd("XTRIM");
        trim.arg(key(state));
        match through.next() {
            Some(first_kept) => trim.arg("MINID").arg(first_kept.to_string()),
            None => trim.arg("MAXLEN").arg(0),
        };
        query(state, &trim).await
    }
}

fn call(state: &RedisState, message: &InboxMessage<'_>) -> Cmd {
    let InboxMessage { user, session, channel, id, message } = message;
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_send").arg(1).arg(key(state)).arg(user).arg(session.to_string());
    call.arg(channel.as_str()).arg(id).arg(message.get());
    call
}

/// Stores one message. Every attempt may be repeated, because the message has an id.
async fn send(links: &RedisLinks, call: &Cmd) -> Result<(), InboxSendError> {
    let deadline = Instant::now() + links.process.options.response_timeout;
    let mut routes = links.routes.subscribe();
    loop {
        let state = links.inbox_link();
        let slot = state.duty_slots.inbox;
        tokio::select! {
            biased;
            // The sender is in `links`, so the channel stays open.
            _ = routes.wait_for(|routes| !Arc::ptr_eq(routes.of_slot(slot), &state)) => {}
            outcome = send_over(&state, call, deadline) => return outcome,
        }
    }
}

/// Stores one message over one link.
async fn send_over(state: &RedisState, call: &Cmd, deadline: Instant) -> Result<(), InboxSendError> {
    let mut rounds = Rounds::new(state, deadline, Retry::Allowed);
    loop {
        let attempt = match rounds.connection() {
            Some(commands) => attempt(state, &commands, call, deadline).await,
            None => SendAttempt::Reconnect,
        };
        let next = match attempt {
            SendAttempt::Finished(outcome) => return outcome,
            SendAttempt::FunctionMissing(reason) if rounds.is_function_loaded() => {
                return Err(InboxSendError::Refused(reason));
            }
            SendAttempt::FunctionMissing(_) => Next::Function,
            SendAttempt::RetrySoon => Next::Soon,
            SendAttempt::Reconnect => Next::Connection,
        };
        if !rounds.prepare(next).await {
            return Err(InboxSendError::Unavailable);
        }
    }
}

async fn attempt(state: &RedisState, commands: &Commands, call: &Cmd, deadline: Instant) -> SendAttempt {
    let mut connection = commands.connection();
    let answer = tokio::select! {
        biased;
        answer = timeout_at(deadline, call.query_async::<String>(&mut connection)) => answer,
        // redis-rs may leave a request on a closed connection unanswered until its timeout.
        () = connection_replaced(state, commands) => return SendAttempt::Reconnect,
    };
    match answer {
        Err(_) => SendAttempt::Finished(Err(InboxSendError::Unavailable)),
        Ok(Ok(_)) => SendAttempt::Finished(Ok(())),
        Ok(Err(error)) => classify(state, commands, &error),
    }
}

fn classify(state: &RedisState, commands: &Commands, error: &RedisError) -> SendAttempt {
    if error.is_timeout() {
        return SendAttempt::Finished(Err(InboxSendError::Unavailable));
    } else if function::is_missing(error) {
        return SendAttempt::FunctionMissing(function::reason(error));
    }
    match error.code() {
        Some("INBOXFULL") => SendAttempt::Finished(Err(InboxSendError::Full)),
        Some("IDREUSED") => SendAttempt::Finished(Err(InboxSendError::IdReused)),
        Some(_) if state.is_not_run(error) => SendAttempt::RetrySoon,
        Some(_) => SendAttempt::Finished(Err(InboxSendError::Refused(function::reason(error)))),
        None => {
            if error.is_unrecoverable_error() {
                commands.mark_closed();
            }
            SendAttempt::Reconnect
        }
    }
}

type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// Reads entries until the page is full. Entries that another program wrote are left out.
async fn read_page(
    state: &RedisState,
    after: Option<EntryId>,
    limit: usize,
) -> Result<InboxPage, InboxError> {
    let mut page = InboxPage::default();
    let (mut last, mut left, mut bytes_left) = (after, limit, MAX_PAGE_BYTES);
    let mut size = PageSize::new();
    while left > 0 && bytes_left > 0 {
        let count = size.entries(bytes_left, LONGEST_MESSAGE).min(left);
        // Redis refuses a range that starts after the last possible id.
        let Some(start) = last.map_or(Some(EntryId::new(0, 0)), EntryId::next) else { return Ok(page) };
        let mut range = redis::cmd("XRANGE");
        range.arg(key(state)).arg(start.to_string()).arg("+").arg("COUNT").arg(count);
        let entries: Vec<(String, Fields)> = query(state, &range).await?;
        let bytes = entries.iter().flat_map(|(_, fields)| fields.values().map(Vec::len)).sum();
        size.grow(entries.len(), bytes);
        let is_last = entries.len() < count;
        left -= entries.len();
        bytes_left = bytes_left.saturating_sub(bytes.max(1));
        for (id, fields) in entries {
            let id = EntryId::parse(&id);
            last = id.or(last);
            page.messages.extend(id.and_then(|id| parse_entry(id, fields)));
        }
        if is_last {
            return Ok(page);
        }
    }
    page.next = last;
    Ok(page)
}

fn parse_entry(entry: EntryId, mut fields: Fields) -> Option<InboxEntry> {
    let mut take = |name: &str| String::from_utf8(fields.remove(name.as_bytes())?).ok();
    Some(InboxEntry {
        entry,
        user: take("user")?.into(),
        session: take("session")?.into(),
        channel: take("channel")?.into(),
        id: take("id")?.into(),
        message: RawValue::from_string(take("message")?).ok()?,
        at: take("at")?.parse().ok()?,
    })
}

async fn query<T: FromRedisValue>(state: &RedisState, query: &Cmd) -> Result<T, InboxError> {
    let attempt = async |mut commands: MultiplexedConnection| query.query_async(&mut commands).await;
    resend::query(state, attempt).await.map_err(|error| match error {
        QueryError::Timeout => InboxError::Timeout,
        QueryError::Refused(error) => InboxError::Refused(describe(&error)),
        QueryError::Unavailable | QueryError::Broken => InboxError::Unavailable,
    })
}
