//! Keeps a link to Redis: connects again after each loss.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::connect::Endpoint;
use super::connected;
use super::link_error::LinkError;
use super::state::{LinkState, State};
use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// A link that was ready for this long resets the backoff. An unstable link reconnects ever more slowly, and is logged
/// once.
const STEADY: Duration = Duration::from_secs(30);

/// How a link ended.
struct Ended {
    error: LinkError,
    /// The endpoint that it led to; `None`: it was not found.
    endpoint: Option<String>,
}

/// Keeps a link until the broker is stopped. `address` is for messages, as long as no endpoint is known.
pub(super) async fn keep(state: Arc<State>, mut backoff: Backoff, address: &str) {
    // The label of the error that was last reported: each is said once, not at every attempt.
    let mut reported = None;
    loop {
        // A panic in it ends the link like any other error: nothing of it is used afterwards.
        let link = AssertUnwindSafe(link(&state)).catch_unwind();
        let Ended { error, endpoint } = tokio::select! {
            () = state.stopped() => break,
            ended = link => ended.unwrap_or(Ended { error: LinkError::Panicked, endpoint: None }),
        };
        let before = disconnect(&state, error.clone());
        if let LinkState::Ready { since, .. } = before
            && since.elapsed() >= STEADY
        {
            backoff.reset();
            reported = None;
        }
        if matches!(before, LinkState::Ready { .. } | LinkState::Probing { .. }) {
            Metrics::count(&state.metrics.link_losses, error.label());
        }
        let wait = backoff.next(&mut rand::rng());
        report(&error, &mut reported, endpoint.as_deref().unwrap_or(address), wait);
        tokio::select! {
            () = state.stopped() => break,
            () = sleep(wait) => {}
        }
    }
    disconnect(&state, LinkError::Closed);
}

/// Marks the link as lost. Returns its state before.
fn disconnect(state: &State, error: LinkError) -> LinkState {
    // First: whoever is told that there is no link finds that the hubs know.
    state.link.lock().disconnected();
    state.downtime.lost(Instant::now(), &state.metrics);
    state.disconnected(error)
}

fn report(error: &LinkError, reported: &mut Option<&'static str>, endpoint: &str, wait: Duration) {
    let level = match reported.replace(error.label()) {
        Some(label) if label == error.label() => log::Level::Debug,
        _ if error.needs_an_operator() => log::Level::Error,
        _ => log::Level::Warn,
    };
    log::log!(level, "redis at {endpoint}: link lost: {error}; reconnecting in {wait:?}");
}

/// One link, from the attempt to its end.
async fn link(state: &State) -> Ended {
    let endpoint = match Endpoint::find(&state.options).await {
        Ok(endpoint) => endpoint,
        Err(error) => return Ended { error, endpoint: None },
    };
    let error = match endpoint.connect(state).await {
        Ok(connections) => connected::run(state, connections, &endpoint).await,
        Err(error) => error,
    };
    Ended { error, endpoint: Some(endpoint.name()) }
}
