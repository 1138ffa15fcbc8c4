//! Makes the links follow a map of the slots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::super::assignment::Assignment;
use super::super::cluster::slot::Slot;
use super::super::cluster::{NodeAddress, SlotMap};
use super::super::links::RedisLinks;
use super::super::names::Names;
use super::super::process::ProcessState;
use super::super::routes::{Routes, SlotOwners};
use super::super::state::RedisState;

/// Applies a map. Returns the new links, which are to be run.
///
/// A link ends when its master has no slots any more. A master that gets slots again has a new link.
pub(super) fn apply(links: &RedisLinks, map: &SlotMap) -> Vec<Arc<RedisState>> {
    let (process, before) = (&links.process, links.routes());
    let mut slots = BTreeMap::<&NodeAddress, Vec<Slot>>::new();
    let ahead = process.redirects.ahead_of(map, Instant::now());
    for slot in Slot::all() {
        if let Some(owner) = ahead.get(&slot).copied().or_else(|| map.owner(slot)) {
            slots.entry(owner).or_default().push(slot);
        }
    }
    let mut started = Vec::new();
    let current: Vec<_> = slots
        .keys()
        .map(|node| {
            let known = before.links.iter().find(|link| link.node.as_ref() == Some(*node));
            known.cloned().unwrap_or_else(|| {
                let link = new_link(process, (*node).clone());
                started.push(Arc::clone(&link));
                link
            })
        })
        .collect();
    let ended: Vec<_> = before.links.iter().filter(|link| !contains(&current, link)).cloned().collect();
    let mut by_slot = vec![None; Slot::all().count()];
    for (index, slots) in slots.values().enumerate() {
        slots.iter().for_each(|slot| by_slot[slot.index()] = Some(index));
    }
    // Links without slots give up their duties before other links take them.
    ended.iter().for_each(|link| link.assign(Assignment::none()));
    assign(process, &current, slots.into_values());
    process.gauges.set_whole(by_slot.iter().all(Option::is_some));
    route_channels(process, &current, &by_slot);
    if let Some(nobody) = before.nobody().cloned().filter(|_| !before.is_same(&current, &by_slot)) {
        // Without a map before, nothing was logged about its slots.
        let logged = before.failure().map_or_else(|| before.unowned(), |_| 0);
        log_unowned(logged, by_slot.iter().filter(|index| index.is_none()).count());
        let owners = SlotOwners { by_slot, nobody, failure: None };
        links.routes.send_replace(Arc::new(Routes::sharded(current, owners)));
    }
    for link in ended {
        log::info!("{}: the master has failed or has no slots any more", link.name());
        link.stop();
        process.router.remove(link.id());
        process.gauges.remove(link.id());
    }
    started
}

/// Notes why there is no map, if there never was one.
pub(super) fn note_failure(links: &RedisLinks, failure: &str) {
    let before = links.routes();
    if let (Some(_), Some(nobody)) = (before.failure(), before.nobody().cloned()) {
        let by_slot = vec![None; Slot::all().count()];
        let owners = SlotOwners { by_slot, nobody, failure: Some(failure.to_owned()) };
        links.routes.send_replace(Arc::new(Routes::sharded(Vec::new(), owners)));
    }
}

/// Logs that slots have no master, as `/readyz` says it.
fn log_unowned(before: usize, after: usize) {
    match after {
        after if after == before => {}
        0 => log::info!("redis: every slot of the cluster has a master"),
        after => log::warn!("redis: {after} slots of the cluster have no master"),
    }
}

fn contains(links: &[Arc<RedisState>], link: &Arc<RedisState>) -> bool {
    links.iter().any(|other| Arc::ptr_eq(other, link))
}

fn new_link(process: &Arc<ProcessState>, node: NodeAddress) -> Arc<RedisState> {
    let (id, shared) = process.router.add();
    process.gauges.add(id);
    Arc::new(RedisState::new(Arc::clone(process), (id, shared), Some(node), Assignment::none()))
}

/// Tells each link its slots; first those that lose a duty, so that two links never have it.
fn assign(process: &ProcessState, links: &[Arc<RedisState>], slots: impl Iterator<Item = Vec<Slot>>) {
    let assignments = links.iter().zip(slots).map(|(link, slots)| {
        let before = link.wanted();
        let after = Assignment::of_slots(slots, &before, &process.duty_slots);
        (link, before.can_become(&after), after)
    });
    let mut assignments: Vec<_> = assignments.collect();
    assignments.sort_by_key(|(_, can_go_on, _)| *can_go_on);
    for (link, _, assignment) in assignments {
        link.assign(assignment);
    }
}

/// Moves each channel to the link of its slot.
fn route_channels(process: &ProcessState, links: &[Arc<RedisState>], by_slot: &[Option<usize>]) {
    let owners: Vec<_> =
        by_slot.iter().map(|index| index.and_then(|index| Some(links.get(index)?.id()))).collect();
    let (layout, prefix) = (process.options.layout, process.options.prefix.clone());
    process
        .router
        .assign(Box::new(move |channel| owners[Names { layout, prefix: &prefix }.slot_of(channel).index()]));
}
