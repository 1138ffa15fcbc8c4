//! Reading histories, for repairs and for clients, over a connection of its own: however long a history is, no probe and no
//! publication waits behind it, and the loss of this connection is not the loss of the link.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::super::link::{HistoryWork, ReadFailure, TailsRead};
use super::connect::Endpoint;
use super::history::{self, Tails};
use super::read_error::ReadError;
use super::state::State;
use crate::backoff::Backoff;

/// The waits before an unanswered read is repeated, and before the next connection.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The outcome of a read, for the pace of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadResponse {
    Answered,
    /// Redis did not answer; it may later.
    Unanswered,
    /// The connection is lost.
    Disconnected,
}

/// Performs the reads of the link while it is up.
pub(super) async fn keep_reading(state: &State, endpoint: &Endpoint) -> Infallible {
    #[allow(clippy::expect_used, reason = "both are constants")]
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX).expect("0 < min <= max");
    loop {
        match endpoint.connect_commands(&state.options).await {
            Ok(commands) => read_over(state, &commands, &mut backoff).await,
            Err(error) => log::debug!("redis: no connection for histories: {error}"),
        }
        sleep(backoff.next(&mut rand::rng())).await;
    }
}

/// Returns when the connection is lost.
async fn read_over(state: &State, commands: &MultiplexedConnection, backoff: &mut Backoff) {
    let mut asked = FuturesUnordered::new();
    let mut is_lost = false;
    loop {
        if !is_lost {
            // Not within the loop's head, which would keep the lock.
            let next = || state.link.lock().next_read();
            while let Some(work) = next() {
                asked.push(read(state, commands.clone(), work));
            }
        } else if asked.is_empty() {
            return;
        }
        tokio::select! {
            Some(outcome) = asked.next() => match outcome {
                ReadResponse::Answered => backoff.reset(),
                ReadResponse::Unanswered => sleep(backoff.next(&mut rand::rng())).await,
                ReadResponse::Disconnected => is_lost = true,
            },
            () = state.link.reads_changed(), if !is_lost => {}
        }
    }
}

async fn read(state: &State, mut commands: MultiplexedConnection, work: HistoryWork) -> ReadResponse {
    let options = &state.options;
    let (asked, error) = match work {
        HistoryWork::Tails(channels) => {
            let keys: Vec<_> =
                channels.iter().map(|(channel, _)| options.redis_channel(channel.as_str())).collect();
            let (tails, error) = match history::tails(&mut commands, options, &keys).await {
                Ok(Tails { now_ms, whole_since_ms, tails }) => {
                    let tails = tails.into_iter().map(|tail| tail.map_err(|error| failure(&error)));
                    (TailsRead { now_ms, whole_since_ms, tails: tails.collect() }, None)
                }
                Err(error) => (TailsRead::failed(failure(&error), channels.len()), Some(error)),
            };
            let is_later = tails.tails.contains(&Err(ReadFailure::Later));
            state.link.lock().on_stream_tails(channels, tails, Instant::now());
            (if is_later { ReadResponse::Unanswered } else { ReadResponse::Answered }, error)
        }
        HistoryWork::Page(page) => {
            let (channel, since, max_entries) = page.query();
            let read = history::page(&mut commands, options, channel, since, max_entries).await;
            let (read, error) = match read {
                Ok(page) => (Ok(page), None),
                Err(error) => (Err(failure(&error)), Some(error)),
            };
            let asked = match read {
                Err(ReadFailure::Later) => ReadResponse::Unanswered,
                _ => ReadResponse::Answered,
            };
            state.link.lock().on_page(page, read, Instant::now());
            (asked, error)
        }
    };
    state.link.progressed();
    if let Some(error) = &error {
        log::debug!("redis: a history was not read: {error}");
    }
    match error {
        // Also after a time-out: the late answer would delay the next ones.
        Some(ReadError::Connection(_)) => ReadResponse::Disconnected,
        _ => asked,
    }
}

/// An error of one channel's data is that channel's alone. Anything else says nothing of it.
fn failure(error: &ReadError) -> ReadFailure {
    match error {
        ReadError::Connection(_) | ReadError::Busy(_) => ReadFailure::Later,
        ReadError::Data(_) => ReadFailure::Data,
    }
}
