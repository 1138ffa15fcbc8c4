//! The broker over Redis: one subscriber link for the whole process, on its own thread.
//!
//! # Layout
//!
//! - `options`: where Redis is and how long to wait for it. `address`: what its URL says. `access`: passwords and
//!   certificates.
//! - `state`: what the link and the handles share. `stage`: how far the link is, and its connection.
//! - `loss`: why there is no link. `clock`: what Redis' clock shows.
//! - `catch_up`: reading what channels have missed. `outage`: how long losses last.
//! - `receive`: from a message to the hubs.
//! - `sentinel`: where the master is. `role`: whether it is one.
//! - `function`: durable publishing, done by a function inside Redis. `history`: reading what it keeps.
//!   `dataset`: since when that has been whole, and `data_settings`: what is in force for it. `read_error`: why it was
//!   not read.
//! - `rejected`: payloads that reach nobody, put where a person can find them.
//! - `subscriptions`: what Redis is asked to send, and what it sends.
//! - `connected`: subscribing, receiving and proving while there is a link.
//! - `link`: making it again for ever.
//!
//! The link has a thread and a runtime of its own, so that a busy worker never delays it. It carries exactly
//! the channels that the audience wants, never a pattern; what it is to do is always the difference between
//! what is wanted and what is carried, so no queue of requests can grow.

mod access;
mod address;
mod catch_up;
mod clock;
mod connected;
mod data_settings;
mod dataset;
mod function;
mod history;
mod link;
mod loss;
mod options;
mod outage;
mod read_error;
mod receive;
mod rejected;
mod role;
mod sentinel;
#[cfg(test)]
pub(crate) mod simulation;
mod stage;
mod state;
mod subscriptions;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use serde_json::value::RawValue;
use tokio::runtime;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::delivery::Delivery;
use super::recovery::{Interrupted, NotRecovered, Recovered, Recovery, RecoveryLimits};
use super::{BrokerSetupError, Health, HubId, PublishError};
use crate::backoff::Backoff;
use crate::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;

pub use access::{Credentials, TlsFiles};
use loss::Loss;
pub use options::RedisOptions;
use read_error::ReadError;
use stage::Line;
use state::State;

/// The channel, after the prefix, for one write to many users. Every replica hears it; no session can: it has
/// no namespace.
const USERS: &str = "users";

/// What histories are read over.
pub(super) type ReadLine = Line<MultiplexedConnection>;

/// A handle of the Redis broker; cloning shares it.
#[derive(Clone)]
pub struct RedisBroker {
    handle: Arc<Handle>,
}

/// Ends the link together with the last handle.
struct Handle {
    state: Arc<State>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.stop();
    }
}

