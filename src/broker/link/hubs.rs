//! The hubs that want a channel, in little memory.

use crate::broker::HubId;

/// The hubs that want a channel. Most channels are wanted by one.
pub(crate) enum Hubs {
    One(HubId),
    /// None, two or more.
    Several(Box<[HubId]>),
}

impl Hubs {
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

    /// Whether it was there.
    pub(crate) fn remove(&mut self, hub: HubId) -> bool {
        let hubs = self.as_slice();
        let found = hubs.contains(&hub);
        if found {
            *self = hubs.iter().copied().filter(|other| *other != hub).collect();
        }
        found
    }
}

impl FromIterator<HubId> for Hubs {
    fn from_iter<I: IntoIterator<Item = HubId>>(hubs: I) -> Self {
        let hubs: Box<[HubId]> = hubs.into_iter().collect();
        match *hubs {
            [hub] => Self::One(hub),
            _ => Self::Several(hubs),
        }
    }
}
