//! Reads histories from Redis.

use std::collections::HashMap;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};

use super::super::link::TailRead;
use super::super::newest::EntryRange;
use super::data_settings::DataSettings;
use super::dataset::DatasetView;
use super::names::{DatasetKeys, Names};
use super::options::RedisOptions;
use super::read_error::RedisReadError;
use protocol::channel::ChannelName;
use protocol::history::{Entry, Page, Tail};
use protocol::payload_limits::PayloadLimits;
use protocol::position::Position;
use protocol::publication::Publication;

/// One entry of a stream: its id, and its fields in order, each a name and a value. Other programs may have written any
/// bytes.
struct StreamEntry {
    id: Position,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads the tails of the histories at `keys` in one round trip. A key that is not a history fails alone.
///
/// # Errors
/// The connection failed, Redis is busy, or the answer to `TIME` is invalid.
pub(super) async fn tails(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
    keys: &[String],
) -> Result<Vec<Result<TailRead, RedisReadError>>, RedisReadError> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    for key in keys {
        add_tail_query(&mut pipeline, key);
    }
    let slots = DistinctSlots::of(options.names(), keys);
    slots.keys.iter().for_each(|keys| DatasetView::add_queries(&mut pipeline, keys));
    // Each command has a result of its own, so an error of the call is one of the connection or of all commands.
    let answers: Vec<RedisResult<Value>> = pipeline.ignore_errors().query_async(commands).await?;
    let mut answers = answers.into_iter();
    let now_ms = time(answers.next().unwrap_or(Ok(Value::Nil))?)?;
    let tails: Vec<_> = answers.by_ref().take(keys.len()).map(tail).collect();
    let mut texts = answers.map(text_if_any);
    let mut next_text = || texts.next().unwrap_or(Ok(None));
    let datasets: Vec<_> = slots.keys.iter().map(|_| DatasetView::read(next_text(), next_text())).collect();
    // Each namespace once, because its settings are parsed for that.
    let mut whole_since = HashMap::new();
    let tails = tails.into_iter().zip(keys).zip(&slots.of_key);
    let reads = tails.map(|((tail, key), index)| {
        let tail = tail?;
        let dataset = datasets[*index].as_ref().map_err(RedisReadError::clone)?;
        let namespace = options.names().namespace_of(key);
        let whole_since_ms = *whole_since
            .entry((*index, namespace))
            .or_insert_with(|| dataset.whole_since_ms(namespace, now_ms));
        Ok(TailRead { tail, now_ms, whole_since_ms })
    });
    Ok(reads.collect())
}

/// The dataset keys of several names, each once.
struct DistinctSlots {
    keys: Vec<DatasetKeys>,
    /// For each name: the index of its dataset keys.
    of_key: Vec<usize>,
}

impl DistinctSlots {
    fn of(names: Names<'_>, keys: &[String]) -> Self {
        let mut found = Self { keys: Vec::new(), of_key: Vec::with_capacity(keys.len()) };
        let mut indexes = HashMap::new();
        for key in keys {
            let slot = names.dataset_slot_of(key);
            let index = *indexes.entry(slot).or_insert_with(|| {
                found.keys.push(names.dataset_keys_of(key));
                found.keys.len() - 1
            });
            found.of_key.push(index);
        }
        found
    }
}

fn add_tail_query(pipeline: &mut Pipeline, key: &str) {
    pipeline.cmd("XREVRANGE").arg(key).arg("+").arg("-").arg("COUNT").arg(1);
}

/// Parses the answer to `XREVRANGE … COUNT 1`.
fn tail(answer: RedisResult<Value>) -> Result<Tail, RedisReadError> {
    Ok(entries(answer?)?.first().map_or(Tail::Nothing, |last| Tail::At(last.id)))
}