impl RedisBroker {
    pub(super) fn start(options: RedisOptions, metrics: &Metrics) -> Result<Self, BrokerSetupError> {
        // rustls panics at the first `rediss://` connection if it has to guess between two. An error only says
        // that the process has already chosen one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = options.address()?.to_string();
        let backoff = Backoff::new(options.reconnect_min, options.reconnect_max)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Arc::new(State::new(options, metrics));
        let shared = Arc::clone(&state);
        thread::Builder::new().name("broker-link".into()).spawn(move || {
            let kept = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(link::keep(Arc::clone(&shared), backoff, &address));
            }));
            if kept.is_err() {
                // A fault in what remakes links. Nothing is left to do it: so never again be ready.
                log::error!("redis at {address}: the link's thread panicked, restart this process");
                shared.set_down(Some(Loss::Panicked));
            }
            // A name that is being resolved would hold up an orderly end.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle: Arc::new(Handle { state }) })
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.handle.state.delivery
    }

    pub(super) fn subscribe(&self, hub: HubId, channels: Vec<ChannelName>) {
        let now = self.position_now();
        self.delivery().subscribe(hub, channels, |_| now);
    }

    /// The caller's task sends on a clone of the link's connection and waits for the answer itself: one hop
    /// between threads each way, and no task of ours in between that would need a queue.
    pub(super) async fn publish(
        &self,
        channel: &ChannelName,
        message: &RawValue,
    ) -> Result<(), PublishError> {
        let state = &self.handle.state;
        let (mut commands, _waiting) = self.admit(message)?;
        let channel = state.options.redis_channel(channel.as_str());
        publish(&mut commands, &channel, message.get()).await.map_err(|error| self.explain(&error))
    }

    pub(super) async fn publish_durable(
        &self,
        channel: &ChannelName,
        message: &RawValue,
        idempotency_key: Option<&str>,
    ) -> Result<Position, PublishError> {
        let state = &self.handle.state;
        super::check_idempotency_key(idempotency_key)?;
        let (mut commands, _waiting) = self.admit(message)?;
        let key = state.options.redis_channel(channel.as_str());
        let mut answer = function::call(&mut commands, &key, message.get(), idempotency_key).await;
        if answer.as_ref().is_err_and(function::is_missing) {
            // Somebody has flushed the functions. What was not there has published nothing: so try again.
            function::load(state, &mut commands).await;
            answer = function::call(&mut commands, &key, message.get(), idempotency_key).await;
        }
        let position = answer.map_err(|error| self.explain(&error))?;
        Position::parse(&position)
            .ok_or_else(|| PublishError::Refused(format!("the function answered {position:?}")))
    }

    /// What every publication needs: a message that is not too long, a connection, and a place to wait.
    fn admit(
        &self,
        message: &RawValue,
    ) -> Result<(MultiplexedConnection, SemaphorePermit<'_>), PublishError> {
        let state = &self.handle.state;
        super::check_size(message, state.dataset.max_payload_bytes())?;
        let Some(commands) = state.commands() else {
            return Err(PublishError::Unavailable);
        };
        let waiting = state.publishing.try_acquire().map_err(|_| PublishError::Busy)?;
        Ok((commands, waiting))
    }

    fn explain(&self, error: &RedisError) -> PublishError {
        if error.is_timeout() {
            PublishError::Timeout
        } else if function::is_missing(error) || function::is_unknown(error) {
            PublishError::HistoryUnavailable(function::reason(error))
        } else if error.code().is_some() {
            PublishError::Refused(loss::plain(error))
        } else {
            self.handle.state.suspect.notify_one();
            PublishError::Interrupted
        }
    }

    /// Waits until `deadline` for a link that is proven, and returns what to read over.
    pub(super) async fn proven_line(&self, deadline: Instant) -> Option<ReadLine> {
        if Instant::now() >= deadline {
            return None;
        }
        timeout_at(deadline, self.handle.state.stages.proven_line()).await.ok()
    }

    /// How long a link that is just being made again is waited for: as long as a command may take. Most interruptions
    /// are shorter, and whoever comes back in one need not be told of a gap.
    pub(super) fn patience(&self) -> Duration {
        self.handle.state.options.response_timeout
    }

    /// Reads everything behind `since`, over this line and no other.
    pub(super) async fn recover(
        &self,
        line: &ReadLine,
        channel: &ChannelName,
        since: Position,
        limits: RecoveryLimits,
        deadline: Instant,
    ) -> Result<Result<Recovered, NotRecovered>, Interrupted> {
        let state = &self.handle.state;
        let read = self.read_missed(line.commands.clone(), channel, Recovery::new(since, limits));
        state.stages.over(line, deadline, &state.suspect, read).await
    }

    async fn read_missed(
        &self,
        mut commands: MultiplexedConnection,
        channel: &ChannelName,
        mut recovery: Recovery,
    ) -> Result<Result<Recovered, NotRecovered>, Interrupted> {
        let state = &self.handle.state;
        let turn = timeout(state.options.response_timeout, state.recovering.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Ok(Err(NotRecovered::Unavailable)) };
        let max = catch_up::page_entries(state.dataset.max_payload_bytes());
        loop {
            let page = history::page(&mut commands, &state.options, channel, recovery.place(), max).await;
            let page = match page {
                Ok(page) => page,
                Err(ReadError::Data(_) | ReadError::Busy(_)) => return Ok(Err(NotRecovered::Unreadable)),
                Err(ReadError::Connection(_)) => return Err(Interrupted),
            };
            match recovery.take(page) {
                Ok(true) => return Ok(Ok(recovery.finish())),
                Ok(false) => {}
                Err(reason) => return Ok(Err(reason)),
            }
        }
    }

    pub(super) fn position_now(&self) -> Position {
        self.handle.state.position_now()
    }

    pub(super) fn health(&self) -> Health {
        self.handle.state.health()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.handle.state.notes()
    }

    pub(super) fn shutdown(&self) {
        self.handle.state.stop();
    }
}

/// The one way by which anything is published, probes included.
async fn publish(commands: &mut MultiplexedConnection, channel: &str, payload: &str) -> RedisResult<()> {
    redis::cmd("PUBLISH").arg(channel).arg(payload).exec_async(commands).await
}
