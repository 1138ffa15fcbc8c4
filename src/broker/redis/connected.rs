//! A link while it is connected: its activities in one task, and the first that fails ends them all.

use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::{MultiplexedConnection, PubSubStream};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::super::link::SubscriptionBatch;
use super::connect::{Connections, Endpoint};
use super::link_error::LinkError;
use super::probe::HealthProbe;
use super::receive::Receiver;
use super::state::State;
use super::subscriptions::{self, Messages, Subscriptions};
use super::{USERS, dataset, function, reads};
use protocol::channel::ChannelName;

/// How many channels one batch subscribes and unsubscribes. A command stays below 140 KB, and its 512
/// confirmations do not hold up messages noticeably.
const MAX_BATCH: usize = 512;
/// How long a lost link may take to tell why it was lost. A server that is gone answers, by a reset, at once.
const ASK_WITHIN: Duration = Duration::from_millis(200);
/// Channels compared with their histories in one batch.
const CHECKED_AT_ONCE: usize = 256;

/// Serves the link until it is lost.
pub(super) async fn run(state: &State, connections: Connections, endpoint: &Endpoint) -> LinkError {
    let Connections { subscriber, commands, role } = connections;
    let (subscriptions, messages) = subscriptions::split(subscriber);
    let (heard, hearing) = watch::channel(0);
    state.connected(commands.clone());
    let probe = HealthProbe::new(state, endpoint, commands, role, hearing);
    tokio::select! {
        error = receive(state, messages, heard) => why_closed(state, error).await,
        error = keep_subscribed(state, subscriptions) => error,
        error = probe.keep_probing() => error,
        // They run beside the others and never end a link.
        never = reads::keep_reading(state, endpoint) => match never {},
        never = function::keep_loaded(state) => match never {},
        never = state.rejected.keep_recording(&state.options, || state.commands()) => match never {},
    }
}

/// Delivers messages as fast as they arrive.
async fn receive(
    state: &State,
    mut messages: Messages<PubSubStream>,
    heard: watch::Sender<u64>,
) -> LinkError {
    let mut receiver = Receiver::new(state);
    while let Some(message) = messages.next().await {
        if let Some(nonce) = receiver.receive(&message) {
            heard.send_replace(nonce);
        }
    }
    LinkError::Closed
}

/// Why no message comes any more. Redis says it in its own log only, so this asks over the connection for commands: one
/// that answers shows that only the subscriber was thrown out.
async fn why_closed(state: &State, error: LinkError) -> LinkError {
    let Some(mut commands) = state.commands() else { return error };
    let answer: RedisResult<String> = match timeout(ASK_WITHIN, info(&mut commands)).await {
        Ok(answer) => answer,
        Err(_) => return error,
    };
    // Redis 8 counts them.
    let counted = |text: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("client_output_buffer_limit_disconnections:"));
        line.map(|count| count.trim() != "0")
    };
    match answer {
        Ok(text) if counted(&text) == Some(false) => error,
        Ok(_) => LinkError::SubscriberClosed,
        // A refusal is an answer.
        Err(refusal) if refusal.code().is_some() => LinkError::SubscriberClosed,
        Err(_) => error,
    }
}

async fn info(commands: &mut MultiplexedConnection) -> RedisResult<String> {
    redis::cmd("INFO").arg("stats").query_async(commands).await
}

/// Subscribes and unsubscribes channels as the hubs want, one batch at a time.
async fn keep_subscribed(state: &State, mut subscriptions: Subscriptions) -> LinkError {
    let own = [state.options.redis_channel(USERS), state.options.redis_channel(&state.probe)];
    if let Err(error) = confirmed(state, subscriptions.subscribe(&own)).await {
        return error;
    }
    // Before any channel is answered: a client can continue from a beginning only if the data was marked before it.
    dataset::keep_marked(state).await;
    state.link.lock().connected();
    state.link.progressed();
    let mut check = HistoryCheck::new(state.options.sweep_interval);
    loop {
        let next = state.link.lock().next_batch(MAX_BATCH);
        if let Some(batch) = next {
            if let Err(error) = change(state, &mut subscriptions, &batch).await {
                return error;
            }
            state.link.lock().confirmed(batch);
            state.link.wake();
            continue;
        }
        state.link.progressed();
        let deadline = state.link.lock().next_deadline();
        tokio::select! {
            () = state.link.subscriptions_changed() => {}
            () = sleep_until_some(deadline) => {
                state.link.lock().deadline_passed(Instant::now());
                state.link.wake();
            }
            () = check.due() => {
                // The data may have been removed, and with it the marker.
                dataset::keep_marked_if_due(state).await;
                check.verify_batch(state);
            }
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn change(
    state: &State,
    subscriptions: &mut Subscriptions,
    batch: &SubscriptionBatch,
) -> Result<(), LinkError> {
    let names = |channels: &[ChannelName]| -> Vec<String> {
        channels.iter().map(|channel| state.options.redis_channel(channel.as_str())).collect()
    };
    if !batch.subscribe.is_empty() {
        confirmed(state, subscriptions.subscribe(&names(&batch.subscribe))).await?;
    }
    if !batch.unsubscribe.is_empty() {
        confirmed(state, subscriptions.unsubscribe(&names(&batch.unsubscribe))).await?;
    }
    Ok(())
}

/// redis-rs waits for a confirmation without a bound.
async fn confirmed(
    state: &State,
    command: impl Future<Output = Result<(), LinkError>>,
) -> Result<(), LinkError> {
    let bound = state.options.response_timeout;
    timeout(bound, command).await.unwrap_or(Err(LinkError::SubscribeTimeout(bound)))
}

/// Compares all channels with their histories at each interval, in batches. This finds a lost last message, which no
/// later message would show.
struct HistoryCheck {
    round: Vec<ChannelName>,
    interval: Duration,
    pause: Duration,
    next: Instant,
}

impl HistoryCheck {
    fn new(interval: Duration) -> Self {
        Self { round: Vec::new(), interval, pause: interval, next: Instant::now() + interval }
    }

    /// Returns when the next batch is due. Cancel safe.
    async fn due(&self) {
        sleep_until(self.next.into()).await;
    }

    /// Starts comparing the next batch.
    fn verify_batch(&mut self, state: &State) {
        let mut link = state.link.lock();
        if self.round.is_empty() {
            self.round = link.subscribed();
            let batches = self.round.len().div_ceil(CHECKED_AT_ONCE).max(1);
            self.pause = self.interval / batches as u32;
        }
        let batch = self.round.split_off(self.round.len().saturating_sub(CHECKED_AT_ONCE));
        batch.iter().for_each(|channel| link.verify(channel));
        drop(link);
        state.link.wake();
        self.next = Instant::now() + self.pause;
    }
}
