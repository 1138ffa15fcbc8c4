//! Bringing channels up to the ends of their histories: after a subscription, after the link was away, after
//! a place was skipped, and now and then to be sure.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep_until, timeout};

use super::history::{self, Tails};
use super::loss::Loss;
use super::read_error::ReadError;
use super::state::State;
use protocol::channel::ChannelName;
use protocol::history::Tail;
use protocol::position::Position;

/// Channels whose histories are read at the same time: a few round trips' worth, so that ten thousand channels
/// that missed a message each are repaired in a fraction of a second, and a probe still gets through.
const READ_AT_ONCE: usize = 32;
/// Bytes that one page may have if every message is as long as it may be.
const PAGE_BYTES: usize = 64 << 20;
/// Messages of one page, if they are short.
const PAGE_ENTRIES: usize = 512;
/// Channels that the sweep compares in one turn.
const SWEEP_BATCH: usize = 256;

/// How many messages one page may have.
pub(super) fn page_entries(max_payload_bytes: usize) -> usize {
    (PAGE_BYTES / max_payload_bytes.max(1)).clamp(1, PAGE_ENTRIES)
}

/// Compares channels with their histories and hands over what they have missed.
pub(super) async fn catch_up(state: &State, channels: &[ChannelName]) -> Result<(), Loss> {
    if channels.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = channels.iter().map(|channel| state.options.redis_channel(channel.as_str())).collect();
    let Tails { now_ms, tails } =
        match read(state, async |commands| history::tails(commands, &keys).await).await? {
            Ok(tails) => tails,
            Err(error) => {
                log::debug!("redis: the ends of histories were not told: {error}");
                Tails { now_ms: state.position_now().epoch, tails: vec![Tail::Unreadable; channels.len()] }
            }
        };
    let behind: Vec<_> = channels
        .iter()
        .zip(tails)
        .filter_map(|(channel, tail)| {
            let since = state.delivery.advance(channel, |continuity| continuity.on_tail(tail, now_ms))?;
            Some((channel, since))
        })
        .collect();
    stream::iter(behind)
        .map(|(channel, since)| read_on(state, channel, since))
        .buffer_unordered(READ_AT_ONCE)
        .try_collect()
        .await
}

/// Reads a channel's history from `since` to its end.
async fn read_on(state: &State, channel: &ChannelName, since: Position) -> Result<(), Loss> {
    let max = page_entries(state.dataset.max_payload_bytes());
    let mut next = Some(since);
    while let Some(since) = next {
        let options = &state.options;
        let page = read(state, async |commands| history::page(commands, options, channel, since, max).await);
        next = match page.await? {
            Ok(page) => state.delivery.advance(channel, |continuity| continuity.on_page(&page)),
            Err(error) => {
                log::debug!("redis: a history was not read: {error}");
                let now = state.position_now();
                state.delivery.advance(channel, |continuity| continuity.on_unreadable(now))
            }
        };
    }
    Ok(())
}

/// Sends a reading command. An error of the server is returned as the inner one; when the connection breaks, its
/// replacement is waited for once, because the subscriber may be well. Before the first proof nobody replaces it.
async fn read<T>(
    state: &State,
    command: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, ReadError>,
) -> Result<Result<T, ReadError>, Loss> {
    for is_last in [false, true] {
        let Some(mut line) = state.stages.line() else { break };
        match command(&mut line.commands).await {
            Err(ReadError::Connection(error)) if error.is_timeout() => {
                return Err(Loss::HistoryTimeout(state.options.response_timeout));
            }
            Err(ReadError::Connection(_)) if !is_last && state.stages.is_proven() => {
                state.suspect.notify_one();
                if timeout(state.options.connect_timeout, state.stages.gone(&line)).await.is_err() {
                    break;
                }
            }
            Err(ReadError::Connection(_)) => break,
            answered => return Ok(answered),
        }
    }
    Err(Loss::Closed)
}

/// Goes through all channels again and again, a batch at a time: should a last message ever be lost without a
/// trace, no later one would show it.
pub(super) struct Sweep {
    round: Vec<ChannelName>,
    interval: Duration,
    pause: Duration,
    next: Instant,
}

impl Sweep {
    pub(super) fn new(interval: Duration) -> Self {
        Self { round: Vec::new(), interval, pause: interval, next: Instant::now() + interval }
    }

    /// Returns when a batch is due; dropped before, nothing is missed.
    pub(super) async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Has the next batch compared.
    pub(super) fn verify_batch(&mut self, state: &State) {
        let audience = &state.delivery.audience;
        if self.round.is_empty() {
            self.round = audience.subscribed();
            let batches = self.round.len().div_ceil(SWEEP_BATCH).max(1);
            self.pause = self.interval / batches as u32;
        }
        let batch = self.round.split_off(self.round.len().saturating_sub(SWEEP_BATCH));
        audience.verify(&batch);
        self.next = Instant::now() + self.pause;
    }
}
