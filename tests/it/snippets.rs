//! The programs of docs/publishing.md do what the page says, against a real gateway and a real Redis.

use std::process::Command;
use std::sync::Once;

use crate::support::client::Client;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

#[path = "../../examples/publish.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is a program; only its main part is called")]
mod publish;

const PAGE: &str = include_str!("../../docs/publishing.md");
const KEY: &str = "the-key-of-the-admin-api";

/// The one program in the section of this title.
#[track_caller]
fn program(title: &str) -> &'static str {
    let section = PAGE.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let programs: Vec<_> = section.split("\n```").skip(1).step_by(2).collect();
    assert_eq!(programs.len(), 1, "{title}");
    programs[0].split_once('\n').unwrap().1
}

/// Python with its packages, in a folder of the build's own.
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup");
        assert!(Command::new(script).arg("snippets").status().unwrap().success());
    });
}

/// In the order in which they go.
struct Stage {
    client: Client,
    gateway: TestGateway,
    redis: RedisServer,
}

impl Stage {
    fn set() -> Self {
        let redis = RedisServer::start();
        let gateway = TestGateway::redis(&redis).with("admin.api_key", KEY).spawn();
        gateway.wait_ready();
        let mut client = gateway.connect_v2();
        client.identify("42");
        client.ready();
        Self { redis, gateway, client }
    }

    /// Runs a program; returns what it printed.
    #[track_caller]
    fn run(&self, command: &[&str], program: &str) -> String {
        let output = Command::new(command[0])
            .args(&command[1..])
            .arg(program)
            .env("REDIS_URL", self.redis.url())
            .env("GATEWAY_URL", format!("http://{}", self.gateway.admin))
            .env("GATEWAY_KEY", KEY)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out.into_owned()
    }

    /// Three messages and not four came, and the positions are those that were printed.
    #[track_caller]
    fn assert_published(mut self, printed: Option<&str>) {
        for way in ["plain", "durable", "once"] {
            let frame = self.client.next_json();
            assert_eq!(frame["message"]["way"], way, "{frame}");
            let position = frame.get("position").map(|position| position.as_str().unwrap());
            assert_eq!(position.is_some(), way != "plain", "{frame}");
            if let (Some(position), Some(printed)) = (position, printed) {
                let times = if way == "once" { 2 } else { 1 };
                assert_eq!(printed.matches(position).count(), times, "{printed}");
            }
        }
        redis::cmd("PUBLISH").arg("gateway:all").arg("1").exec(&mut self.redis.client()).unwrap();
        assert_eq!(self.client.next_json()["channel"], "all", "nothing came twice");
    }
}

#[test]
fn the_shell_publishes_over_redis_and_over_http() {
    set_up();
    for title in ["Shell, over Redis", "Shell, over HTTP"] {
        let stage = Stage::set();
        let printed = stage.run(&["bash", "-euc"], program(title));
        stage.assert_published(Some(&printed));
    }
}

#[test]
fn python_publishes() {
    set_up();
    let stage = Stage::set();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/python");
    let printed = stage.run(&[python, "-c"], program("Python"));
    stage.assert_published(Some(&printed));
}

#[test]
fn node_publishes() {
    set_up();
    let stage = Stage::set();
    // Where the system's is too old, scripts/setup has put one there.
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/node/bin/node");
    let node = if std::path::Path::new(own).exists() { own } else { "node" };
    let printed = stage.run(&[node, "-e"], program("Node"));
    stage.assert_published(Some(&printed));
}

#[test]
fn rust_publishes() {
    let example = include_str!("../../examples/publish.rs").replace("pub(crate) fn", "fn");
    assert!(example.contains(program("Rust")), "examples/publish.rs is not what docs/publishing.md shows");
    let stage = Stage::set();
    publish::publish(&stage.redis.url()).unwrap();
    stage.assert_published(None);
}
