//! Runs the activities of a connected link on its thread. The first activity that fails ends the link.
//!
//! Messages are received in a task of their own: a task polls all of its activities whenever one of them is woken, and a
//! message wakes only the receiver. The other activities share the link's task. With one worker, the task is in the
//! `LocalSet` of the hub, so that both are polled in one turn.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::super::link::{LinkCore, SubscriptionBatch};
use super::cluster::slot::Slot;
use super::connect::{Endpoint, LinkConnections};
use super::link_error::LinkError;
use super::names::Name;
use super::probe::HealthProbe;
use super::receive::PayloadReceiver;
use super::state::RedisState;
use super::subscriber::{ChannelRefusal, Confirmed, Messages, SubscriberEvent, Subscriptions};
use super::{control, dataset, function, lease, online, reads, rooms, signals, tokens};
use protocol::channel::ChannelName;

/// The most channels of one batch. Its commands stay below 160 KB, and its 512 confirmations do not delay messages
/// noticeably.
const MAX_BATCH: usize = 512;
/// How long to query the reason of a lost link. A server that is down answers at once, with a reset.
const CLOSE_REASON_TIMEOUT: Duration = Duration::from_millis(200);
/// The most channels that are compared with their histories in one batch.
const CHECKED_AT_ONCE: usize = 256;

