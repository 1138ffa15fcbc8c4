//! The link to Redis: made, lost and made again, for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult, TlsCertificates};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::address::{Address, Opened};
use super::loss::Loss;
use super::role::RoleQuestion;
use super::stage::Stage;
use super::state::State;
use super::{connected, sentinel};
use crate::backoff::Backoff;
use crate::metrics::Metrics;

/// Keeps a link until the broker is stopped. `address` is for messages, as long as no better one is known.
pub(super) async fn keep(state: Arc<State>, mut backoff: Backoff, address: &str) {
    // The label of the loss that was last reported: each is said once, not at every attempt.
    let mut reported = None;
    loop {
        // A panic in it is a loss like any other: nothing of it is used afterwards.
        let link = AssertUnwindSafe(link(&state)).catch_unwind();
        let Ended { loss, place } = tokio::select! {
            () = state.stopped() => break,
            ended = link => ended.unwrap_or(Ended { loss: Loss::Panicked, place: None }),
        };
        let stage = take_down(&state, Some(loss.clone()));
        if matches!(stage, Stage::Ready(_)) {
            backoff.reset();
            reported = None;
        }
        if matches!(stage, Stage::Ready(_) | Stage::Proving { .. }) {
            Metrics::count(&state.delivery.metrics.link_losses, loss.label());
        }
        let wait = backoff.next(&mut rand::rng());
        report(&loss, &mut reported, place.as_deref().unwrap_or(address), wait);
        tokio::select! {
            () = state.stopped() => break,
            () = sleep(wait) => {}
        }
    }
    take_down(&state, None);
}

/// Nothing is carried any more: nobody may wait for it. Returns how far the link was.
fn take_down(state: &State, loss: Option<Loss>) -> Stage<MultiplexedConnection> {
    let before = state.set_down(loss);
    state.outages.lost(Instant::now(), &state.delivery.metrics);
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

/// How a link ended.
struct Ended {
    loss: Loss,
    /// Where it led to; `None`: it never came to know.
    place: Option<String>,
}

/// One link, from the attempt to its end.
async fn link(state: &State) -> Ended {
    let client = match find(state).await {
        Ok(client) => client,
        Err(loss) => return Ended { loss, place: None },
    };
    let place = client.get_connection_info().addr().to_string();
    let loss = match connect(state, client).await {
        Ok(connections) => connected::run(state, connections, &place).await,
        Err(loss) => loss,
    };
    Ended { loss, place: Some(place) }
}

/// Where to connect to, and as whom. Each time anew: files may have changed, and a master may have moved.
async fn find(state: &State) -> Result<Client, Loss> {
    let bound = state.options.connect_timeout;
    let options = state.options.clone();
    // Files may lie on a network.
    let opening = timeout(bound, spawn_blocking(move || options.open()));
    let Ok(opened) = opening.await else { return Err(Loss::ConnectTimeout(bound)) };
    let Opened { address, certificates } = opened.unwrap_or(Err(Loss::Panicked))?;
    let info = match address {
        Address::Server(info) => info,
        Address::Master(sentinels) => sentinel::find_master(&sentinels, certificates.as_ref(), bound).await?,
    };
    client(info, certificates.as_ref())
}

/// What a link consists of.
pub(super) struct Connections {
    /// Only subscribes and receives.
    pub(super) subscriber: PubSub,
    /// Publishes and probes.
    pub(super) commands: MultiplexedConnection,
    /// How the server's role is asked for.
    pub(super) role: RoleQuestion,
    /// For another connection to the same place.
    pub(super) client: Client,
}

async fn connect(state: &State, client: Client) -> Result<Connections, Loss> {
    let subscriber = within(state, of_connect(client.get_async_pubsub()));
    let (subscriber, mut commands) = tokio::try_join!(subscriber, connect_commands(state, &client))?;
    // Before thousands of channels are subscribed in vain.
    let mut role = RoleQuestion::default();
    within(state, role.ask(state, &mut commands)).await?;
    Ok(Connections { subscriber, commands, role, client })
}

/// A new connection for commands.
pub(super) async fn connect_commands(state: &State, client: &Client) -> Result<MultiplexedConnection, Loss> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None) // `within` bounds it, as it does the other one.
        .set_response_timeout(Some(state.options.response_timeout));
    within(state, of_connect(client.get_multiplexed_async_connection_with_config(&config))).await
}

/// A client of one place. It resolves a name each time that it connects.
pub(super) fn client(info: ConnectionInfo, certificates: Option<&TlsCertificates>) -> Result<Client, Loss> {
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    };
    client.map_err(|error| Loss::of_connect(&error))
}

async fn of_connect<T>(connecting: impl Future<Output = RedisResult<T>>) -> Result<T, Loss> {
    connecting.await.map_err(|error| Loss::of_connect(&error))
}

/// redis-rs bounds neither the connecting nor the greeting of a subscriber.
async fn within<T>(state: &State, connecting: impl Future<Output = Result<T, Loss>>) -> Result<T, Loss> {
    let bound = state.options.connect_timeout;
    timeout(bound, connecting).await.unwrap_or(Err(Loss::ConnectTimeout(bound)))
}