/// Reads at most `max_entries` entries of the history of `channel`, in one transaction together with the settings in
/// force and the dataset marker. Without `needs_tail`, the tail is not read, because it costs a whole message.
///
/// # Errors
/// The connection failed, Redis is busy, the key is not a history, or the Redis user may not read it.
pub(super) async fn page(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
    channel: &ChannelName,
    range: EntryRange,
    max_entries: usize,
    needs_tail: bool,
) -> Result<Page, RedisReadError> {
    let key = options.names().channel(channel.as_str());
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("TIME");
    DatasetView::add_queries(&mut pipeline, &options.names().dataset_keys_of(&key));
    match range {
        EntryRange::After(since) => {
            pipeline.cmd("XRANGE").arg(&key).arg(successor(since).to_string()).arg("+");
        }
        EntryRange::UpTo(last) => {
            pipeline.cmd("XREVRANGE").arg(&key).arg(last.to_string()).arg("-");
        }
    }
    pipeline.arg("COUNT").arg(max_entries);
    if needs_tail {
        add_tail_query(&mut pipeline, &key);
    }
    let mut answers: Vec<RedisResult<Value>> = pipeline.ignore_errors().query_async(commands).await?;
    let last = if needs_tail { answers.pop().map(tail).transpose()? } else { None };
    let Ok([now, marker, settings, found]) = <[_; 4]>::try_from(answers) else {
        return Err(RedisReadError::unexpected("the answer to the transaction is incomplete"));
    };
    let now_ms = time(now?)?;
    let dataset = DatasetView::read(text_if_any(marker), text_if_any(settings))?;
    let own = || DataSettings::own(options).payload_limits();
    let limits = dataset.settings.as_ref().map_or_else(own, DataSettings::payload_limits);
    let mut found: Vec<_> =
        entries(found?)?.into_iter().map(|entry| decode(channel, entry, limits)).collect();
    if let EntryRange::UpTo(_) = range {
        found.reverse();
    }
    Ok(Page {
        entries: found,
        tail: match last {
            Some(Tail::At(position)) => position,
            Some(Tail::Nothing) | None => Position::before(now_ms),
        },
        whole_since_ms: dataset.whole_since_ms(channel.namespace(), now_ms),
    })
}

/// The first id after `position`. Redis' own syntax for it, `(id`, is an error for the last of all ids, and clients
/// choose the position.
const fn successor(Position { epoch, offset }: Position) -> Position {
    match offset.checked_add(1) {
        Some(offset) => Position { epoch, offset },
        None => Position { epoch: epoch.saturating_add(1), offset: 0 },
    }
}

/// Parses the answer to `XRANGE` or `XREVRANGE`.
fn entries(answer: Value) -> Result<Vec<StreamEntry>, RedisReadError> {
    let Value::Array(answer) = answer else {
        return Err(RedisReadError::unexpected("the history is not a list"));
    };
    let bad_entry = || RedisReadError::unexpected("a history entry cannot be read");
    answer.into_iter().map(|entry| entry_of(entry).ok_or_else(bad_entry)).collect()
}

fn entry_of(answer: Value) -> Option<StreamEntry> {
    let Value::Array(parts) = answer else { return None };
    let Ok([Value::BulkString(id), Value::Array(words)]) = <[_; 2]>::try_from(parts) else { return None };
    let id = Position::parse(std::str::from_utf8(&id).ok()?)?;
    let mut fields = Vec::with_capacity(words.len() / 2);
    let mut words = words.into_iter();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else { return None };
        fields.push((name, value));
    }
    Some(StreamEntry { id, fields })
}

/// Parses the answer to `TIME` into Unix milliseconds.
fn time(answer: Value) -> Result<u64, RedisReadError> {
    let number = |part: &Value| match part {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse::<u64>().ok(),
        _ => None,
    };
    let (seconds, micros) = match &answer {
        Value::Array(parts) => (parts.first().and_then(number), parts.get(1).and_then(number)),
        _ => (None, None),
    };
    let time = (seconds.zip(micros)).map(|(seconds, micros)| seconds.saturating_mul(1000) + micros / 1000);
    time.ok_or_else(|| RedisReadError::unexpected("the time cannot be read"))
}

/// Parses the answer to `GET`.
fn text(answer: Value) -> Result<Option<Vec<u8>>, RedisReadError> {
    match answer {
        Value::BulkString(text) => Ok(Some(text)),
        Value::Nil => Ok(None),
        _ => Err(RedisReadError::unexpected("the value at a key of the gateway is not text")),
    }
}

/// Parses the answer to `GET`; `None` also if the value is not text. Such a value makes nothing known about the data,
/// but the history is still readable.
fn text_if_any(answer: RedisResult<Value>) -> Result<Option<Vec<u8>>, RedisReadError> {
    match answer.map_err(RedisReadError::from).and_then(text) {
        Err(RedisReadError::Data(_)) => Ok(None),
        other => other,
    }
}

/// Parses an entry. An invalid message leaves only its position.
fn decode(channel: &ChannelName, StreamEntry { id, fields }: StreamEntry, limits: PayloadLimits) -> Entry {
    let field = |name: &[u8]| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let message = field(b"m").and_then(|message| limits.parse(message).ok());
    Entry {
        position: id,
        after: field(b"a").and_then(Position::parse),
        publication: message
            .map(|message| Arc::new(Publication::new(channel.clone(), Some(id), message.into()))),
    }
}

#[cfg(test)]
pub(super) mod tests;
