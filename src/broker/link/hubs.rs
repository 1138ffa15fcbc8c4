//! The inboxes of a broker's hubs, and small sets of hubs.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::{HubEvent, HubId, Inbox};
use crate::metrics::{DropReason, Metrics, SignalResult};
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;
use protocol::signal::Signal;

/// The inboxes of all hubs.
pub(crate) struct Inboxes {
    inboxes: Vec<Arc<dyn Inbox>>,
    metrics: Metrics,
}

impl Inboxes {
    pub(crate) fn new(inboxes: Vec<Arc<dyn Inbox>>, metrics: &Metrics) -> Self {
        Self { inboxes, metrics: metrics.clone() }
    }

    /// Adds a hub.
    pub(crate) fn add(&mut self, inbox: Arc<dyn Inbox>) -> HubId {
        self.inboxes.push(inbox);
        HubId::of_index(self.inboxes.len() - 1)
    }

    pub(crate) fn notify(&self, hub: HubId, event: HubEvent) {
        if let Some(inbox) = self.inboxes.get(hub.index()) {
            // An inbox may refuse only publications and signals.
            let _ = inbox.offer(event);
        }
    }

    pub(crate) fn notify_gap(
        &self,
        hubs: &HubSet,
        channel: &ChannelName,
        reason: GapReason,
        position: Option<Position>,
    ) {
        Metrics::count(&self.metrics.gaps, reason);
        for hub in hubs.as_slice() {
            self.notify(*hub, HubEvent::Gap { channel: channel.clone(), reason, position });
        }
    }

    /// Offers a publication to the hubs of its channel, and counts the hubs that refuse it.
    pub(crate) fn offer(&self, hubs: &HubSet, publication: &Arc<Publication>) {
        for inbox in hubs.as_slice().iter().filter_map(|hub| self.inboxes.get(hub.index())) {
            if inbox.offer(HubEvent::Publication(Arc::clone(publication))).is_err() {
                Metrics::count(&self.metrics.publications_dropped, DropReason::HubInboxFull);
            }
        }
    }

    /// Offers a signal to the hubs of its channel, and counts the hubs that refuse it.
    pub(crate) fn offer_signal(&self, hubs: &HubSet, signal: &Arc<Signal>) {
        Metrics::count(&self.metrics.signals, SignalResult::Arrived);
        for inbox in hubs.as_slice().iter().filter_map(|hub| self.inboxes.get(hub.index())) {
            if inbox.offer(HubEvent::Signal(Arc::clone(signal))).is_err() {
                Metrics::count(&self.metrics.signals, SignalResult::HubInboxFull);
            }
        }
    }
}

/// The hubs of a process. All its links have these hubs, in this order, so a hub has the same id in each link.
///
/// Its lock is taken under the lock of a core, and for the events about the link only.
#[derive(Default)]
pub(crate) struct AttachedHubs(Mutex<AttachedState>);

#[derive(Default)]
struct AttachedState {
    inboxes: Vec<Arc<dyn Inbox>>,
    links_up: usize,
}

impl AttachedHubs {
    /// Adds a hub. Its first event tells whether any link is up.
    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>) {
        let mut state = self.0.lock();
        let _ = inbox.offer(HubEvent::Link { is_up: state.links_up > 0 });
        state.inboxes.push(inbox);
    }

    /// The inboxes of all hubs, for a new link.
    pub(crate) fn inboxes(&self) -> Vec<Arc<dyn Inbox>> {
        self.0.lock().inboxes.clone()
    }

    /// One link went up or down. The hubs learn when the first one goes up, and when the last one goes down.
    pub(crate) fn link_changed(&self, is_up: bool) {
        let mut state = self.0.lock();
        let before = state.links_up > 0;
        state.links_up = if is_up { state.links_up + 1 } else { state.links_up.saturating_sub(1) };
        if (state.links_up > 0) != before {
            for inbox in &state.inboxes {
                // An inbox may refuse only publications and signals.
                let _ = inbox.offer(HubEvent::Link { is_up });
            }
        }
    }
}

/// The hubs that want a channel. Most channels have one hub, which needs no allocation.
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
