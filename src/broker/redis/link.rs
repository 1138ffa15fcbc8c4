//! Keeps a link to Redis up: connects again after each loss.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::connect::Endpoint;
use super::connected;
use super::link_error::LinkError;
use super::rooms;
use super::state::{LinkState, RedisState};
use crate::backoff::Backoff;
use crate::metrics::{LinkLoss, Metrics};
use crate::settings::format_duration;

/// A link that was ready for this long resets the back-off and the log state. The waits of an unstable link grow, and
/// its losses count as one downtime in the log.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// How many times the shortest wait to wait at most for a server that may soon serve.
const SHORT_WAITS: u32 = 8;

/// A link that stays lost for the same reason is logged again after this time.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// How a link ended.
struct LinkEnd {
    error: LinkError,
    /// The endpoint of the link; `None`: it was not found.
    endpoint: Option<String>,
}

/// Keeps a link up until the broker is stopped. `address` names Redis in messages while no endpoint is known.
pub(super) async fn run(state: Arc<RedisState>, mut backoff: Backoff, address: &str) {
    let mut reported = Reported::default();
    let mut short_backoff = backoff.up_to_times(SHORT_WAITS);
    loop {
        // A panic ends the link like any other error, because no state of the link is used afterwards.
        state.begin();
        let link = AssertUnwindSafe(run_link(&state)).catch_unwind();
        let LinkEnd { error, endpoint } = tokio::select! {
            biased;
            () = state.stopped() => break,
            ended = link => ended.unwrap_or(LinkEnd { error: LinkError::Panicked, endpoint: None }),
            () = state.reassigned() => LinkEnd { error: LinkError::Moved, endpoint: None },
        };
        let before = disconnect(&state, error.clone());
        if matches!(error, LinkError::IsCluster { .. }) && state.fail_setup(&error) {
            return;
        }
        if let LinkState::Ready { since, .. } = before
            && since.elapsed() >= STABLE_AFTER
        {
            backoff.reset();
            reported = Reported::default();
        }
        let was_connected = matches!(before, LinkState::Ready { .. } | LinkState::Probing { .. });
        if was_connected {
            Metrics::count(&state.metrics.redis_link_losses, error.reason());
            short_backoff.reset();
        }
        let waits = if error.passes_soon() { &mut short_backoff } else { &mut backoff };
        let wait = waits.next(&mut rand::rng());
        log_end(&error, was_connected, &mut reported, endpoint.as_deref().unwrap_or(address), wait);
        tokio::select! {
            () = state.stopped() => break,
            () = sleep(wait) => {}
        }
    }
    disconnect(&state, LinkError::Closed);
}

/// Marks the link as lost. Returns its state before.
fn disconnect(state: &RedisState, error: LinkError) -> LinkState {
    // First, so the hubs know of the loss before `health` reports it.
    state.link.lock().disconnected();
    let duties = state.duties();
    if duties.presence {
        rooms::disconnected(state);
    }
    if duties.users {
        state.are_users_missed.store(true, Ordering::Release);
    }
    // Another server may be the master now.
    state.map_stale.notify_one();
    state.downtime.lost(Instant::now(), &state.metrics);
    state.disconnected(error)
}

/// Log state of the link's downtime: each reason is logged once, and then once per [`REPORT_INTERVAL`], not at every
/// attempt.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// The latest reason, and when it was logged.
    latest: Option<(LinkLoss, Instant)>,
    began: Option<Instant>,
}

impl Reported {
    /// Whether to log the reason now. If so, returns how long the link has been unstable.
    pub(super) fn is_due(&mut self, reason: LinkLoss, now: Instant) -> Option<Duration> {
        let began = *self.began.get_or_insert(now);
        match self.latest {
            Some((latest, at)) if latest == reason && now - at < REPORT_INTERVAL => None,
            _ => {
                self.latest = Some((reason, now));
                Some(now - began)
            }
        }
    }
}

/// Logs why a link was lost, or why none was made.
fn log_end(error: &LinkError, was_connected: bool, reported: &mut Reported, endpoint: &str, wait: Duration) {
    let due = reported.is_due(error.reason(), Instant::now());
    let level = match due {
        None => log::Level::Debug,
        Some(_) if error.needs_an_operator() => log::Level::Error,
        Some(_) => log::Level::Warn,
    };
    // In whole seconds.
    let unstable =
        due.map(|time| Duration::from_secs(time.as_secs())).filter(|time| *time >= REPORT_INTERVAL);
    let unstable = unstable.map_or_else(String::new, |time| format!(" (no stable link for {time:?})"));
    let wait = format_duration(wait);
    if was_connected {
        log::log!(level, "redis at {endpoint}: link lost: {error}{unstable}; reconnecting in {wait}");
    } else {
        log::log!(level, "redis at {endpoint}: {error}{unstable}; next attempt in {wait}");
    }
}

/// One link, from the attempt to its end.
async fn run_link(state: &Arc<RedisState>) -> LinkEnd {
    let found = match &state.node {
        Some(node) => Endpoint::of_node(&state.options, node).await,
        None => Endpoint::resolve(state).await,
    };
    let endpoint = match found {
        Ok(endpoint) => endpoint,
        Err(error) => return LinkEnd { error, endpoint: None },
    };
    let error = match endpoint.connect(state).await {
        Ok(connections) => connected::run(state, connections, &endpoint).await,
        Err(error) => error,
    };
    LinkEnd { error, endpoint: Some(endpoint.name()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_downtime_is_logged_again_every_minute() {
        let (mut reported, start) = (Reported::default(), Instant::now());
        let mut due = |label, second| reported.is_due(label, start + Duration::from_secs(second));
        assert_eq!(due(LinkLoss::Closed, 0), Some(Duration::ZERO));
        assert_eq!(due(LinkLoss::Connect, 1), Some(Duration::from_secs(1)));
        for second in [2, 30, 60] {
            assert_eq!(due(LinkLoss::Connect, second), None, "{second}");
        }
        assert_eq!(due(LinkLoss::Connect, 61), Some(Duration::from_secs(61)));
        assert_eq!(due(LinkLoss::Connect, 120), None);
        assert_eq!(due(LinkLoss::Connect, 121), Some(Duration::from_secs(121)));
    }
}
