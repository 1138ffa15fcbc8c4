//! Marks the slots of a link where each slot of a cluster has a marker and settings of its own.

use std::collections::HashSet;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult};

use super::super::cluster::slot::Slot;
use super::super::data_settings::DataSettings;
use super::super::function;
use super::super::known_dataset::Dataset;
use super::super::options::RedisOptions;
use super::super::state::RedisState;
use super::{evicted_keys, parse_mark_answer};

/// The most slots of one call, as in `gateway_mark.lua`: Redis runs nothing else meanwhile.
const MAX_SLOTS: usize = 256;

/// The answer of `gateway_mark`, with the tags of the slots that it could not mark.
type SlotsAnswer = (String, String, String, Vec<String>);

/// The call of `gateway_mark` for some slots of one server. With `is_first`, the process' own settings are put into
/// force for them.
pub(in super::super) fn mark_command(options: &RedisOptions, slots: &[Slot], is_first: bool) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_mark").arg(0).arg(DataSettings::own(options).to_text()).arg(u8::from(is_first));
    call.arg(&options.prefix);
    slots.iter().for_each(|slot| {
        call.arg(slot.tag());
    });
    call
}

/// Marks these slots of the link's server. `None`: there are none. A slot that is being moved is left out; the next
/// round marks it.
pub(super) async fn mark(
    state: &RedisState,
    commands: &mut MultiplexedConnection,
    slots: &[Slot],
) -> RedisResult<Option<Dataset>> {
    let own = DataSettings::own(&state.options);
    let (new, started) = state.started_slots.split(slots);
    let mut found: Option<Dataset> = None;
    for (is_first, slots) in [(true, new), (false, started)] {
        for batch in slots.chunks(MAX_SLOTS) {
            let call = mark_command(&state.options, batch, is_first);
            let (since, settings, policy, skipped): SlotsAnswer =
                function::call(state, commands, &call).await?;
            let skipped: HashSet<_> = skipped.iter().map(|tag| Slot::of_key(tag)).collect();
            let marked: Vec<_> = batch.iter().copied().filter(|slot| !skipped.contains(slot)).collect();
            state.started_slots.add(marked.iter().copied());
            let keys = marked.first().map(|slot| state.options.names().dataset_keys(*slot));
            let evicted = match keys {
                Some(keys) => evicted_keys(&keys.marker, commands).await,
                None => None,
            };
            let dataset = parse_mark_answer((since, settings, policy), evicted)?;
            found = Some(found.map_or_else(|| dataset.clone(), |found| merge(found, &dataset, &own)));
        }
    }
    Ok(found)
}

/// What is known of two groups of slots. Settings that differ from the process' own are the ones to report.
fn merge(one: Dataset, other: &Dataset, own: &DataSettings) -> Dataset {
    Dataset {
        whole_since_ms_of_marker: one.whole_since_ms_of_marker.max(other.whole_since_ms_of_marker),
        settings: if one.settings == *own { other.settings.clone() } else { one.settings },
        eviction_policy: one.eviction_policy.or_else(|| other.eviction_policy.clone()),
        evicted_keys: one.evicted_keys.max(other.evicted_keys),
    }
}
