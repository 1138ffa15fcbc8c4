//! From what Redis sends to the hubs. Runs in the link's task, for every message: it must stay cheap.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Msg;

use super::super::Inbox;
use super::super::delivery::UNKNOWN_CHANNEL;
use super::state::State;
use protocol::publication::{PayloadError, decode_for_users};

/// At most one line about dropped payloads in this time: a broken publisher may be a fast one.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Reads messages and hands them over.
pub(super) struct Receiver<'a> {
    state: &'a State,
    /// `<prefix>:`
    prefix: String,
    /// Kept for its memory: empty between two messages.
    receivers: Vec<Arc<dyn Inbox>>,
    logged: Option<Instant>,
    unlogged: u64,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let prefix = state.options.redis_channel("");
        Self { state, prefix, receivers: Vec::new(), logged: None, unlogged: 0 }
    }

    /// Takes one message. Returns the nonce if it is a probe of this process.
    pub(super) fn take(&mut self, message: &Msg) -> Option<u64> {
        let payload = message.get_payload_bytes();
        let Some(channel) = message.get_channel_name().strip_prefix(&self.prefix) else {
            self.count_drop(UNKNOWN_CHANNEL);
            return None;
        };
        if channel == self.state.probe {
            return std::str::from_utf8(payload).ok()?.parse().ok();
        }
        self.state.delivery.metrics.publications_received.inc();
        // A payload that makes our code panic costs one message, not the link.
        let taken = catch_unwind(AssertUnwindSafe(|| {
            if channel == super::USERS { self.for_users(payload) } else { self.for_channel(channel, payload) }
        }));
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.drop_payload(reason, channel, payload),
            Err(_) => {
                self.receivers.clear();
                self.drop_payload("panicked", channel, payload);
            }
        }
        None
    }

    fn for_channel(&mut self, channel: &str, payload: &[u8]) -> Result<(), &'static str> {
        let State { delivery, dataset, .. } = self.state;
        delivery.receive(channel, payload, dataset.max_payload_bytes(), &mut self.receivers)
    }

    fn for_users(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let State { delivery, dataset, .. } = self.state;
        let publications =
            decode_for_users(payload, dataset.max_payload_bytes()).map_err(PayloadError::label)?;
        for publication in publications {
            // Most of the users have no session here: that is no error.
            let channel = publication.channel().as_str();
            if let Some((_, arrival)) = delivery.audience.arrive(channel, None, &mut self.receivers) {
                delivery.pass_on(publication, arrival, &mut self.receivers);
            }
        }
        Ok(())
    }

    /// Counts a payload that reaches nobody and keeps it for a person to look at; now and then says so, without
    /// its content.
    fn drop_payload(&mut self, reason: &'static str, channel: &str, payload: &[u8]) {
        self.count_drop(reason);
        let (bytes, now) = (payload.len(), Instant::now());
        self.state.rejected.offer(channel, reason, payload, now);
        if self.logged.is_some_and(|logged| now - logged < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        log::warn!(
            "redis: dropped a payload of {bytes} bytes: {reason} ({} more since the last line)",
            self.unlogged
        );
        (self.logged, self.unlogged) = (Some(now), 0);
    }

    fn count_drop(&self, reason: &'static str) {
        self.state.delivery.count_drop(reason);
    }
}
