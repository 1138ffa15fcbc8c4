//! From a publication to the inboxes of the hubs that want it, the same for both carriers.

use std::sync::Arc;

use super::audience::{Answer, Audience};
use super::{HubEvent, HubId, Inbox};
use crate::metrics::Metrics;
use crate::protocol::channel::ChannelName;
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

    pub(super) fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        let answer = self.audience.subscribe(hub, channels);
        self.answer(answer);
    }

    pub(super) fn unsubscribe(&self, hub: HubId, channels: &[ChannelName]) {
        self.audience.unsubscribe(hub, channels);
    }

    /// Tells hubs that their subscriptions are made.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        for Answer { hub, channels } in answers {
            let Some(inbox) = self.audience.inbox(hub) else { continue };
            if inbox.offer(HubEvent::Subscribed(channels)).is_err() {
                // Against the contract. Its sessions wait for nothing; so say it loudly.
                log::error!("broker: a hub refused the answer to its subscription");
            }
        }
    }

    /// Hands one publication to each inbox, and empties the list.
    pub(super) fn hand_over(&self, publication: Publication, receivers: &mut Vec<Arc<dyn Inbox>>) {
        if receivers.is_empty() {
            return;
        }
        let publication = Arc::new(publication);
        for inbox in receivers.drain(..) {
            if inbox.offer(HubEvent::Publication(Arc::clone(&publication))).is_err() {
                Metrics::count(&self.metrics.publications_dropped, "hub_inbox_full");
            }
        }
    }
}
