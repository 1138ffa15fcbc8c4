//! The inbox: messages of clients for the backend.
//!
//! - `faults`: numbered messages while clients, replicas, the link and Redis fail
//! - `functions`: gateway_send, called as a gateway calls it
//! - `sender`: a client that repeats its messages until they are acknowledged
//! - `sessions`: what clients are answered
//! - `workers`: the workers of docs/inbox.md, killed in the middle

mod faults;
mod functions;
mod sender;
mod sessions;
mod workers;

use redis::{Connection, FromRedisValue, RedisResult, cmd};

use crate::support::deadline::eventually_eq;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::redis_line::run_line;
use crate::support::redis_server::RedisServer;

pub(crate) const STREAM: &str = "gateway:inbox";
pub(crate) const SESSION: &str = "0123456789abcdef0123456789abcdef";

/// A Redis with the functions.
fn redis_with_functions() -> (RedisServer, TestGateway) {
    let redis = RedisServer::start();
    let gateway = TestGateway::redis(&redis).spawn();
    gateway.wait_ready();
    eventually_eq(SOON, &1, || gateway.metric("history_available"));
    (redis, gateway)
}

/// Calls gateway_send for the channel room:7.
pub(crate) fn fcall<T: FromRedisValue>(
    redis: &mut Connection,
    user: &str,
    id: &str,
    message: &str,
) -> RedisResult<T> {
    let mut call = cmd("FCALL");
    call.arg("gateway_send").arg(1).arg(STREAM).arg(user).arg(SESSION).arg("room:7").arg(id).arg(message);
    call.query(redis)
}

fn len(redis: &mut Connection) -> usize {
    run_line(redis, &format!("XLEN {STREAM}"))
}
