//! From a publication to the inboxes of the hubs that want it, the same for both carriers.

use std::sync::Arc;

use super::audience::{Arrival, Audience, Continuity, Progress};
use super::{HubEvent, HubId, Inbox};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;
use protocol::publication::{PayloadError, Publication};

/// Why a publication is dropped that nobody here has asked for.
pub(super) const UNKNOWN_CHANNEL: &str = "unknown_channel";

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

    /// Takes one payload from an ordered link and hands it over, holds it back or drops it, whichever its channel
    /// needs. `receivers` is only lent: it is empty before and after.
    ///
    /// # Errors
    /// The payload cannot be read; the label of the reason.
    pub(super) fn receive(
        &self,
        channel: &str,
        payload: &[u8],
        max_bytes: usize,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) -> Result<(), &'static str> {
        let position = Publication::place_of(payload).map_err(PayloadError::label)?;
        let Some((name, arrival)) = self.audience.arrive(channel, position, receivers) else {
            // Most likely it was left a moment ago.
            self.count_drop(UNKNOWN_CHANNEL);
            return Ok(());
        };
        if arrival == Arrival::Deliver && receivers.is_empty() {
            // The last hub has left it and the link is about to: nobody misses anything.
            return Ok(());
        }
        let decoded = Publication::decode(name, payload, max_bytes);
        let publication = decoded.map_err(|error| {
            receivers.clear();
            error.label()
        })?;
        self.pass_on(publication, arrival, receivers);
        Ok(())
    }

    /// Does with a publication what its arrival asks for.
    pub(super) fn pass_on(
        &self,
        publication: Publication,
        arrival: Arrival,
        receivers: &mut Vec<Arc<dyn Inbox>>,
    ) {
        match arrival {
            Arrival::Deliver => self.hand_over(publication, receivers),
            Arrival::Duplicate => self.count_drop("duplicate"),
            Arrival::Hold { .. } if self.audience.hold(publication) => {}
            Arrival::Hold { .. } => self.count_drop("catching_up"),
        }
    }

    pub(super) fn count_drop(&self, reason: &'static str) {
        Metrics::count(&self.metrics.publications_dropped, reason);
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
        let Progress { gap, continues_at, publications, repaired, read } =
            self.audience.advance(channel, step, &mut receivers);
        self.metrics.publications_repaired.inc_by(repaired);
        if let Some(reason) = gap {
            Metrics::count(&self.metrics.gaps, reason.label());
            for inbox in &receivers {
                // A gap is always taken.
                let _ = inbox.offer(HubEvent::Gap { channel: channel.clone(), reason, place: continues_at });
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
