//! A link while it is connected: three activities in one task, and the first that fails ends them all.

use std::time::Instant;

use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{Client, RedisError};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep_until, timeout};

use super::super::audience::Turn;
use super::catch_up::{Sweep, catch_up};
use super::clock::ClockSample;
use super::link::{Connections, connect_commands};
use super::loss::Loss;
use super::receive::Receiver;
use super::role::RoleQuestion;
use super::state::State;
use super::subscriptions::{self, Messages, Subscriptions};
use super::{USERS, dataset, function, publish, rejected};
use protocol::channel::ChannelName;

/// How many channels one turn subscribes and unsubscribes. A command stays below 140 KB, and its 512
/// confirmations do not hold up messages noticeably.
const MAX_TURN: usize = 512;

/// Serves the link until it is lost.
pub(super) async fn run(state: &State, connections: Connections, address: &str) -> Loss {
    let Connections { subscriber, commands, role, client } = connections;
    let (subscriptions, messages) = subscriptions::split(subscriber);
    let (heard, hearing) = watch::channel(0);
    let (complete, completed) = oneshot::channel();
    state.stages.connected(commands.clone());
    let prover = Prover { state, client, commands, role, hearing };
    tokio::select! {
        loss = receive(state, messages, heard) => loss,
        loss = keep_subscribed(state, subscriptions, complete) => loss,
        loss = keep_proving(state, prover, completed, address) => loss,
        // They run beside the others and never end a link.
        never = function::keep_loaded(state) => match never {},
        never = rejected::keep_recording(state) => match never {},
    }
}

/// Hands over what comes, as fast as it comes.
async fn receive(state: &State, mut messages: Messages<PubSubStream>, heard: watch::Sender<u64>) -> Loss {
    let mut receiver = Receiver::new(state);
    while let Some(message) = messages.next().await {
        if let Some(nonce) = receiver.take(&message) {
            heard.send_replace(nonce);
        }
    }
    Loss::Closed
}

/// Makes Redis' idea of our channels follow the audience's, one turn after the other.
async fn keep_subscribed(
    state: &State,
    mut subscriptions: Subscriptions,
    complete: oneshot::Sender<()>,
) -> Loss {
    let own = [state.options.redis_channel(USERS), state.options.redis_channel(&state.probe)];
    if let Err(loss) = confirmed(state, subscriptions.subscribe(&own)).await {
        return loss;
    }
    // Before any channel's position is told: a beginning can be continued from only if the data was marked before it.
    dataset::keep_marked(state).await;
    let audience = &state.delivery.audience;
    audience.link_up();
    let mut sweep = Sweep::new(state.options.sweep_interval);
    let mut complete = Some(complete);
    loop {
        let turn = audience.next_turn(MAX_TURN);
        if turn.is_empty() {
            if let Some(complete) = complete.take() {
                // Its receiver ends only together with us.
                let _ = complete.send(());
            }
            tokio::select! {
                () = audience.changed() => {}
                () = sweep.due() => {
                    // The data may have been removed, and with it the marker.
                    dataset::keep_marked_if_due(state).await;
                    sweep.verify_batch(state);
                }
            }
            continue;
        }
        if let Err(loss) = take_turn(state, &mut subscriptions, &turn).await {
            return loss;
        }
        audience.tell(audience.turn_done(turn, state.position_now()));
    }
}

async fn take_turn(state: &State, subscriptions: &mut Subscriptions, turn: &Turn) -> Result<(), Loss> {
    let names = |channels: &[ChannelName]| -> Vec<String> {
        channels.iter().map(|channel| state.options.redis_channel(channel.as_str())).collect()
    };
    if !turn.subscribe.is_empty() {
        confirmed(state, subscriptions.subscribe(&names(&turn.subscribe))).await?;
    }
    catch_up(state, &turn.subscribe).await?;
    catch_up(state, &turn.verify).await?;
    if !turn.unsubscribe.is_empty() {
        confirmed(state, subscriptions.unsubscribe(&names(&turn.unsubscribe))).await?;
    }
    Ok(())
}

