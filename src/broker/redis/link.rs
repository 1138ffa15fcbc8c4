//! The link to Redis: made, lost and made again, for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::time::{sleep, timeout};

use super::connected;
use super::loss::Loss;
use super::state::{Stage, State};
use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// Keeps a link until the broker is stopped. `address` is for messages.
pub(super) async fn keep(state: Arc<State>, mut backoff: Backoff, address: &str) {
    // The label of the loss that was last reported: each is said once, not at every attempt.
    let mut reported = None;
    loop {
        // A panic in it is a loss like any other: nothing of it is used afterwards.
        let link = AssertUnwindSafe(link(&state, address)).catch_unwind();
        let loss = tokio::select! {
            () = state.stopped() => break,
            ended = link => ended.unwrap_or(Loss::Panicked),
        };
        let stage = take_down(&state, Stage::Down(loss.clone()));
        if stage == Stage::Ready {
            backoff.reset();
            reported = None;
        }
        if matches!(stage, Stage::Ready | Stage::Proving(_)) {
            Metrics::count(&state.delivery.metrics.link_losses, loss.label());
        }
        let wait = backoff.next(&mut rand::rng());
        report(&loss, &mut reported, address, wait);
        tokio::select! {
            () = state.stopped() => break,
            () = sleep(wait) => {}
        }
    }
    take_down(&state, Stage::Stopped);
}

/// Nothing is carried any more: nobody may wait for it. Returns how far the link was.
fn take_down(state: &State, stage: Stage) -> Stage {
    state.commands.send_replace(None);
    let before = state.set_stage(stage);
    let audience = &state.delivery.audience;
    audience.tell(audience.link_down(state.position_now()));
    before
}

fn report(loss: &Loss, reported: &mut Option<&'static str>, address: &str, wait: Duration) {
    let level = match reported.replace(loss.label()) {
        Some(label) if label == loss.label() => log::Level::Debug,
        _ if loss.needs_an_operator() => log::Level::Error,
        _ => log::Level::Warn,
    };
    log::log!(level, "redis at {address}: no link: {loss}; trying again for ever, next in {wait:?}");
}

/// One link, from the attempt to its end.
async fn link(state: &State, address: &str) -> Loss {
    let connections = match connect(state).await {
        Ok(connections) => connections,
        Err(loss) => return loss,
    };
    connected::run(state, connections, address).await
}

/// The two connections of a link.
pub(super) struct Connections {
    /// Only subscribes and receives.
    pub(super) subscriber: PubSub,
    /// Publishes and probes.
    pub(super) commands: MultiplexedConnection,
}

async fn connect(state: &State) -> Result<Connections, Loss> {
    // A new client each time: the address is resolved anew.
    let client = client(state)?;
    let subscriber = within(state, client.get_async_pubsub());
    let (subscriber, commands) = tokio::try_join!(subscriber, connect_commands(state))?;
    Ok(Connections { subscriber, commands })
}

/// A new connection for commands.
pub(super) async fn connect_commands(state: &State) -> Result<MultiplexedConnection, Loss> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None) // `within` bounds it, as it does the other one.
        .set_response_timeout(Some(state.options.response_timeout));
    let client = client(state)?;
    within(state, client.get_multiplexed_async_connection_with_config(&config)).await
}

fn client(state: &State) -> Result<Client, Loss> {
    let info = state.options.connection_info().map_err(|error| Loss::Connect(error.to_string()))?;
    Client::open(info).map_err(|error| Loss::of_connect(&error))
}

/// redis-rs bounds neither the connecting nor the greeting of a subscriber.
async fn within<T>(state: &State, connecting: impl Future<Output = RedisResult<T>>) -> Result<T, Loss> {
    let bound = state.options.connect_timeout;
    match timeout(bound, connecting).await {
        Ok(connected) => connected.map_err(|error| Loss::of_connect(&error)),
        Err(_) => Err(Loss::ConnectTimeout(bound)),
    }
}
