//! Whether the server at the other end is a master.
//!
//! A replica takes subscriptions and publications as a master does, but nobody publishes there: after a failover a link
//! to the old master looks well and hears nothing but its own probes.

use std::sync::atomic::Ordering;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};

use super::link_error::LinkError;
use super::state::RedisState;

/// How a link asks for the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RoleQuery {
    /// By `ROLE`.
    #[default]
    Role,
    /// By `INFO`, because `ROLE` is not allowed.
    Info,
    /// Not at all: neither is allowed.
    Unavailable,
}

impl RoleQuery {
    /// Asks, and remembers what is not allowed, so that Redis' log of refusals does not grow with each probe.
    ///
    /// # Errors
    /// [`LinkError::Demoted`] only. That nothing is answered is for the probe to find.
    pub(super) async fn verify_master(
        &mut self,
        state: &RedisState,
        commands: &mut MultiplexedConnection,
    ) -> Result<(), LinkError> {
        loop {
            let answer = match self {
                Self::Role => is_replica_by_role(commands).await,
                Self::Info => is_replica_by_info(commands).await,
                Self::Unavailable => return Ok(()),
            };
            match answer {
                Ok(true) => return Err(LinkError::Demoted),
                Ok(false) => return Ok(()),
                Err(error) if is_not_allowed(&error) => self.downgrade(state),
                Err(error) => {
                    log::debug!("redis: its role was not answered: {error}");
                    return Ok(());
                }
            }
        }
    }

    fn downgrade(&mut self, state: &RedisState) {
        *self = match self {
            Self::Role => Self::Info,
            Self::Info | Self::Unavailable => {
                if !state.is_unknown_role_logged.swap(true, Ordering::Relaxed) {
                    log::info!("redis: neither ROLE nor INFO is allowed: a demoted master is not recognised");
                }
                Self::Unavailable
            }
        };
    }
}

async fn is_replica_by_role(commands: &mut MultiplexedConnection) -> RedisResult<bool> {
    let answer: Value = redis::cmd("ROLE").query_async(commands).await?;
    let role = match &answer {
        Value::Array(parts) => parts.first(),
        _ => None,
    };
    Ok(matches!(role, Some(Value::BulkString(name)) if name == b"slave"))
}

async fn is_replica_by_info(commands: &mut MultiplexedConnection) -> RedisResult<bool> {
    let answer: String = redis::cmd("INFO").arg("replication").query_async(commands).await?;
    Ok(answer.lines().any(|line| line == "role:slave"))
}

/// No permission, or something between us and Redis that does not know the command.
fn is_not_allowed(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}
