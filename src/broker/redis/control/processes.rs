//! Reads which replicas have a lease, or had one a moment ago.

use redis::{ErrorKind, RedisResult};

use super::super::super::control::LOST_FOR_MS;
use super::super::state::RedisState;

/// The replicas, each with the time when its lease lapses, and the time by Redis' clock; all in Unix milliseconds.
pub(super) struct Processes {
    pub(super) all: Vec<(String, u64)>,
    pub(super) now_ms: u64,
}

/// Reads the replicas over the link with the keys of presence. While presence is off there are none.
pub(super) async fn read(state: &RedisState) -> RedisResult<Processes> {
    if state.presence.is_none() {
        return Ok(Processes { all: Vec::new(), now_ms: 0 });
    }
    let Some(mut commands) = state.commands() else {
        return Err((ErrorKind::Io, "the link is down").into());
    };
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut commands).await?;
    let now_ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    let mut range = redis::cmd("ZRANGEBYSCORE");
    range.arg(state.options.names().presence("processes"));
    range.arg(now_ms.saturating_sub(LOST_FOR_MS)).arg("+inf").arg("WITHSCORES");
    let all: Vec<(String, f64)> = range.query_async(&mut commands).await?;
    Ok(Processes { all: all.into_iter().map(|(name, lapses)| (name, lapses as u64)).collect(), now_ms })
}
