//! The dataset marker: since when the data of one prefix has been whole, and the settings in force for it.
//!
//! The marker is JSON at the key `<prefix>:dataset`. `gateway_mark` writes it together with the settings, in one atomic
//! step. Anything that removes all data removes the marker too. `gateway_mark` renews it when histories may have
//! gone in another way: the history TTL in force has changed, or Redis has evicted keys.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult};
use serde::Deserialize;

use super::data_settings::DataSettings;
use super::function;
use super::known_dataset::Dataset;
use super::link_error::describe;
use super::options::RedisOptions;
use super::read_error::RedisReadError;
use super::state::RedisState;

/// Writes the marker and the settings as far as they are not there, and renews the marker if that is necessary.
/// `is_first` is set until this has succeeded once in this process: then the process' own settings are put into force.
/// [`parse_mark_answer`] reads its answer.
pub(super) fn mark_command(options: &RedisOptions, is_first: bool) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_mark").arg(2).arg(key(options)).arg(DataSettings::key(options));
    call.arg(DataSettings::own(options).to_text()).arg(u8::from(is_first));
    call
}

/// The answer of `gateway_mark`: since when the data has been complete, the settings in force, and the eviction policy.
pub(super) fn parse_mark_answer(
    (since, settings, policy): (String, String, String),
    evicted_keys: Option<u64>,
) -> RedisResult<Dataset> {
    let not_settings =
        || RedisError::from((ErrorKind::UnexpectedReturnType, "gateway_mark gave no settings"));
    Ok(Dataset {
        whole_since_ms_of_marker: since.parse().unwrap_or(u64::MAX),
        settings: DataSettings::parse(settings.as_bytes()).ok_or_else(not_settings)?,
        eviction_policy: Some(policy).filter(|policy| !policy.is_empty()),
        evicted_keys,
    })
}

/// How many keys Redis had evicted when the data was marked. The answer of `gateway_mark` does not contain it, because
/// library versions share one format of that answer.
pub(super) async fn evicted_keys(
    options: &RedisOptions,
    commands: &mut MultiplexedConnection,
) -> Option<u64> {
    let marker: Vec<u8> = redis::cmd("GET").arg(key(options)).query_async(commands).await.ok()?;
    serde_json::from_slice::<Marker>(&marker).ok()?.evicted_keys
}

/// No channel has such a name: it has no namespace.
fn key(options: &RedisOptions) -> String {
    options.redis_channel("dataset")
}

/// What a reader of a history needs to know of the data, read in the same transaction.
#[derive(Debug)]
pub(super) struct DatasetView {
    marker: Option<Marker>,
    /// In force; `None`: Redis does not have them.
    pub(super) settings: Option<DataSettings>,
}

/// What stands at the key; the other fields are for `gateway_mark` alone.
#[derive(Debug, Deserialize)]
struct Marker {
    whole_since_ms: Option<u64>,
    history_ttl_ms: u64,
    evicted_keys: Option<u64>,
}

impl DatasetView {
    /// Adds the two questions whose answers [`parse`](Self::parse) takes.
    pub(super) fn add_queries(pipeline: &mut Pipeline, options: &RedisOptions) {
        pipeline.cmd("GET").arg(key(options));
        DataSettings::add_query(pipeline, options);
    }

    /// What the two keys say.
    pub(super) fn parse(marker: Option<&[u8]>, settings: Option<&[u8]>) -> Self {
        Self {
            marker: marker.and_then(|marker| serde_json::from_slice(marker).ok()),
            settings: settings.and_then(DataSettings::parse),
        }
    }

    /// Since when no history can have come and gone unseen, at `now_ms` by Redis' clock; `u64::MAX`: not known.
    /// A marker that was written under another TTL says nothing.
    pub(super) fn whole_since_ms(&self, now_ms: u64) -> u64 {
        let (Some(marker), Some(settings)) = (&self.marker, &self.settings) else { return u64::MAX };
        match marker.whole_since_ms {
            Some(since) if marker.history_ttl_ms == settings.history_ttl_ms => {
                since.max(now_ms.saturating_sub(settings.history_ttl_ms))
            }
            _ => u64::MAX,
        }
    }
}

/// [`mark_dataset`], unless that was done a moment ago.
pub(super) async fn mark_dataset_if_due(state: &RedisState) {
    if state.dataset.is_due() {
        mark_dataset(state).await;
    }
}

/// Marks the data, and loads the function first if Redis does not have it. A failure does not end the link.
pub(super) async fn mark_dataset(state: &RedisState) {
    let Some(mut commands) = state.commands() else { return };
    let is_first = state.dataset.begin_mark();
    let call = mark_command(&state.options, is_first);
    let answer = match function::call(state, &mut commands, &call).await {
        Ok(answer) => parse_mark_answer(answer, evicted_keys(&state.options, &mut commands).await),
        Err(error) => Err(error),
    };
    match answer {
        Ok(dataset) => {
            let metrics = &state.metrics;
            metrics.redis_may_evict.set(dataset.eviction_policy.is_some().into());
            if let Some(evicted) = dataset.evicted_keys {
                metrics.redis_evicted_keys.set(i64::try_from(evicted).unwrap_or(i64::MAX));
            }
            state.dataset.set(&dataset);
        }
        // Noted by the function's availability.
        Err(error) if function::is_missing(&error) || function::is_unknown(&error) => {}
        Err(error) => match RedisReadError::from(error) {
            RedisReadError::Data(reason) => state.dataset.set_failed(&reason),
            RedisReadError::Connection(error) => {
                log::debug!("redis: the data was not marked: {}", describe(&error))
            }
            RedisReadError::Busy(reason) => log::debug!("redis: the data was not marked: {reason}"),
        },
    }
}

#[cfg(test)]
mod tests;
