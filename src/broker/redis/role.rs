//! Checks that the server is a master.
//!
//! A Redis replica accepts subscriptions and publications as a master does, but publishers use the master. After a
//! failover, a link to the old master looks healthy and receives only its own probes.

use std::sync::atomic::Ordering;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult, Value};

use super::link_error::LinkError;
use super::state::RedisState;

/// How a link queries the server's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RoleQuery {
    /// With `ROLE`.
    #[default]
    Role,
    /// With `INFO`, because `ROLE` is not allowed.
    Info,
    /// Not at all, because neither command is allowed.
    Unavailable,
}

impl RoleQuery {
    /// Queries the role. A command that is not allowed is not sent again, so Redis' ACL log does not grow with each
    /// probe.
    ///
    /// # Errors
    /// Only [`LinkError::Demoted`]. A missing answer is no error here, because the probe detects it.
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
                    log::debug!("redis: the role query failed: {error}");
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
                    log::info!(
                        "redis: the Redis user may run neither ROLE nor INFO; a demoted master is not detected"
                    );
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

/// Whether the Redis user lacks the permission, or a proxy in front of Redis does not know the command.
fn is_not_allowed(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOPERM" | "ERR"))
}