/// Serves the link until it is lost. Runs in a `LocalSet`.
pub(super) async fn run(
    state: &Arc<RedisState>,
    connections: LinkConnections,
    endpoint: &Endpoint,
) -> LinkError {
    let LinkConnections { subscriptions, messages, commands, role, check } = connections;
    let (nonce_sender, received_nonce) = watch::channel(0);
    state.connected(commands.clone());
    // Dropping the set ends the task: no message is handled after the link is lost.
    let mut receiver = JoinSet::new();
    receiver.spawn_local(receive(Arc::clone(state), messages, nonce_sender));
    let probe = HealthProbe { state, endpoint, commands, role, check, received_nonce };
    tokio::select! {
        error = receiver_ended(&mut receiver) => find_close_reason(state, error).await,
        ended = run_subscriptions(state, subscriptions) => match ended { Err(error) => error },
        error = probe.run() => error,
        error = endpoint.until_moved(state) => error,
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

/// Returns why the receiver's task ended.
async fn receiver_ended(receiver: &mut JoinSet<LinkError>) -> LinkError {
    match receiver.join_next().await {
        Some(Ok(error)) => error,
        Some(Err(_)) | None => LinkError::Panicked,
    }
}

/// Delivers messages until the subscriber's connection ends.
async fn receive(
    state: Arc<RedisState>,
    mut messages: Messages,
    nonce_sender: watch::Sender<u64>,
) -> LinkError {
    let mut receiver = PayloadReceiver::new(Arc::clone(&state));
    loop {
        match messages.next().await {
            Ok(SubscriberEvent::Message { channel, payload }) => {
                if let Some(nonce) = receiver.receive(channel, payload) {
                    nonce_sender.send_replace(nonce);
                }
            }
            Ok(SubscriberEvent::SlotLeft { channel }) => {
                if let Err(error) = slot_left(&state, channel) {
                    return error;
                }
            }
            Err(error) => return error,
        }
    }
}

/// The server has ended the subscription of a channel, because the channel's slot has left it. The channel waits for the
/// next map of the slots.
///
/// # Errors
/// It is a channel of the link's own.
fn slot_left(state: &RedisState, name: &str) -> Result<(), LinkError> {
    state.map_stale.notify_one();
    let channel = match state.options.names().parse(name) {
        Some(Name::Channel(channel)) => ChannelName::parse(channel).map_err(|_| LinkError::Moved)?,
        _ => return Err(LinkError::Moved),
    };
    state.link.edit(|link| link.unsubscribed_by_server(&[channel]));
    Ok(())
}

/// Finds out why the subscription ended. Redis reports the reason only in its own log, so this sends a command: an
/// answer shows that Redis closed only the subscriber's connection.
async fn find_close_reason(state: &RedisState, error: LinkError) -> LinkError {
    if error != LinkError::Closed {
        return error;
    }
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
    require_all(subscriptions.subscribe(&own_channels(state)).await?)?;
    if duties.presence {
        rooms::connected(state);
    }
    if duties.control {
        subscribe_control(state, &mut subscriptions).await?;
    }
    let (mut slots, mut marked) = (state.watch_slots(), state.slots());
    // Before any channel is answered: a client can resume from the start of a history only if the data was marked
    // earlier.
    dataset::mark_dataset(state, &marked).await?;
    state.link.lock().connected();
    state.link.progressed();
    if duties.users && state.are_users_missed.swap(false, Ordering::AcqRel) {
        // This link announces its loss with its repairs.
        state.router.plain_messages_lost("user", state.id(), Instant::now());
    }
    let mut check = HistoryCheck::new(state.options.history_check_interval);
    loop {
        let next = state.link.lock().next_batch(MAX_BATCH);
        if let Some(batch) = next {
            let Applied { batch, refused, moved } = apply_batch(state, &mut subscriptions, batch).await?;
            state.note_refused(&refused);
            if !moved.is_empty() {
                state.map_stale.notify_one();
            }
            state.link.edit(|link| {
                link.confirmed(batch);
                link.refused(refused);
                link.redirected(&moved);
            });
            continue;
        }
        state.link.progressed();
        let deadline = state.link.lock().next_deadline();
        tokio::select! {
            () = state.link.subscriptions_changed() => {}
            () = sleep_until_deadline(deadline) => state.link.edit(|link| link.deadline_passed(Instant::now())),
            _ = slots.changed() => {
                // The marker moves with its slot, but a slot that had no master may have none.
                let before = std::mem::replace(&mut marked, state.slots());
                let is_new = |slot: &Slot| before.binary_search(slot).is_err();
                let new: Vec<_> = marked.iter().copied().filter(is_new).collect();
                // The next check repeats it, and the probe detects a server that does not serve.
                let _ = dataset::mark_dataset(state, &new).await;
            }
            () = check.wait_until_due() => {
                // If the data was removed, the marker is missing.
                dataset::mark_dataset_if_due(state, &state.slots()).await;
                check.verify_batch(state);
            }
        }
    }
}

/// The channels that no hub wants, and without which there is no link.
fn own_channels(state: &RedisState) -> Vec<String> {
    let duties = state.duties();
    let mut own = vec![state.probe()];
    if duties.users {
        own.push(state.options.names().users());
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
    let channel = [state.options.names().control(control::COMMANDS)];
    let is_subscribed = match require_all(subscriptions.subscribe(&channel).await?) {
        Err(error) if !error.is_no_permission() => return Err(error),
        outcome => outcome.is_ok(),
    };
    state.control.set_subscribed(is_subscribed);
    Ok(())
}

/// The first refusal ends the link.
fn require_all(confirmed: Confirmed) -> Result<(), LinkError> {
    match confirmed.refused.into_iter().next() {
        Some((_, refusal)) => Err(refusal.into_error()),
        None => Ok(()),
    }
}

/// What the server did with a batch.
struct Applied {
    /// What it did as asked.
    batch: SubscriptionBatch,
    /// The channels that the Redis user may not subscribe to.
    refused: Vec<ChannelName>,
    /// The channels that another server has.
    moved: Vec<ChannelName>,
}

async fn apply_batch(
    state: &RedisState,
    subscriptions: &mut Subscriptions,
    batch: SubscriptionBatch,
) -> Result<Applied, LinkError> {
    let SubscriptionBatch { subscribe, unsubscribe } = batch;
    let names = redis_channels(state, &subscribe);
    let confirmed = subscriptions.subscribe(&names).await?;
    let mut refusals = confirmed.refused.into_iter().peekable();
    let (mut subscribed, mut refused, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for (channel, name) in subscribe.into_iter().zip(&names) {
        match refusals.next_if(|(refused, _)| refused == name) {
            None => subscribed.push(channel),
            Some((_, ChannelRefusal::NoPermission(_))) => refused.push(channel),
            Some((_, ChannelRefusal::Moved { slot, to, .. })) if state.node.is_some() => {
                state.redirects.note(slot, to, Instant::now());
                moved.push(channel);
            }
            // The only link finds the server again.
            Some((_, other @ ChannelRefusal::Moved { .. })) => return Err(other.into_error()),
        }
    }
    subscriptions.unsubscribe(&redis_channels(state, &unsubscribe)).await?;
    let batch = SubscriptionBatch { subscribe: subscribed, unsubscribe };
    Ok(Applied { batch, refused, moved })
}

fn redis_channels(state: &RedisState, channels: &[ChannelName]) -> Vec<String> {
    channels.iter().map(|channel| state.options.names().channel(channel.as_str())).collect()
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
