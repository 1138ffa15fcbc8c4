//! Keeps the dataset marker: since when the data of one prefix has been whole, and the settings in force for it.
//!
//! The marker is JSON at the key `<prefix>:dataset`. Where the channels are spread over the slots of a cluster, each slot
//! has its own marker (`slots`), which moves with the data of the slot. `gateway_mark` writes the marker together with the
//! settings, in one atomic step. Removing all data removes the marker as well. `gateway_mark` renews the marker when
//! histories may have been removed in another way: the history TTL of a namespace changed, or Redis evicted keys.

mod slots;

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult};
use serde::Deserialize;

use super::cluster::slot::Slot;
use super::data_settings::DataSettings;
use super::function;
use super::known_dataset::Dataset;
use super::link_error::{LinkError, describe};
use super::names::DatasetKeys;
use super::options::RedisOptions;
use super::read_error::RedisReadError;
use super::state::RedisState;

#[cfg(test)]
pub(super) use slots::mark_command as mark_slots_command;

/// The call of `gateway_mark`, which writes the marker and the settings if they are missing, and renews the marker if
/// necessary. With `is_first`, which is set until the call has succeeded once in this process, the process' own
/// settings are put into force. [`parse_mark_answer`] reads the answer.
pub(super) fn mark_command(options: &RedisOptions, is_first: bool) -> Cmd {
    let mut call = redis::cmd("FCALL");
    let keys = options.names().shared_dataset_keys();
    call.arg("gateway_mark").arg(2).arg(keys.marker).arg(keys.settings);
    call.arg(DataSettings::own(options).to_text()).arg(u8::from(is_first));
    call
}

/// Parses the answer of `gateway_mark`: since when the data has been whole, the settings in force, and the eviction
/// policy.
pub(super) fn parse_mark_answer(
    (since, settings, policy): (String, String, String),
    evicted_keys: Option<u64>,
) -> RedisResult<Dataset> {
    let not_settings =
        || RedisError::from((ErrorKind::UnexpectedReturnType, "gateway_mark returned no settings"));
    Ok(Dataset {
        whole_since_ms_of_marker: since.parse().unwrap_or(u64::MAX),
        settings: DataSettings::parse(settings.as_bytes()).ok_or_else(not_settings)?,
        eviction_policy: Some(policy).filter(|policy| !policy.is_empty()),
        evicted_keys,
    })
}

/// How many keys Redis had evicted when the data was marked. This is read from the marker, because the answer of
/// `gateway_mark` has the same format in all versions of the library.
pub(super) async fn evicted_keys(marker: &str, commands: &mut MultiplexedConnection) -> Option<u64> {
    let marker: Vec<u8> = redis::cmd("GET").arg(marker).query_async(commands).await.ok()?;
    serde_json::from_slice::<Marker>(&marker).ok()?.evicted_keys
}

/// The keys by which a link checks that its server serves the data.
pub(super) fn checked_keys(state: &RedisState) -> Vec<String> {
    let names = state.options.names();
    let DatasetKeys { marker, settings } =
        state.home().map_or_else(|| names.shared_dataset_keys(), |slot| names.dataset_keys(slot));
    vec![marker, settings]
}

/// The marker and the settings, as a reader of a history reads them in the same transaction.
#[derive(Debug)]
pub(super) struct DatasetView {
    marker: Option<Marker>,
    /// The settings in force; `None`: missing or invalid.
    pub(super) settings: Option<DataSettings>,
}

/// The answer to `GET`.
type TextRead = Result<Option<Vec<u8>>, RedisReadError>;

/// The marker. Its other fields are for `gateway_mark` alone.
#[derive(Debug, Deserialize)]
struct Marker {
    whole_since_ms: Option<u64>,
    /// The TTL of every namespace, or the shortest one if `history_ttls_ms` is not empty. Older gateways know only this
    /// field, and it then differs from their TTL unless theirs is the shortest.
    history_ttl_ms: u64,
    /// The TTLs of the namespaces, if they differ: of `default`, of `online`, and of each that differs from `default`.
    #[serde(default)]
    history_ttls_ms: BTreeMap<String, u64>,
    evicted_keys: Option<u64>,
}

impl Marker {
    /// The TTL that the histories of a namespace have had since the marker was renewed.
    fn history_ttl_ms_of(&self, namespace: &str) -> Option<u64> {
        if self.history_ttls_ms.is_empty() {
            return Some(self.history_ttl_ms);
        }
        self.history_ttls_ms.get(namespace).or_else(|| self.history_ttls_ms.get("default")).copied()
    }
}

