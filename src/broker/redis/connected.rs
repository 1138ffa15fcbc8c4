//! Runs the activities of a connected link in one task. The first activity that fails ends the link.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::{MultiplexedConnection, PubSubStream};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::super::link::{LinkCore, SubscriptionBatch};
use super::connect::{Endpoint, LinkConnections};
use super::link_error::LinkError;
use super::probe::HealthProbe;
use super::receive::PayloadReceiver;
use super::state::RedisState;
use super::subscriptions::{self, Messages, Subscriptions};
use super::{USERS, control, dataset, function, lease, online, reads, rooms, signals, tokens};
use crate::timeout::timeout_awake;
use protocol::channel::ChannelName;

/// The most channels of one batch. Its commands stay below 140 KB, and its 512 confirmations do not delay messages
/// noticeably.
const MAX_BATCH: usize = 512;
/// How long to query the reason of a lost link. A server that is down answers at once, with a reset.
const CLOSE_REASON_TIMEOUT: Duration = Duration::from_millis(200);
/// The most channels that are compared with their histories in one batch.
const CHECKED_AT_ONCE: usize = 256;

/// Serves the link until it is lost.
pub(super) async fn run(state: &RedisState, connections: LinkConnections, endpoint: &Endpoint) -> LinkError {
    let LinkConnections { subscriber, commands, role, check } = connections;
    let (subscriptions, messages) = subscriptions::split(subscriber);
    let (nonce_sender, received_nonce) = watch::channel(0);
    state.connected(commands.clone());
    let probe = HealthProbe { state, endpoint, commands, role, check, received_nonce };
    tokio::select! {
        error = receive(state, messages, nonce_sender) => find_close_reason(state, error).await,
        ended = run_subscriptions(state, subscriptions) => match ended { Err(error) => error },
        error = probe.run() => error,
        error = endpoint.until_moved(&state.options) => error,
        // These never end a link.
        never = reads::run(state, endpoint) => match never {},
        never = tokens::run(state, endpoint) => match never {},
        never = function::run(state) => match never {},
        never = signals::run(state) => match never {},
        never = run_duties(state) => match never {},
    }
}

/// Runs what only some links do. Never ends.
async fn run_duties(state: &RedisState) -> Infallible {
    let duties = state.duties();
    tokio::select! {
        never = lease::run(state), if duties.presence => match never {},
        never = online::run(state), if duties.presence => match never {},
        never = rooms::run(state), if duties.presence => match never {},
        never = control::follow(state), if duties.control => match never {},
        never = state.rejected.run(&state.options, || state.commands()), if duties.rejected => match never {},
        never = std::future::pending() => never,
    }
}

/// Delivers messages until the subscriber's connection ends.
async fn receive(
    state: &RedisState,
    mut messages: Messages<PubSubStream>,
    nonce_sender: watch::Sender<u64>,
) -> LinkError {
    let mut receiver = PayloadReceiver::new(state);
    while let Some(message) = messages.next().await {
        if let Some(nonce) = receiver.receive(&message) {
            nonce_sender.send_replace(nonce);
        }
    }
    LinkError::Closed
}

/// Finds out why the subscription ended. Redis reports the reason only in its own log, so this sends a command: an
/// answer shows that Redis closed only the subscriber's connection.
async fn find_close_reason(state: &RedisState, error: LinkError) -> LinkError {
    let Some(mut commands) = state.commands() else { return error };
    let answer: RedisResult<String> = match timeout(CLOSE_REASON_TIMEOUT, info(&mut commands)).await {
        Ok(answer) => answer,
        Err(_) => return error,
    };
    // Redis 8 and Valkey 8 count the connections that they closed at this limit, so a zero excludes it. Older versions
    // have no count.
    let counted = |text: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("client_output_buffer_limit_disconnections:"));
        line.map(|count| count.trim() != "0")
    };
    match answer {
        Ok(text) if counted(&text) == Some(false) => error,
        Ok(_) => LinkError::SubscriberClosed,
        // A refusal is an answer as well.
        Err(refusal) if refusal.code().is_some() => LinkError::SubscriberClosed,
        Err(_) => error,
    }
}

async fn info(commands: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("INFO").arg("stats").query_async(commands).await
}

/// Subscribes and unsubscribes channels as the hubs want, one batch at a time.
async fn run_subscriptions(
    state: &RedisState,
    mut subscriptions: Subscriptions,
) -> Result<Infallible, LinkError> {
    let duties = state.duties();
    await_confirmation(state, subscriptions.subscribe(&own_channels(state))).await?;
    if duties.presence {
        rooms::connected(state);
    }
    if duties.control {
        subscribe_control(state, &mut subscriptions).await?;
    }
    // Before any channel is answered: a client can resume from the start of a history only if the data was marked
    // earlier.
    dataset::mark_dataset(state).await?;
    state.link.lock().connected();
    state.link.progressed();
    let mut check = HistoryCheck::new(state.options.history_check_interval);
    loop {
        let next = state.link.lock().next_batch(MAX_BATCH);
        if let Some(batch) = next {
            let (batch, refused) = apply_batch(state, &mut subscriptions, batch).await?;
            state.note_refused(&refused);
            state.link.edit(|link| {
                link.confirmed(batch);
                link.refused(refused);
            });
            continue;
        }
        state.link.progressed();
        let deadline = state.link.lock().next_deadline();
        tokio::select! {
            () = state.link.subscriptions_changed() => {}
            () = sleep_until_deadline(deadline) => state.link.edit(|link| link.deadline_passed(Instant::now())),
            () = check.wait_until_due() => {
                // If the data was removed, the marker is missing.
                dataset::mark_dataset_if_due(state).await;
                check.verify_batch(state);
            }
        }
    }
}

