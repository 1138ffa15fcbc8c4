//! A Redis master, its replica and their sentinels.

use std::fs;
use std::time::Duration;

use redis::{Connection, Value, cmd};

use super::deadline::{eventually, eventually_eq};
use super::redis_server::RedisServer;

/// The deadline for sentinels to discover each other, and for a failover.
pub(crate) const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// The master's name in the sentinels' settings.
pub(crate) const MASTER: &str = "main";

/// Two servers, the second a replica of the first, and their sentinels.
pub(crate) struct Watched {
    pub(crate) servers: [RedisServer; 2],
    pub(crate) sentinels: Vec<RedisServer>,
}

impl Watched {
    /// Starts all servers and waits until every sentinel knows the replica and the other sentinels. `lines` are further
    /// lines of the sentinels' settings.
    pub(crate) fn start(sentinels: usize, lines: &str) -> Self {
        let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port().to_string();
        let replica =
            RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        let mut replica_client = replica.client();
        eventually(FAILOVER_TIMEOUT, || {
            let info: String = cmd("INFO").arg("replication").query(&mut replica_client).unwrap();
            info.contains("master_link_status:up").then_some(())
        });
        let quorum = sentinels / 2 + 1;
        let settings = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} {quorum}\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n\
             {lines}\n"
        );
        let sentinels: Vec<_> =
            (0..sentinels).map(|_| run_as_sentinel(RedisServer::reserve(&[]), &settings)).collect();
        let watched = Self { servers: [master, replica], sentinels };
        let others = (watched.sentinels.len() - 1).to_string();
        for sentinel in &watched.sentinels {
            let mut client = sentinel.client();
            eventually_eq(FAILOVER_TIMEOUT, &["1".to_owned(), others.clone()], || {
                ["num-slaves", "num-other-sentinels"].map(|name| property(&mut client, name))
            });
        }
        watched
    }

    /// The part of the URL after the scheme and the credentials.
    pub(crate) fn hosts(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("{}/{MASTER}", hosts.join(","))
    }

    /// Waits until the first sentinel reports the second server as master.
    #[track_caller]
    pub(crate) fn wait_failed_over(&self) {
        let mut client = self.sentinels[0].client();
        eventually_eq(FAILOVER_TIMEOUT, &self.servers[1].port(), || {
            let (_, port): (String, u16) =
                cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER).query(&mut client).unwrap();
            port
        });
    }
}

/// Starts a reserved server as a sentinel with these settings.
pub(crate) fn run_as_sentinel(reserved: RedisServer, settings: &str) -> RedisServer {
    // A sentinel writes its state into this file.
    let mut sentinel = reserved.with_settings_file("--sentinel");
    fs::write(sentinel.file("redis.conf"), settings).unwrap();
    sentinel.restart();
    sentinel
}

fn property(client: &mut Connection, name: &str) -> String {
    let properties: Value = cmd("SENTINEL").arg("MASTER").arg(MASTER).query(client).unwrap();
    let properties: Vec<String> = redis::from_redis_value(properties).unwrap();
    let at = properties.iter().position(|property| property == name).unwrap();
    properties[at + 1].clone()
}