/// redis-rs waits for a confirmation without a bound.
async fn confirmed(state: &State, command: impl Future<Output = Result<(), Loss>>) -> Result<(), Loss> {
    let bound = state.options.response_timeout;
    timeout(bound, command).await.unwrap_or(Err(Loss::SubscribeTimeout(bound)))
}

/// Proves that what is published arrives, once all channels are subscribed and then again and again.
async fn keep_proving(
    state: &State,
    mut prover: Prover<'_>,
    completed: oneshot::Receiver<()>,
    address: &str,
) -> Loss {
    // Its sender ends only together with us. Ready is to mean that durable publishing was seen to as well.
    let mut commands = prover.commands.clone();
    let _ = tokio::join!(completed, function::load(state, &mut commands));
    loop {
        let started = Instant::now();
        if let Err(loss) = prover.prove().await {
            return loss;
        }
        state.outages.proven(Instant::now(), &state.delivery.metrics);
        if state.set_proven() {
            let channels = state.delivery.audience.wanted();
            log::info!("redis at {address}: delivery is proven (channels subscribed: {channels})");
        }
        tokio::select! {
            () = sleep_until((started + state.options.probe_interval).into()) => {}
            () = state.suspect.notified() => {}
        }
    }
}

/// What a proof needs.
struct Prover<'a> {
    state: &'a State,
    client: Client,
    commands: MultiplexedConnection,
    role: RoleQuestion,
    /// The latest nonce that was heard.
    hearing: watch::Receiver<u64>,
}

impl Prover<'_> {
    /// One proof, within `probe_timeout` whatever it takes.
    async fn prove(&mut self) -> Result<(), Loss> {
        let bound = self.state.options.probe_timeout;
        let proof = async {
            match self.trip().await {
                // The other connection may be well, and then nothing needs to be missed: replace only this one.
                Err(Loss::Closed) => {
                    self.commands = connect_commands(self.state, &self.client).await?;
                    self.state.stages.replace_line(self.commands.clone());
                    self.trip().await
                }
                proof => proof,
            }
        };
        timeout(bound, proof).await.unwrap_or(Err(Loss::ProbeTimeout(bound)))
    }

    /// Publishes a nonce the way everything is published and waits until it is heard. Reads Redis' clock and asks
    /// for its role on the same trip.
    async fn trip(&mut self) -> Result<(), Loss> {
        let Self { state, commands, role, hearing, .. } = self;
        let nonce = rand::random::<u64>().max(1);
        let started = Instant::now();
        let (mut for_clock, mut for_role) = (commands.clone(), commands.clone());
        let (channel, payload) = (state.options.redis_channel(&state.probe), nonce.to_string());
        let (published, (), role) = tokio::join!(
            publish(commands, &channel, &payload),
            read_clock(state, &mut for_clock),
            role.ask(state, &mut for_role),
        );
        published.map_err(|error| unanswered(state, &error))?;
        role?;
        // Its sender ends only together with us.
        let _ = hearing.wait_for(|heard| *heard == nonce).await;
        state.delivery.metrics.probed(started.elapsed());
        Ok(())
    }
}

fn unanswered(state: &State, error: &RedisError) -> Loss {
    if error.is_timeout() {
        return Loss::ProbeTimeout(state.options.response_timeout);
    }
    Loss::of_command(error)
}

/// A Redis that does not tell the time delivers all the same: then the old sample stays.
async fn read_clock(state: &State, commands: &mut MultiplexedConnection) {
    match redis::cmd("TIME").query_async::<(u64, u64)>(commands).await {
        Ok((seconds, micros)) => {
            let redis_ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
            state.set_clock(ClockSample::new(redis_ms, Instant::now()));
        }
        Err(error) => log::debug!("redis: TIME was not answered: {error}"),
    }
}