impl DatasetView {
    /// Adds the two queries whose answers [`parse`](Self::parse) reads.
    pub(super) fn add_queries(pipeline: &mut Pipeline, keys: &DatasetKeys) {
        pipeline.cmd("GET").arg(&keys.marker).cmd("GET").arg(&keys.settings);
    }

    /// Parses the answers to the two queries.
    ///
    /// # Errors
    /// A query failed.
    pub(super) fn read(marker: TextRead, settings: TextRead) -> Result<Self, RedisReadError> {
        Ok(Self::parse(marker?.as_deref(), settings?.as_deref()))
    }

    /// Parses the values of the two keys.
    pub(super) fn parse(marker: Option<&[u8]>, settings: Option<&[u8]>) -> Self {
        Self {
            marker: marker.and_then(|marker| serde_json::from_slice(marker).ok()),
            settings: settings.and_then(DataSettings::parse),
        }
    }

    /// Since when no history of a namespace can have been removed unnoticed, at `now_ms` by Redis' clock; `u64::MAX`:
    /// not known. A marker that was written under another TTL of the namespace is not valid.
    pub(super) fn whole_since_ms(&self, namespace: &str, now_ms: u64) -> u64 {
        let (Some(marker), Some(settings)) = (&self.marker, &self.settings) else { return u64::MAX };
        let ttls = (settings.history_ttl_ms_of(namespace), marker.history_ttl_ms_of(namespace));
        match (marker.whole_since_ms, ttls) {
            (Some(since), (Some(ttl_ms), Some(marked_ms))) if ttl_ms == marked_ms => {
                since.max(now_ms.saturating_sub(ttl_ms))
            }
            _ => u64::MAX,
        }
    }
}

/// Marks the data as [`mark_dataset`] does, unless it was marked a moment ago. Where each slot has a marker, the calls of
/// one interval of history checks mark each slot once.
pub(super) async fn mark_dataset_if_due(state: &RedisState, slots: &[Slot]) {
    if state.dataset.is_due() {
        let due = state.dataset.next_slots(slots, state.options.history_check_interval);
        // The next check repeats it, and the probe detects a server that does not serve.
        let _ = mark_dataset(state, &due).await;
    }
}

/// Marks the data, and loads the library first if Redis does not have it. A refusal is noted. `slots` are those to mark
/// where each slot has a marker.
///
/// # Errors
/// Redis did not run the function, but may run it soon.
pub(super) async fn mark_dataset(state: &RedisState, slots: &[Slot]) -> Result<(), LinkError> {
    let Some(mut commands) = state.commands() else { return Ok(()) };
    let is_first = state.dataset.begin_mark();
    let answer = if state.options.names().is_sharded() {
        slots::mark(state, &mut commands, slots).await
    } else {
        mark_all(state, &mut commands, is_first).await.map(Some)
    };
    match answer {
        Ok(None) => {}
        Ok(Some(dataset)) => {
            state.note_evictions(dataset.eviction_policy.is_some(), dataset.evicted_keys);
            state.dataset.set(&dataset);
        }
        // Noted as the reason why durable publishing is unavailable.
        Err(error) if function::is_missing(&error) || function::is_unknown(&error) => {}
        Err(error) if state.is_not_run(&error) => return Err(LinkError::of_command(&error)),
        Err(error) => match RedisReadError::from(error) {
            RedisReadError::Data(reason) => state.dataset.set_failed(&reason),
            RedisReadError::Connection(error) => {
                log::debug!("redis: the dataset marker was not written: {}", describe(&error))
            }
            RedisReadError::NotRun(_, reason) | RedisReadError::Busy(reason) => {
                log::debug!("redis: the dataset marker was not written: {reason}")
            }
        },
    }
    Ok(())
}

/// Marks all data of the prefix.
async fn mark_all(
    state: &RedisState,
    commands: &mut MultiplexedConnection,
    is_first: bool,
) -> RedisResult<Dataset> {
    let answer = function::call(state, commands, &mark_command(&state.options, is_first)).await?;
    let DatasetKeys { marker, .. } = state.options.names().shared_dataset_keys();
    parse_mark_answer(answer, evicted_keys(&marker, commands).await)
}

#[cfg(test)]
mod tests;
