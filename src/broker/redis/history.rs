//! Reading histories from Redis.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue as _, Pipeline, RedisResult, Value};
use serde_json::value::RawValue;

use super::birth::{Birth, Mark};
use super::options::RedisOptions;
use protocol::channel::ChannelName;
use protocol::history::{Entry, Page, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// Where the histories of several channels end.
pub(super) struct Tails {
    /// Redis' clock, read before anything else.
    pub(super) now_ms: u64,
    /// For each key, where its history ends.
    pub(super) tails: Vec<Tail>,
}

/// `TIME`'s answer.
pub(super) type Time = (u64, u64);

/// One entry of a stream as redis-rs reads it: its id, and its fields in order.
type StreamEntry = (String, Vec<(String, Vec<u8>)>);

/// Where the histories behind `keys` end. One round trip; a key that is not a history does not keep the others
/// from being read.
///
/// # Errors
/// Those of the connection.
pub(super) async fn tails(commands: &mut MultiplexedConnection, keys: &[String]) -> RedisResult<Tails> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME").ignore_errors();
    for key in keys {
        last_of(&mut pipeline, key);
    }
    let mut answers: Vec<RedisResult<Value>> = pipeline.query_async(commands).await?;
    let tails = answers.split_off(1.min(answers.len()));
    let time = answers.pop().unwrap_or(Ok(Value::Nil))?;
    Ok(Tails {
        now_ms: milliseconds(Time::from_redis_value(time)?),
        tails: tails.into_iter().map(|answer| answer.and_then(tail).unwrap_or(Tail::Unreadable)).collect(),
    })
}

fn last_of<'a>(pipeline: &'a mut Pipeline, key: &str) -> &'a mut Pipeline {
    pipeline.cmd("XREVRANGE").arg(key).arg("+").arg("-").arg("COUNT").arg(1)
}

/// What the answer to `XREVRANGE … COUNT 1` says.
fn tail(answer: Value) -> RedisResult<Tail> {
    let entries: Vec<StreamEntry> = Vec::from_redis_value(answer)?;
    let Some((id, _)) = entries.first() else { return Ok(Tail::Nothing) };
    // Redis gives no other ids.
    Ok(Position::parse(id).map_or(Tail::Unreadable, Tail::At))
}

/// What stands in the history of `channel` behind `since`, `max_entries` at most, read in one atomic step.
///
/// # Errors
/// Those of the connection, and Redis' own: the key is no stream, or may not be read.
pub(super) async fn page(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
    channel: &ChannelName,
    since: Position,
    max_entries: usize,
) -> RedisResult<Page> {
    let key = options.redis_channel(channel.as_str());
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("TIME");
    Birth::ask(&mut pipeline, options);
    let first = successor(since).to_string();
    pipeline.cmd("XRANGE").arg(&key).arg(first).arg("+").arg("COUNT").arg(max_entries);
    last_of(&mut pipeline, &key);
    let answer = pipeline.query_async(commands).await?;
    let (time, mark, since, entries, last): (Time, Mark, Mark, Vec<StreamEntry>, Value) = answer;
    let now_ms = milliseconds(time);
    // Without it nobody has said since when the data has been whole.
    let born_ms = Birth::of(mark, since).map_or(u64::MAX, |birth| birth.unix_ms);
    let ttl_ms = u64::try_from(options.history.ttl.as_millis()).unwrap_or(u64::MAX);
    Ok(Page {
        entries: entries
            .into_iter()
            .filter_map(|entry| decode(channel, entry, options.max_payload_bytes))
            .collect(),
        tail: match tail(last)? {
            Tail::At(position) => position,
            Tail::Nothing => Position::before(now_ms),
            Tail::Unreadable => return Err((ErrorKind::Parse, "an entry of a history has no place").into()),
        },
        whole_since_ms: born_ms.max(now_ms.saturating_sub(ttl_ms)),
    })
}

/// The first id behind `place`. (Redis' own way to say it is refused for the last of all ids, and a place comes
/// from a client.)
const fn successor(Position { epoch, offset }: Position) -> Position {
    match offset.checked_add(1) {
        Some(offset) => Position { epoch, offset },
        None => Position { epoch: epoch.saturating_add(1), offset: 0 },
    }
}

/// `None` only for an id that Redis does not give.
fn decode(channel: &ChannelName, (id, fields): StreamEntry, max_bytes: usize) -> Option<Entry> {
    let position = Position::parse(&id)?;
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let message = field("m").filter(|message| message.len() <= max_bytes);
    let message = message.and_then(|message| serde_json::from_str::<Box<RawValue>>(message).ok());
    Some(Entry {
        position,
        after: field("a").and_then(Position::parse),
        publication: message
            .map(|message| Arc::new(Publication::new(channel.clone(), Some(position), message.into()))),
    })
}

pub(super) const fn milliseconds((seconds, micros): Time) -> u64 {
    seconds.saturating_mul(1000).saturating_add(micros / 1000)
}

#[cfg(test)]
mod tests;
