//! From a publication to the inboxes of the hubs that want it, the same for both carriers.

use std::sync::Arc;

use super::audience::{Audience, Continuity, Progress};
use super::{HubEvent, HubId, Inbox};
use crate::metrics::Metrics;
use crate::protocol::channel::ChannelName;
use crate::protocol::position::Position;
use crate::protocol::publication::Publication;

/// The audience with its inboxes and counters.
pub(super) struct Delivery {
    pub(super) audience: Audience,
    pub(super) metrics: Metrics,
}

impl Delivery {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { audience: Audience::new(metrics), metrics: metrics.clone() }
    }

    pub(super) fn attach(&self, inbox: Arc<dyn Inbox>) -> HubId {
        self.audience.attach(inbox)
    }

    pub(super) fn subscribe(
        &self,
        hub: HubId,
        channels: Vec<ChannelName>,
        now: impl FnMut(&ChannelName) -> Position,
    ) {
        self.audience.subscribe(hub, channels, now);
    }

    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.audience.unsubscribe(hub, channels);
    }

    /// Hands one publication to each inbox, and empties the list.
    pub(super) fn hand_over(&self, publication: Publication, receivers: &mut Vec<Arc<dyn Inbox>>) {
        if receivers.is_empty() {
            return;
        }
        self.share(&Arc::new(publication), receivers);
        receivers.clear();
    }

    /// Takes a step of a channel's continuity and hands over what comes of it. Returns the place behind which to
    /// read next, if the channel has not caught up.
    pub(super) fn advance(
        &self,
        channel: &ChannelName,
        step: impl FnOnce(&mut Continuity) -> Progress,
    ) -> Option<Position> {
        let mut receivers = Vec::new();
        let Progress { gap, publications, repaired, read } =
            self.audience.advance(channel, step, &mut receivers);
        self.metrics.publications_repaired.inc_by(repaired);
        if let Some(reason) = gap {
            Metrics::count(&self.metrics.gaps, reason.label());
            for inbox in &receivers {
                // A gap is always taken.
                let _ = inbox.offer(HubEvent::Gap { channel: channel.clone(), reason });
            }
        }
        for publication in &publications {
            self.share(publication, &receivers);
        }
        read
    }

    fn share(&self, publication: &Arc<Publication>, receivers: &[Arc<dyn Inbox>]) {
        for inbox in receivers {
            if inbox.offer(HubEvent::Publication(Arc::clone(publication))).is_err() {
                Metrics::count(&self.metrics.publications_dropped, "hub_inbox_full");
            }
        }
    }
}
