//! Reads histories, for repairs and for clients, on a connection of its own. So a long history delays no probe and no
//! publication, and the loss of this connection is not the loss of the link.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use super::super::link::{HistoryWork, PageReader, PageWork, ReadErrorKind};
use super::connect::Endpoint;
use super::history;
use super::read_error::RedisReadError;
use super::rights;
use super::state::RedisState;
use crate::backoff::Backoff;

/// The waits before a failed read is repeated, and before the next connection.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Performs the reads of the link while it is up.
pub(super) async fn run(state: &RedisState, endpoint: &Endpoint) -> Infallible {
    #[allow(clippy::expect_used, reason = "both are constants")]
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX).expect("0 < min <= max");
    loop {
        match endpoint.connect_commands(&state.options).await {
            // On this connection, which no probe and no publication needs.
            Ok(commands) => tokio::select! {
                () = read_until_lost(state, &commands, &mut backoff) => {}
                never = rights::run(state, &commands) => match never {},
            },
            Err(error) => log::debug!("redis: no connection for reading histories: {error}"),
        }
        sleep(backoff.next(&mut rand::rng())).await;
    }
}

/// Returns when the connection is lost.
async fn read_until_lost(state: &RedisState, commands: &MultiplexedConnection, backoff: &mut Backoff) {
    let mut in_flight = FuturesUnordered::new();
    let mut is_lost = false;
    loop {
        if !is_lost {
            // Not in the loop's condition, which would hold the lock during the body.
            let next = || state.link.lock().next_read();
            while let Some(work) = next() {
                in_flight.push(read(state, commands.clone(), work));
            }
        } else if in_flight.is_empty() {
            return;
        }
        tokio::select! {
            Some(outcome) = in_flight.next() => match outcome {
                Ok(()) | Err(RedisReadError::Data(_)) => backoff.reset(),
                Err(RedisReadError::NotRun(..) | RedisReadError::Busy(_)) => {
                    sleep(backoff.next(&mut rand::rng())).await;
                }
                // Also after a timeout, because the late answer would delay the next reads.
                Err(RedisReadError::Connection(_)) => is_lost = true,
            },
            () = state.link.reads_changed(), if !is_lost => {}
        }
    }
}

/// Performs one read and passes its outcome to the link. Returns the outcome, for the pace of the next read.
async fn read(
    state: &RedisState,
    mut commands: MultiplexedConnection,
    work: HistoryWork,
) -> Result<(), RedisReadError> {
    let options = &state.options;
    let outcome = match work {
        HistoryWork::Tails(channels) => {
            let keys: Vec<_> =
                channels.iter().map(|(channel, _)| options.names().channel(channel.as_str())).collect();
            let read = history::tails(&mut commands, options, &keys).await;
            let tails = match &read {
                Ok(tails) => {
                    tails.iter().map(|tail| tail.as_ref().copied().map_err(RedisReadError::kind)).collect()
                }
                Err(error) => vec![Err(error.kind()); channels.len()],
            };
            state.link.lock().on_stream_tails(channels, tails, Instant::now());
            let is_transient = |error: &RedisReadError| error.kind() == ReadErrorKind::Transient;
            read.and_then(|tails| {
                tails.into_iter().filter_map(Result::err).find(is_transient).map_or(Ok(()), Err)
            })
        }
        HistoryWork::Page(page) => {
            let PageWork { reader, channel, range, max_entries } = &page;
            // Clients need no tail: their reads end at a cut, or at any message.
            let needs_tail = matches!(reader, PageReader::Repair(_));
            let read = history::page(&mut commands, options, channel, *range, *max_entries, needs_tail).await;
            let (page_read, outcome) = match read {
                Ok(page) => (Ok(page), Ok(())),
                Err(error) => (Err(error.kind()), Err(error)),
            };
            state.link.lock().on_page(page, page_read, Instant::now());
            outcome
        }
    };
    state.link.progressed();
    if let Err(RedisReadError::NotRun(reason, _)) = &outcome {
        state.note_not_run(*reason);
    }
    if let Err(error) = &outcome {
        log::debug!("redis: the read of a history failed: {error}");
    }
    outcome
}
