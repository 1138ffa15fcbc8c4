//! Checks that the server serves the gateway's keys.
//!
//! A server that loads its data answers `SUBSCRIBE`, `PUBLISH`, `TIME` and `ROLE`, and a node of a Redis Cluster answers
//! `PUBLISH` also for slots of other nodes. So a link can look healthy while no history can be read.

use std::sync::atomic::Ordering;

use redis::RedisError;
use redis::aio::MultiplexedConnection;

use super::link_error::{LinkError, describe};
use super::not_run::NotRun;
use super::state::RedisState;

/// The check of one link.
#[derive(Debug, Clone)]
pub(super) struct ServerCheck {
    /// At least two keys. With a Redis Cluster they are in one slot.
    keys: Vec<String>,
    /// The URL that would be right if the server belongs to a Redis Cluster; `None`: `broker.url` is that of a cluster.
    cluster_url: Option<String>,
    /// Whether the Redis user may run the command, as far as known.
    is_allowed: bool,
}

impl ServerCheck {
    pub(super) fn new(keys: Vec<String>, cluster_url: Option<String>) -> Self {
        Self { keys, cluster_url, is_allowed: true }
    }

    /// Checks the server. A command that is not allowed is not sent again, so Redis' ACL log does not grow with each
    /// probe.
    ///
    /// # Errors
    /// [`LinkError::NotServing`], [`LinkError::Moved`], [`LinkError::IsCluster`], or [`LinkError::Refused`] if keys of
    /// one link are in several slots. A missing answer is no error here, because the probe detects it.
    pub(super) async fn verify(
        &mut self,
        state: &RedisState,
        commands: &mut MultiplexedConnection,
    ) -> Result<(), LinkError> {
        if !self.is_allowed {
            return Ok(());
        }
        let answer = redis::cmd("EXISTS").arg(&self.keys).exec_async(commands).await;
        answer.or_else(|error| self.classify(state, &error))
    }

    fn classify(&mut self, state: &RedisState, error: &RedisError) -> Result<(), LinkError> {
        match (NotRun::of(error), error.code(), &self.cluster_url) {
            (Some(NotRun::Moved), _, None) => Err(LinkError::Moved),
            // Only a cluster has slots.
            (Some(NotRun::Moved), ..) | (None, Some("CROSSSLOT"), _) => Err(match &self.cluster_url {
                Some(url) => LinkError::IsCluster { url: url.clone() },
                None => LinkError::of_command(error),
            }),
            (Some(reason), ..) => Err(LinkError::NotServing(reason)),
            (None, Some("NOPERM" | "ERR"), _) => {
                self.is_allowed = false;
                if !state.is_unchecked_server_logged.swap(true, Ordering::Relaxed) {
                    log::info!(
                        "redis: the Redis user may not run EXISTS; a server that is loading its data is not detected"
                    );
                }
                Ok(())
            }
            (None, ..) => {
                log::debug!("redis: the server was not checked: {}", describe(error));
                Ok(())
            }
        }
    }
}

/// Which of two errors of a server ends its link: a server of another kind or without the slot can be no master either,
/// but a replica that is loading its data is still the wrong server afterwards.
pub(super) fn first_error(
    check: Result<(), LinkError>,
    role: Result<(), LinkError>,
) -> Result<(), LinkError> {
    match (check, role) {
        (Err(LinkError::NotServing(_)), Err(role)) => Err(role),
        (check, role) => check.and(role),
    }
}
