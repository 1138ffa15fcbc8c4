//! A small set of hubs.

use crate::broker::HubId;

/// The hubs that want a channel. Most channels have one hub, which takes no allocation.
pub(crate) enum HubSet {
    One(HubId),
    /// None, two or more.
    Several(Box<[HubId]>),
}

impl HubSet {
    pub(crate) fn none() -> Self {
        Self::Several(Box::default())
    }

    pub(crate) fn as_slice(&self) -> &[HubId] {
        match self {
            Self::One(hub) => std::slice::from_ref(hub),
            Self::Several(hubs) => hubs,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn add(&mut self, hub: HubId) {
        let hubs = self.as_slice();
        if !hubs.contains(&hub) {
            *self = hubs.iter().copied().chain([hub]).collect();
        }
    }

    /// Returns whether the hub was in the set.
    pub(crate) fn remove(&mut self, hub: HubId) -> bool {
        let hubs = self.as_slice();
        let found = hubs.contains(&hub);
        if found {
            *self = hubs.iter().copied().filter(|other| *other != hub).collect();
        }
        found
    }
}

impl FromIterator<HubId> for HubSet {
    fn from_iter<I: IntoIterator<Item = HubId>>(hubs: I) -> Self {
        let hubs: Box<[HubId]> = hubs.into_iter().collect();
        match *hubs {
            [hub] => Self::One(hub),
            _ => Self::Several(hubs),
        }
    }
}