/// The channels that no hub wants, and without which there is no link.
fn own_channels(state: &RedisState) -> Vec<String> {
    let duties = state.duties();
    let mut own = vec![state.options.redis_channel(&state.probe)];
    if duties.users {
        own.push(state.options.redis_channel(USERS));
    }
    if duties.presence {
        own.extend(rooms::own_channels(state));
    }
    own
}

async fn sleep_until_deadline(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Subscribes to the announcements of commands. Without the right to do so, the commands are read at intervals.
async fn subscribe_control(state: &RedisState, subscriptions: &mut Subscriptions) -> Result<(), LinkError> {
    let channel = [state.options.redis_channel(control::COMMANDS)];
    let subscribed = await_confirmation(state, subscriptions.subscribe(&channel)).await;
    match subscribed {
        Err(error) if !error.is_no_permission() => return Err(error),
        outcome => state.control.set_subscribed(outcome.is_ok()),
    }
    Ok(())
}

/// Returns the confirmed channels, and the channels that the Redis user may not subscribe to.
async fn apply_batch(
    state: &RedisState,
    subscriptions: &mut Subscriptions,
    batch: SubscriptionBatch,
) -> Result<(SubscriptionBatch, Vec<ChannelName>), LinkError> {
    let SubscriptionBatch { subscribe, unsubscribe } = batch;
    let (subscribe, refused) = subscribe_permitted(state, subscriptions, subscribe).await?;
    if !unsubscribe.is_empty() {
        await_confirmation(state, subscriptions.unsubscribe(&redis_channels(state, &unsubscribe))).await?;
    }
    Ok((SubscriptionBatch { subscribe, unsubscribe }, refused))
}

/// Subscribes to the channels that the Redis user may subscribe to. Redis refuses a whole command for one channel and
/// does not name it, so a refused command is repeated in halves. Returns the subscribed channels and the refused ones.
async fn subscribe_permitted(
    state: &RedisState,
    subscriptions: &mut Subscriptions,
    channels: Vec<ChannelName>,
) -> Result<(Vec<ChannelName>, Vec<ChannelName>), LinkError> {
    let (mut subscribed, mut refused) = (Vec::new(), Vec::new());
    let mut parts = vec![channels];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match await_confirmation(state, subscriptions.subscribe(&redis_channels(state, &part))).await {
            Ok(()) => subscribed.append(&mut part),
            Err(error) if !error.is_no_permission() => return Err(error),
            Err(_) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.extend([part, second]);
            }
            Err(_) => refused.append(&mut part),
        }
    }
    if !refused.is_empty() {
        // Without the right to subscribe at all, this channel, which was subscribed first, is refused too.
        let own = state.options.redis_channel(&state.probe);
        await_confirmation(state, subscriptions.subscribe(&[own])).await?;
    }
    Ok((subscribed, refused))
}

fn redis_channels(state: &RedisState, channels: &[ChannelName]) -> Vec<String> {
    channels.iter().map(|channel| state.options.redis_channel(channel.as_str())).collect()
}

/// Waits for a confirmation at most `response_timeout`. redis-rs waits without a bound.
async fn await_confirmation(
    state: &RedisState,
    command: impl Future<Output = Result<(), LinkError>>,
) -> Result<(), LinkError> {
    let bound = state.options.response_timeout;
    timeout_awake(bound, command).await.unwrap_or(Err(LinkError::SubscribeTimeout(bound)))
}

/// Compares all channels with their histories once in each interval, in batches. This detects the loss of a channel's
/// last message, which no later message would show.
struct HistoryCheck {
    /// The channels that remain in this round.
    round: Vec<ChannelName>,
    interval: Duration,
    /// The time between two batches of this round.
    pause: Duration,
    next: Instant,
}

impl HistoryCheck {
    fn new(interval: Duration) -> Self {
        Self { round: Vec::new(), interval, pause: interval, next: Instant::now() + interval }
    }

    /// Returns when the next batch is due. Cancel safe.
    async fn wait_until_due(&self) {
        sleep_until(self.next.into()).await;
    }

    /// Starts to compare the next batch. Each round also retries the refused channels.
    fn verify_batch(&mut self, state: &RedisState) {
        if self.round.is_empty() {
            self.round = state.link.lock().subscribed();
            let batches = self.round.len().div_ceil(CHECKED_AT_ONCE).max(1);
            self.pause = self.interval / batches as u32;
            state.link.edit(LinkCore::retry_refused);
        }
        let batch = self.round.split_off(self.round.len().saturating_sub(CHECKED_AT_ONCE));
        state.link.edit(|link| batch.iter().for_each(|channel| link.verify(channel)));
        self.next = Instant::now() + self.pause;
    }
}
