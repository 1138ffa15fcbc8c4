//! Passes messages from Redis to the core of the link. Runs on the link's thread for every message, so it must stay cheap.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::names::Name;
use super::rooms;
use super::state::RedisState;
use crate::metrics::{DropReason, Label as _, Metrics, SignalResult};
use protocol::publication::{Payload, PayloadError, decode_for_users};
use protocol::signal_payload::SignalPayload;

/// At most one log line about dropped payloads in this time, because a broken publisher may be fast.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Parses messages and passes them to the core of the link.
pub(super) struct PayloadReceiver {
    state: Arc<RedisState>,
    /// The name of the probe's channel.
    probe: String,
    logged: Option<Instant>,
    unlogged: u64,
}

impl PayloadReceiver {
    pub(super) fn new(state: Arc<RedisState>) -> Self {
        Self { probe: state.probe(), state, logged: None, unlogged: 0 }
    }

    /// Handles one message. Returns the nonce if it is a probe of this process.
    pub(super) fn receive(&mut self, name: &str, payload: &[u8]) -> Option<u64> {
        if name == self.probe {
            return std::str::from_utf8(payload).ok()?.parse().ok();
        }
        let channel = match self.state.options.names().parse(name) {
            Some(Name::Channel(channel)) => channel,
            // Only the channels of rooms are subscribed.
            Some(Name::Presence(name)) => {
                if rooms::receive(&self.state, name, payload).is_err() {
                    let channel = format!("{{presence}}:{name}");
                    self.drop_payload(DropReason::Payload(PayloadError::NotJson), &channel, payload);
                }
                return None;
            }
            Some(Name::Control(_)) => {
                self.state.control.announce(payload);
                return None;
            }
            None => {
                self.count_unknown();
                return None;
            }
        };
        let received = Some(Instant::now());
        let is_signal = SignalPayload::is_signal(payload) && channel != super::USERS;
        if !is_signal {
            self.state.metrics.publications_received.inc();
        }
        // A payload that makes the parser panic costs one message, not the link.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if is_signal {
                self.deliver_signal(channel, payload)
            } else if channel == super::USERS {
                self.deliver_to_users(payload, received)
            } else {
                self.deliver_to_channel(channel, payload, received)
            }
        }));
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.drop_payload(DropReason::Payload(error), channel, payload),
            Err(_) => self.drop_payload(DropReason::Panicked, channel, payload),
        }
        None
    }

    fn deliver_to_channel(
        &self,
        channel: &str,
        payload: &[u8],
        received: Option<Instant>,
    ) -> Result<(), PayloadError> {
        let payload = Payload { received, ..Payload::parse(payload, self.state.dataset.payload_limits())? };
        if !self.state.link.receive(channel, payload) {
            // Most likely the link has just unsubscribed from it.
            self.count_unknown();
        }
        Ok(())
    }

    fn deliver_signal(&self, channel: &str, payload: &[u8]) -> Result<(), PayloadError> {
        let signal = SignalPayload::parse(payload, self.state.dataset.payload_limits().max_depth)?;
        if !self.state.link.receive_signal(channel, signal) {
            Metrics::count(&self.state.metrics.signals, SignalResult::UnknownChannel);
        }
        Ok(())
    }

    fn deliver_to_users(&self, payload: &[u8], received: Option<Instant>) -> Result<(), PayloadError> {
        let (users, message) = decode_for_users(payload, self.state.dataset.payload_limits())?;
        for channel in users {
            // Most of the users have no session here, which is no error.
            let payload = Payload { position: None, message: message.clone(), received };
            self.state.router.receive(channel.as_str(), payload);
        }
        Ok(())
    }

    /// Counts, records and logs a payload that reaches no subscriber. The log has no content of it, and at most one
    /// line for each `LOG_INTERVAL`.
    fn drop_payload(&mut self, reason: DropReason, channel: &str, payload: &[u8]) {
        let (bytes, now) = (payload.len(), Instant::now());
        Metrics::count(&self.state.metrics.publications_dropped, reason);
        self.state.rejected.offer(channel, reason.label(), payload, now);
        if self.logged.is_some_and(|logged| now - logged < LOG_INTERVAL) {
            self.unlogged += 1;
            return;
        }
        log::warn!("{}", dropped_line(bytes, reason, self.unlogged));
        (self.logged, self.unlogged) = (Some(now), 0);
    }

    fn count_unknown(&self) {
        Metrics::count(&self.state.metrics.publications_dropped, DropReason::UnknownChannel);
    }
}

/// The log line for a dropped payload. `unlogged` counts those without a line since the last one.
fn dropped_line(bytes: usize, reason: DropReason, unlogged: u64) -> String {
    let more = match unlogged {
        0 => String::new(),
        unlogged => format!("; {unlogged} more dropped since the last such line"),
    };
    format!("redis: payload of {bytes} bytes dropped: {}{more}", reason.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_only_payloads_dropped_in_between() {
        let line = |unlogged| dropped_line(3, DropReason::UnknownChannel, unlogged);
        let reason = DropReason::UnknownChannel.label();
        assert_eq!(line(0), format!("redis: payload of 3 bytes dropped: {reason}"));
        assert!(line(2).ends_with("; 2 more dropped since the last such line"));
    }
}
