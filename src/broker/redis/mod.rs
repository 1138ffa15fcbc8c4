//! The broker over Redis: one subscriber link for the whole process, on its own thread.
//!
//! # Layout
//!
//! - `options`: where Redis is and how long to wait for it. `address`: what its URL says. `access`: passwords and
//!   certificates.
//! - `commands`: the connection for commands. `publishing`: publications on it, retried where that is safe.
//! - `sentinel`: where the master is. `role`: whether it is one. `connect`: connections to it.
//! - `state`: shared by the link and the handles. `thread_check`: whether the link's thread runs. `link_error`: why the
//!   link is down. `downtime`: how long it was down.
//! - `function`: durable publishing, done by a function inside Redis. `history`: reading what it keeps. `read_error`:
//!   why it was not read.
//! - `dataset`: since when the data has been whole. `known_dataset`: the last known state of the data. `data_settings`:
//!   the settings in force for it.
//! - `subscriptions`: the subscriptions at Redis, and its messages. `receive`: from a message to the hubs.
//! - `reads`: reads of histories, for repairs and for clients. `probe`: checks that publications arrive.
//! - `rejected`: records payloads that reach nobody on a stream. `refused`: notes the channels that this user may not
//!   subscribe to.
//! - `connected`: runs all of this while the link is up. `link`: connects again after each loss.
//!
//! The link has a thread and a runtime of its own, so that a busy worker never delays it. It subscribes
//! exactly to the channels that hubs want, never to a pattern. Its work is always the difference between the wanted and
//! the subscribed channels, so no queue of requests can grow.

mod access;
mod address;
mod commands;
mod connect;
mod connected;
mod data_settings;
mod dataset;
mod downtime;
mod function;
mod history;
mod known_dataset;
mod link;
mod link_error;
mod options;
mod probe;
mod publishing;
mod read_error;
mod reads;
mod receive;
mod refused;
mod rejected;
mod role;
mod sentinel;
mod state;
mod subscriptions;
mod thread_check;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::runtime;

use super::link::SharedLink;
use super::types::{PublishOutcome, PublishRequest};
use super::{BrokerSetupError, Health, Retry};
use crate::backoff::Backoff;
use crate::metrics::Metrics;

pub use access::{Credentials, TlsFiles};
use link_error::LinkError;
pub use options::RedisOptions;
use state::RedisState;

/// The channel, after the prefix, for one write to many users. Every replica hears it; no session can: it has
/// no namespace.
const USERS: &str = "users";

/// A handle of the Redis broker; cloning shares it.
#[derive(Clone)]
pub struct RedisBroker {
    handle: Arc<Handle>,
}

/// Ends the link together with the last handle.
struct Handle {
    state: Arc<RedisState>,
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
        options.check()?;
        let address = options.address()?.to_string();
        let backoff = Backoff::new(options.min_reconnect_delay, options.max_reconnect_delay)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let state = Arc::new(RedisState::new(options, metrics));
        let shared = Arc::clone(&state);
        thread::Builder::new().name("broker-link".into()).spawn(move || {
            let kept = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on(async {
                    tokio::select! {
                        () = link::run(Arc::clone(&shared), backoff, &address) => {}
                        never = shared.thread_check.run() => match never {},
                    }
                });
            }));
            if kept.is_err() {
                // Nothing connects again after this panic, so the broker never becomes ready.
                log::error!("redis at {address}: the link's thread panicked, restart this process");
                shared.disconnected(LinkError::Panicked);
            }
            // A name that is being resolved would hold up an orderly end.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle: Arc::new(Handle { state }) })
    }

    pub(super) fn link(&self) -> &SharedLink {
        &self.handle.state.link
    }

    /// Publishes all requests in order; returns an outcome for each.
    pub(super) async fn publish_all(
        &self,
        requests: &[PublishRequest<'_>],
        retry: Retry,
    ) -> Vec<PublishOutcome> {
        publishing::publish_all(&self.handle.state, requests, retry).await
    }

    /// Whether the link's thread answers within `deadline`, whatever the state of the link.
    pub(super) async fn link_thread_responds(&self, deadline: Duration) -> bool {
        self.handle.state.thread_check.responds(deadline).await
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

/// Publishes a payload, also that of a probe. Returns the number of receiving connections: one for each replica.
async fn publish(commands: &mut MultiplexedConnection, channel: &str, payload: &str) -> RedisResult<u64> {
    redis::cmd("PUBLISH").arg(channel).arg(payload).query_async(commands).await
}
