//! The broker inside one process: what is published is delivered before `publish` returns.
//!
//! `history` keeps what is published durably.

mod history;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::delivery::Delivery;
use super::recovery::{NotRecovered, Recovered, Recovery, RecoveryLimits};
use super::{Health, HistoryOptions, HubId, PublishError};
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;
use protocol::publication::Publication;

use history::{Appended, MemoryHistory};

/// A handle of the memory broker; cloning shares it.
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

struct Shared {
    delivery: Delivery,
    /// Held while a publication is handed over, so that all hubs see publications in one order whichever
    /// threads publish: the order that Redis gives for free. Durable ones stand in it in the order of their places.
    order: Mutex<MemoryHistory>,
    max_payload_bytes: usize,
    stopped: AtomicBool,
}

impl MemoryBroker {
    pub(super) fn new(max_payload_bytes: usize, history: HistoryOptions, metrics: &Metrics) -> Self {
        metrics.link_up.set(1);
        metrics.history_available.set(1);
        Self {
            shared: Arc::new(Shared {
                delivery: Delivery::new(metrics),
                order: Mutex::new(MemoryHistory::new(history, now_ms())),
                max_payload_bytes,
                stopped: AtomicBool::new(false),
            }),
        }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.shared.delivery
    }

    pub(super) fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        // No publication is on its way while the places are read.
        let mut history = self.history();
        let now_ms = now_ms();
        let place =
            |channel: &ChannelName| history.tail(channel, now_ms).unwrap_or_else(|| Position::before(now_ms));
        self.shared.delivery.subscribe(hub, channels, place);
    }

    pub(super) fn recover(
        &self,
        channel: &ChannelName,
        since: Position,
        limits: RecoveryLimits,
    ) -> Result<Recovered, NotRecovered> {
        let mut recovery = Recovery::new(since, limits);
        // One more than allowed shows that there are too many.
        recovery.take(self.history().page(channel, since, limits.messages.saturating_add(1), now_ms()))?;
        Ok(recovery.finish())
    }

    pub(super) fn publish(&self, channel: &ChannelName, message: &RawValue) -> Result<(), PublishError> {
        self.admit(message)?;
        let publication = Publication::new(channel.clone(), None, message.to_owned().into());
        let _one_at_a_time = self.history();
        self.hand_over(publication);
        Ok(())
    }

    pub(super) fn publish_durable(
        &self,
        channel: &ChannelName,
        message: &RawValue,
        idempotency_key: Option<&str>,
    ) -> Result<Position, PublishError> {
        super::check_idempotency_key(idempotency_key)?;
        self.admit(message)?;
        let message: Arc<RawValue> = message.to_owned().into();
        let mut history = self.history();
        let Appended { position, is_repeated } =
            history.append(channel, Arc::clone(&message), idempotency_key, now_ms());
        if !is_repeated {
            self.hand_over(Publication::new(channel.clone(), Some(position), message));
        }
        Ok(position)
    }

    fn admit(&self, message: &RawValue) -> Result<(), PublishError> {
        if self.is_stopped() {
            return Err(PublishError::Unavailable);
        }
        super::check_size(message, self.shared.max_payload_bytes)
    }

    fn hand_over(&self, publication: Publication) {
        let delivery = &self.shared.delivery;
        let mut receivers = Vec::new();
        delivery.metrics.publications_received.inc();
        delivery.audience.pass(publication.channel().as_str(), publication.position(), &mut receivers);
        delivery.hand_over(publication, &mut receivers);
    }

    /// Whoever holds it may publish.
    fn history(&self) -> MutexGuard<'_, MemoryHistory> {
        self.shared.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn position_now(&self) -> Position {
        Position::before(now_ms())
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

/// Unix time; 0 before it began.
fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // u64 milliseconds are enough for 500 million years.
    since_epoch.as_millis() as u64
}
