//! Reading histories.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::options::RedisOptions;
use crate::protocol::channel::ChannelName;
use crate::protocol::history::{Entry, Page};
use crate::protocol::position::Position;
use crate::protocol::publication::Publication;

pub(super) struct Tails {
    pub now_ms: u64,
    pub tails: Vec<Option<Position>>,
}

pub(super) async fn tails(commands: &mut MultiplexedConnection, keys: &[String]) -> RedisResult<Tails> {
    unimplemented!()
}

pub(super) async fn page(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
    channel: &ChannelName,
    since: Position,
    max_entries: usize,
) -> RedisResult<Page> {
    unimplemented!()
}
pub(super) async fn mark_born(
    commands: &mut MultiplexedConnection,
    options: &RedisOptions,
) -> RedisResult<()> {
    unimplemented!()
}
