//! Durable publishing with the function inside Redis.
//!
//! - `available`: loading the function
//! - `calling`: publishing over HTTP and with the command line
//! - `dataset`: settings and marker of a prefix, and when recovery may be claimed
//! - `function`: the function's guarantees to backends
//! - `namespaces`: histories by namespace
//! - `rejected`: the record of rejected payloads
//! - `restarts`: restarts, data loss and failovers of Redis
//! - `rights`: permissions of Redis users, and a full Redis

mod available;
mod calling;
mod dataset;
mod function;
mod namespaces;
mod rejected;
mod restarts;
mod rights;

use std::time::Duration;

use emagine_gateway::broker::redis::{Credentials, Layout, ReadyWith, RedisOptions, TlsFiles};
use emagine_gateway::broker::{Broker, HistoryOptions, PublishError};
use emagine_gateway::metrics::Metrics;
use protocol::channel::ChannelName;
use protocol::position::Position;
use redis::{Connection, FromRedisValue, RedisResult, cmd};
use serde_json::value::RawValue;

use crate::support::deadline::eventually_eq;
use crate::support::process::SOON;
use crate::support::redis_line::{query_line, run_line};
use crate::support::redis_server::RedisServer;

const MAX_PAYLOAD_BYTES: usize = 1000;
const HISTORY_SIZE: usize = 100;

/// A Redis server with the function loaded by a broker, and a backend's connection to it.
struct Prepared {
    backend: Connection,
    broker: Broker,
    metrics: Metrics,
    /// Declared last, to be dropped last.
    server: RedisServer,
}

impl Prepared {
    fn start() -> Self {
        Self::over(RedisServer::start())
    }

    fn over(server: RedisServer) -> Self {
        let url = server.url();
        Self::at(server, &url)
    }

    /// Starts the broker as the Redis user `user`, given as `name:password`.
    fn over_as(server: RedisServer, user: &str) -> Self {
        let url = server.url().replace("://", &format!("://{user}@"));
        Self::at(server, &url)
    }

    fn at(server: RedisServer, url: &str) -> Self {
        let metrics = Metrics::default();
        let broker = Broker::redis(options(url), &metrics).unwrap();
        let prepared = Self { backend: server.client(), broker, metrics, server };
        prepared.wait_ready();
        prepared
    }

    #[track_caller]
    fn wait_ready(&self) {
        eventually_eq(SOON, &(true, Vec::new()), || {
            let health = self.broker.health();
            (health.is_ready, health.reasons)
        });
    }

    /// Runs a command whose words are separated by spaces.
    #[track_caller]
    fn run<T: FromRedisValue>(&mut self, command: &str) -> T {
        run_line(&mut self.backend, command)
    }

    /// Publishes durably to one channel, as a backend does.
    #[track_caller]
    fn publish(&mut self, channel: &str, message: &str) -> Position {
        let position: RedisResult<String> = fcall(&mut self.backend, &[channel], &[message]);
        parse(&position.unwrap_or_else(|error| panic!("{channel}: {error}")))
    }

    /// Publishes durably through the broker.
    fn broker_publishes(&self, channel: &str, message: &str) -> Result<Position, PublishError> {
        let message = RawValue::from_string(message.into()).unwrap();
        let channel = ChannelName::parse(channel).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.broker.publish_durable(&channel, &message, None))
    }

    /// Reads the history of a channel: each entry's position and its fields.
    #[track_caller]
    fn history(&mut self, channel: &str) -> Vec<(String, Vec<(String, String)>)> {
        self.run(&format!("XRANGE gateway:{channel} - +"))
    }

    /// Lists all keys but the dataset marker and the settings.
    fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.run("KEYS gateway:*");
        keys.retain(|key| key != "gateway:dataset" && key != "gateway:settings");
        keys.sort_unstable();
        keys
    }
}

fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: url.into(),
        credentials: Credentials::default(),
        sentinel_credentials: Credentials::default(),
        tls: TlsFiles::default(),
        history_check_interval: Duration::from_secs(30),
        layout: Layout::Plain,
        ready_with: ReadyWith::All,
        prefix: "gateway".into(),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(5),
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_secs(5),
        min_reconnect_delay: Duration::from_millis(20),
        max_reconnect_delay: Duration::from_millis(400),
        max_payload_bytes: MAX_PAYLOAD_BYTES,
        max_payload_depth: 128,
        history: HistoryOptions::of_size(HISTORY_SIZE),
        revocation_ttl: Duration::from_secs(3600),
        presence: None,
    }
}

/// Runs `FCALL gateway_publish` on channels, with the message and its optional arguments.
fn fcall<T: FromRedisValue>(
    connection: &mut Connection,
    channels: &[&str],
    arguments: &[&str],
) -> RedisResult<T> {
    let mut call = cmd("FCALL");
    call.arg("gateway_publish").arg(channels.len());
    channels.iter().for_each(|channel| {
        call.arg(format!("gateway:{channel}"));
    });
    call.arg(arguments).query(connection)
}

/// Runs the function, which must refuse; returns the error.
#[track_caller]
fn refused(connection: &mut Connection, channels: &[&str], arguments: &[&str]) -> String {
    fcall::<redis::Value>(connection, channels, arguments).unwrap_err().to_string()
}

#[track_caller]
fn parse(position: &str) -> Position {
    Position::parse(position).unwrap_or_else(|| panic!("not a position: {position:?}"))
}

/// The next position after `position` in the same epoch.
fn next(position: Position) -> Position {
    Position { offset: position.offset + 1, ..position }
}
