//! The gauges that describe all links of a process together.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::super::link::LinkId;
use crate::metrics::Metrics;

/// Keeps the gauges. Each link reports under its id.
pub(super) struct LinkGauges {
    known: Mutex<KnownLinks>,
    /// How many links make the process ready.
    ready_with: ReadyWith,
    metrics: Metrics,
}

/// How many links make a process ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyWith {
    /// All of them, if each slot has one.
    All,
    /// At least one.
    Any,
}

struct KnownLinks {
    links: BTreeMap<LinkId, LinkReport>,
    /// Whether each channel has a link.
    is_whole: bool,
}

/// What a link reports.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LinkReport {
    /// Whether the link is healthy.
    pub(super) is_ready: bool,
    /// Whether its server has the function for durable publishing.
    pub(super) has_function: bool,
    /// Whether its server may evict keys.
    pub(super) may_evict: bool,
    /// How many keys its server has evicted.
    pub(super) evicted_keys: u64,
}

impl LinkGauges {
    /// Without links. `is_whole`: those that are added are all.
    pub(super) fn new(ready_with: ReadyWith, is_whole: bool, metrics: &Metrics) -> Self {
        let known = Mutex::new(KnownLinks { links: BTreeMap::new(), is_whole });
        Self { known, ready_with, metrics: metrics.clone() }
    }

    /// Whether each channel has a link from now on.
    pub(super) fn set_whole(&self, is_whole: bool) {
        self.change(|known| known.is_whole = is_whole);
    }

    /// Adds a link.
    pub(super) fn add(&self, link: LinkId) {
        self.change(|known| {
            known.links.insert(link, LinkReport::default());
        });
    }

    /// The link has ended for good.
    pub(super) fn remove(&self, link: LinkId) {
        self.change(|known| {
            known.links.remove(&link);
        });
    }

    /// Changes what a link reports. A link that was removed reports nothing.
    pub(super) fn report(&self, link: LinkId, change: impl FnOnce(&mut LinkReport)) {
        self.change(|known| {
            known.links.get_mut(&link).map(change);
        });
    }

    fn change(&self, change: impl FnOnce(&mut KnownLinks)) {
        let mut known = self.known.lock();
        change(&mut known);
        let KnownLinks { links, is_whole } = &*known;
        let (all, metrics) = (links.values(), &self.metrics);
        let ready = all.clone().filter(|link| link.is_ready).count();
        let is_up = match self.ready_with {
            ReadyWith::All => *is_whole && ready > 0 && ready == links.len(),
            ReadyWith::Any => ready > 0,
        };
        metrics.redis_link_up.set(is_up.into());
        // A master that is known to be down has no slots in the map, so it has no link, but one is missing.
        metrics.redis_links.set((links.len() + usize::from(!*is_whole)) as i64);
        metrics.redis_links_ready.set(ready as i64);
        let has_all = !links.is_empty() && all.clone().all(|link| link.has_function);
        metrics.history_available.set(has_all.into());
        metrics.redis_may_evict.set(all.clone().any(|link| link.may_evict).into());
        let evicted = all.map(|link| link.evicted_keys).fold(0_u64, u64::saturating_add);
        metrics.redis_evicted_keys.set(i64::try_from(evicted).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_up_with_as_many_links_as_configured() {
        for (ready_with, with_one, unowned) in [(ReadyWith::All, 0, 0), (ReadyWith::Any, 1, 1)] {
            let metrics = Metrics::default();
            let gauges = LinkGauges::new(ready_with, true, &metrics);
            let read = || {
                let links = (metrics.redis_links.get(), metrics.redis_links_ready.get());
                (links, metrics.redis_link_up.get(), metrics.history_available.get())
            };
            let links = [LinkId::of_number(1), LinkId::of_number(2)];
            links.into_iter().for_each(|link| gauges.add(link));
            assert_eq!(read(), ((2, 0), 0, 0));
            gauges.report(links[0], |link| (link.is_ready, link.has_function) = (true, true));
            assert_eq!(read(), ((2, 1), with_one, 0));
            gauges.remove(links[1]);
            gauges.report(links[1], |link| link.is_ready = true);
            assert_eq!(read(), ((1, 1), 1, 1));
            gauges.set_whole(false);
            assert_eq!(read(), ((2, 1), unowned, 1));
        }
    }
}
