//! The broker inside one process: what is published is delivered before `publish` returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::delivery::Delivery;
use super::recovery::{NotRecovered, Recovered, RecoveryLimits};
use super::{Health, HubId, PublishError};
use crate::metrics::Metrics;
use crate::protocol::channel::ChannelName;
use crate::protocol::position::Position;
use crate::protocol::publication::Publication;

/// A handle of the memory broker; cloning shares it.
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    delivery: Delivery,
    /// Held while a publication is handed over, so that all hubs see publications in one order whichever
    /// threads publish: the order that Redis gives for free.
    order: Mutex<()>,
    max_payload_bytes: usize,
    stopped: AtomicBool,
}

impl MemoryBroker {
    pub(super) fn new(max_payload_bytes: usize, metrics: &Metrics) -> Self {
        metrics.link_up.set(1);
        Self {
            shared: Arc::new(Shared {
                delivery: Delivery::new(metrics),
                order: Mutex::new(()),
                max_payload_bytes,
                stopped: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.shared.delivery
    }

    pub(super) fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        let now = self.position_now();
        // No publication is on its way while the places are read.
        let _one_at_a_time = self.shared.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.delivery.subscribe(hub, channels, |_| now);
    }

    pub(super) fn recover(
        &self,
        _channel: &ChannelName,
        _since: Position,
        _limits: RecoveryLimits,
    ) -> Result<Recovered, NotRecovered> {
        Err(NotRecovered::Lost)
    }

    pub(super) fn publish(&self, channel: &ChannelName, message: &RawValue) -> Result<(), PublishError> {
        let Shared { delivery, order, max_payload_bytes, .. } = &*self.shared;
        if self.is_stopped() {
            return Err(PublishError::Unavailable);
        }
        super::check_size(message, *max_payload_bytes)?;
        let publication = Publication::new(channel.clone(), None, message.to_owned().into());
        let mut receivers = Vec::new();
        let _one_at_a_time = order.lock().unwrap_or_else(PoisonError::into_inner);
        delivery.metrics.publications_received.inc();
        delivery.audience.arrive(channel.as_str(), None, &mut receivers);
        delivery.hand_over(publication, &mut receivers);
        Ok(())
    }

    pub(super) fn position_now(&self) -> Position {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // u64 milliseconds are enough for 500 million years.
        Position::before(since_epoch.as_millis() as u64)
    }

    pub(super) fn health(&self) -> Health {
        if self.is_stopped() {
            let reasons = vec!["memory: the broker is stopped".into()];
            return Health { ready: false, state: "stopped", reasons };
        }
        Health { ready: true, state: "ready", reasons: Vec::new() }
    }

    pub(super) fn shutdown(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.delivery.metrics.link_up.set(0);
    }

    fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }
}
