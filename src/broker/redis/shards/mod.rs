//! Several links: one for each master of a cluster whose slots have the channels.
//!
//! - `map_reader`: when to read the map of the slots.
//! - `apply`: makes the links follow the map.
//! - `publish`: publishes each request over the link of its channel.

mod apply;
mod map_reader;
mod publish;

pub(super) use publish::publish_all;

use std::pin::pin;

use tokio::task::JoinSet;

use super::link;
use super::links::RedisLinks;
use super::master_watch::watch_map;
use crate::backoff::Backoff;
use map_reader::MapReader;

/// Keeps a link to each master until the broker is stopped. `address` names the cluster in messages.
/// Runs in a `LocalSet`.
pub(super) async fn run(links: &RedisLinks, backoff: Backoff, address: &str) {
    let mut running = JoinSet::new();
    let mut reader = MapReader::new(links, backoff.clone(), address);
    let mut stopped = links.process.stopped.subscribe();
    let mut watching = pin!(watch_map(&links.process));
    loop {
        tokio::select! {
            map = reader.next() => {
                for started in apply::apply(links, &map) {
                    let backoff = backoff.clone();
                    let node = started.node.as_ref().map_or_else(|| address.to_owned(), ToString::to_string);
                    running.spawn_local(async move { link::run(started, backoff, &node).await });
                }
            }
            Some(_) = running.join_next() => {}
            never = &mut watching => match never {},
            // The sender is in the process' state, so the channel stays open.
            _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
        }
    }
    // A map may have been applied while the broker was stopped.
    links.stop();
    while running.join_next().await.is_some() {}
}
