//! Sharded channels on a real node of a cluster.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{IntoConnectionInfo as _, cmd};
use tempfile::TempDir;

use super::super::connect;
use super::{FENCE, SubscribeKind, names, next, run};

const START_DEADLINE: Duration = Duration::from_secs(10);

/// A node that owns all slots of its cluster. Killed on drop.
struct ClusterNode {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl ClusterNode {
    fn start() -> Self {
        // The port of the cluster's bus is 10000 above.
        let free = |port| TcpListener::bind(("127.0.0.1", port)).ok();
        let port = (20_000..50_000).step_by(7).map(|port| port + rand::random::<u16>() % 7);
        let port =
            port.into_iter().find(|port| free(*port).is_some() && free(port + 10_000).is_some()).unwrap();
        let dir = TempDir::new().unwrap();
        let arguments = ["--cluster-enabled", "yes", "--save", "", "--bind", "127.0.0.1", "--port"];
        // As the integration tests do.
        let program = std::env::var("GATEWAY_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let mut command = Command::new(program);
        command.args(arguments).arg(port.to_string()).current_dir(dir.path());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let node = Self { child, port, _dir: dir };
        let started = Instant::now();
        while node.client().is_none() {
            assert!(started.elapsed() < START_DEADLINE, "the node does not answer");
            std::thread::yield_now();
        }
        node.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        while !node.call(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(started.elapsed() < START_DEADLINE, "the cluster is not up");
            std::thread::yield_now();
        }
        node
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn client(&self) -> Option<redis::Connection> {
        redis::Client::open(self.url()).unwrap().get_connection().ok()
    }

    fn call(&self, words: &[&str]) -> String {
        let answer: redis::Value = cmd(words[0]).arg(&words[1..]).query(&mut self.client().unwrap()).unwrap();
        format!("{answer:?}")
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn sharded_channels_of_many_slots_are_followed_until_their_slot_leaves() {
    let node = ClusterNode::start();
    let info = node.url().as_str().into_connection_info().unwrap();
    let channels = (SubscribeKind::Sharded, FENCE);
    let (mut subscriptions, mut messages) =
        connect(&info, None, channels, Duration::from_secs(2)).await.unwrap();

    let rooms = names(512);
    let confirmed = run(&mut messages, subscriptions.subscribe(&rooms)).await.unwrap();
    assert_eq!(confirmed.refused, []);
    assert_eq!(node.call(&["SPUBLISH", &rooms[300], "hello"]), "int(1)");
    assert_eq!(next(&mut messages).await.as_deref(), Ok("gateway:room:300 hello"));

    let slot = node.call(&["CLUSTER", "KEYSLOT", &rooms[7]]).replace("int(", "").replace(')', "");
    node.call(&["CLUSTER", "DELSLOTS", &slot]);
    assert_eq!(next(&mut messages).await.as_deref(), Ok("gateway:room:7 has left"));
    node.call(&["CLUSTER", "ADDSLOTS", &slot]);
    run(&mut messages, subscriptions.unsubscribe(&rooms)).await.unwrap();
    assert_eq!(node.call(&["SPUBLISH", &rooms[300], "nobody"]), "int(0)");
}
