//! Nodes of a cluster for one test.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, Value};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::super::super::{HistoryOptions, PresenceOptions};
use super::super::cluster::slot::Slot;
use super::super::function;
use super::super::names::{Layout, Names};
use super::super::options::RedisOptions;

const DEADLINE: Duration = Duration::from_secs(10);

/// A master of a cluster with the function library, and a connection to it.
pub(super) struct Node {
    child: Child,
    _folder: TempDir,
    pub(super) port: u16,
    bus_port: u16,
    pub(super) options: RedisOptions,
    pub(super) commands: MultiplexedConnection,
}

impl Node {
    /// A cluster of one node, which has all slots.
    pub(super) async fn start() -> Self {
        let mut node = Self::start_empty().await;
        node.take_slots(0, 16_383).await;
        node.wait_until_serving().await;
        node
    }

    /// Two nodes, each with half of the slots.
    pub(super) async fn start_two() -> (Self, Self) {
        let (mut first, mut second) = tokio::join!(Self::start_empty(), Self::start_empty());
        first.take_slots(0, 8_191).await;
        second.take_slots(8_192, 16_383).await;
        // Two new nodes have the same epoch. Their slots do not overlap.
        let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", second.port, second.bus_port);
        first.run::<()>(&meet).await.unwrap();
        tokio::join!(first.wait_until_serving(), second.wait_until_serving());
        (first, second)
    }

    async fn start_empty() -> Self {
        let folder = TempDir::new().unwrap();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (listener, bus) = (free(), free());
        let (port, bus_port) = (listener.local_addr().unwrap().port(), bus.local_addr().unwrap().port());
        drop((listener, bus));
        let child = Command::new(
            std::env::var("GATEWAY_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into()),
        )
        .args(["--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes", "--port"])
        .args([&port.to_string(), "--cluster-port", &bus_port.to_string()])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
        let presence = PresenceOptions {
            grace: Duration::from_secs(5),
            max_edges: 100,
            max_members: 100,
            namespaces: Arc::default(),
        };
        let options = RedisOptions {
            layout: Layout::Slots,
            history: HistoryOptions::of_size(100),
            presence: Some(presence),
            ..RedisOptions::of_url(&format!("redis://127.0.0.1:{port}"))
        };
        let commands = connect(&options.url).await;
        let mut node = Self { child, _folder: folder, port, bus_port, options, commands };
        node.load(function::code(Layout::Slots)).await;
        node
    }

    pub(super) async fn load(&mut self, code: &str) {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(code).exec_async(&mut self.commands).await.unwrap();
    }

    /// Removes all data and what the library remembers.
    pub(super) async fn renew(&mut self) {
        self.run::<()>("FLUSHALL").await.unwrap();
        self.load(function::code(Layout::Slots)).await;
    }

    async fn take_slots(&mut self, first: u16, last: u16) {
        self.run::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await.unwrap();
    }

    async fn wait_until_serving(&mut self) {
        let end = Instant::now() + DEADLINE;
        loop {
            let info: String = self.run("CLUSTER INFO").await.unwrap();
            if info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") {
                return;
            }
            assert!(Instant::now() < end, "{info}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Runs a command, whose words are separated by spaces.
    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &str) -> Result<T, RedisError> {
        self.run_words(&command.split(' ').collect::<Vec<_>>()).await
    }

    pub(super) async fn run_words<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, RedisError> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.commands).await
    }

    /// Publishes durably on channels, as a backend does.
    pub(super) async fn publish<T: FromRedisValue>(
        &mut self,
        channels: &[&str],
        args: &[&str],
    ) -> Result<T, RedisError> {
        let mut call = redis::cmd("FCALL");
        call.arg("gateway_publish").arg(channels.len());
        channels.iter().for_each(|channel| {
            call.arg(self.options.names().channel(channel));
        });
        call.arg(args).query_async(&mut self.commands).await
    }

    /// Calls a function on one key.
    pub(super) async fn call<T: FromRedisValue>(
        &mut self,
        function: &str,
        key: &str,
        args: &[&str],
    ) -> Result<T, RedisError> {
        let mut words = vec!["FCALL", function, "1", key];
        words.extend(args);
        self.run_words(&words).await
    }

    pub(super) async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.run("KEYS *").await.unwrap();
        keys.sort();
        keys
    }

    pub(super) async fn id(&mut self) -> String {
        self.run("CLUSTER MYID").await.unwrap()
    }

    pub(super) fn names(&self) -> Names<'_> {
        self.options.names()
    }

    /// Moves the keys of a slot, and then the slot, to `target`.
    pub(super) async fn move_slot(&mut self, slot: Slot, target: &mut Self) {
        self.begin_move(slot, target).await;
        self.move_keys(slot, target).await;
        let command = format!("CLUSTER SETSLOT {slot} NODE {}", target.id().await);
        target.run::<()>(&command).await.unwrap();
        self.run::<()>(&command).await.unwrap();
    }

    pub(super) async fn begin_move(&mut self, slot: Slot, target: &mut Self) {
        let import = format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id().await);
        target.run::<()>(&import).await.unwrap();
        let migrate = format!("CLUSTER SETSLOT {slot} MIGRATING {}", target.id().await);
        self.run::<()>(&migrate).await.unwrap();
    }

    async fn move_keys(&mut self, slot: Slot, target: &Self) {
        let keys: Vec<String> = self.run(&format!("CLUSTER GETKEYSINSLOT {slot} 100")).await.unwrap();
        for key in keys {
            self.move_key(&key, target).await;
        }
    }

    pub(super) async fn move_key(&mut self, key: &str, target: &Self) {
        let port = target.port.to_string();
        let moved: Value = self.run_words(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await.unwrap();
        assert_eq!(moved, Value::Okay, "{key}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new connection, once the server answers.
async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let end = Instant::now() + DEADLINE;
    loop {
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(commands) => break commands,
            Err(error) if Instant::now() > end => panic!("redis-server did not start: {error}"),
            Err(_) => sleep(Duration::from_millis(2)).await,
        }
    }
}
