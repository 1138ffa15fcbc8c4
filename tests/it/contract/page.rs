//! Plays the conversations of `docs/protocol.md` with a real gateway and compares every frame.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::client::{Client, Version};
use crate::support::contract::Contract;
use crate::support::gateway::TestGateway;
use crate::support::redis_server::RedisServer;

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The fields with a different value in each run.
const VOLATILE: [&str; 6] = ["session", "position", "expires_in", "heartbeat_interval", "after", "time"];

/// A conversation of the page. The fields are in the order in which they are dropped.
struct Conversation {
    client: Option<Client>,
    /// The client of another user.
    other: Option<Client>,
    gateway: TestGateway,
    redis: RedisServer,
    version: Version,
    /// The positions and session ids of the page, and the actual ones.
    actual: BTreeMap<String, String>,
    seen: BTreeSet<(&'static str, &'static str)>,
}

impl Conversation {
    fn new(version: Version) -> Self {
        let redis = RedisServer::start();
        let gateway = TestGateway::redis(&redis)
            .with("auth.kind", "jwt")
            .with("auth.secret", "0123456789abcdef0123456789abcdef")
            .with("session.heartbeat_interval", "300ms")
            .with("session.messages_per_minute", "120")
            .with("limits.subscriptions_per_session", "100")
            .with("drain.delay", "0s")
            .with("presence.enabled", "true")
            .with("namespaces.team.presence", "members")
            .with("namespaces.room.send", "true")
            .with("namespaces.room.signals", "true")
            .with("namespaces.room.max_last", "50")
            .spawn();
        gateway.wait_ready();
        Self {
            redis,
            gateway,
            client: None,
            other: None,
            version,
            actual: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    #[track_caller]
    fn check(&mut self, v1: &'static str, v2: &'static str, frame: &str) {
        let operation = if self.version == Version::V1 { v1 } else { v2 };
        let found = Contract::get().matching(operation, &serde_json::from_str(frame).unwrap());
        assert_eq!(found.len(), 1, "{operation}: {frame}");
        self.seen.insert((operation, found[0]));
    }

    /// Plays one line of the page, or several frames that may arrive in any order.
    #[track_caller]
    fn play_lines(&mut self, lines: &[&str]) {
        let (actor, text) = lines[0].split_once(' ').unwrap();
        let text = text.trim_start();
        match actor {
            "backend" => self.run_command(text),
            "redis" => {}
            "client" => self.send_documented(text),
            "other" => self.send_from_other(text),
            "server" if text.starts_with("Close ") => {
                let code = text.trim_start_matches("Close ").parse().unwrap();
                self.client.as_mut().unwrap().expect_close(code);
            }
            "server" => self.expect_documented(lines),
            _ if lines[0] == "(the link to Redis is lost for a moment)" => {
                redis::cmd("CLIENT")
                    .arg("KILL")
                    .arg("TYPE")
                    .arg("pubsub")
                    .exec(&mut self.redis.client())
                    .unwrap();
            }
            _ if lines[0] == "(the replica starts to drain)" => self.gateway.terminate(),
            _ => panic!("unknown line {:?}", lines[0]),
        }
    }

    /// Runs a command of the page; the text after the channel's name is the payload.
    #[track_caller]
    fn run_command(&mut self, command: &str) {
        let count = if command.starts_with("FCALL") { 5 } else { 3 };
        let mut words = command.splitn(count, ' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        let answer: redis::Value = command.query(&mut self.redis.client()).unwrap();
        if let redis::Value::BulkString(position) = answer {
            self.actual.insert("latest".to_owned(), String::from_utf8(position).unwrap());
        }
    }

    #[track_caller]
    fn send_documented(&mut self, frame: &str) {
        let token = self.gateway.token(&["--user", "42", "--channel", "room:*", "--channel", "team:*"]);
        let mut frame = self
            .actual
            .iter()
            .fold(frame.to_owned(), |text, (documented, actual)| text.replace(documented, actual));
        if let Some((before, after)) = frame.split_once("\"token\":\"") {
            let (shown, after) = after.split_once('"').unwrap();
            let beginning = shown.trim_end_matches('…');
            assert!(beginning.len() < shown.len() && token.starts_with(beginning), "{token}");
            frame = format!("{before}\"token\":\"{token}\"{after}");
        }
        self.check("receiveV1", "receiveV2", &frame);
        self.other = None;
        self.client.as_mut().unwrap().send_text(&frame);
    }

    /// Sends a frame from a client of another user, which is subscribed to room:7.
    #[track_caller]
    fn send_from_other(&mut self, frame: &str) {
        let token = self.gateway.token(&["--user", "43", "--channel", "room:*"]);
        let mut other = Client::connect(self.gateway.public, self.version);
        other.send_text(&format!(r#"{{"op":1,"token":"{token}","channels":[{{"channel":"room:7"}}]}}"#));
        other.expect_ready();
        self.check("receiveV1", "receiveV2", frame);
        other.send_text(frame);
        self.other = Some(other);
    }

    #[track_caller]
    fn expect_documented(&mut self, lines: &[&str]) {
        let client = self.client.get_or_insert_with(|| {
            let path = if self.version == Version::V1 { "/" } else { "/?v=2" };
            Client::try_connect(self.gateway.public, path, self.version).unwrap()
        });
        let mut frames: Vec<String> = lines
            .iter()
            .map(|line| match line.contains("{\"op\":10,") {
                true => format!(r#"{{"op":10,"time":{}}}"#, client.expect_heartbeat()),
                false => client.next_frame(),
            })
            .collect();
        frames.sort();
        for (frame, line) in frames.iter().zip(lines) {
            self.check("sendV1", "sendV2", frame);
            let shown = line.split_once(' ').unwrap().1.trim_start();
            assert_eq!(self.with_documented_values(frame, shown), shown);
        }
    }

    /// Replaces the volatile values of a frame by those of the page. A value that the page has used before must be the
    /// same.
    #[track_caller]
    fn with_documented_values(&mut self, frame: &str, shown: &str) -> String {
        let (mut actual, mut documented) = (Vec::new(), Vec::new());
        volatile(&serde_json::from_str(frame).unwrap(), &mut actual);
        volatile(&serde_json::from_str(shown).unwrap(), &mut documented);
        let mut text = frame.to_owned();
        for ((name, actual), (_, documented)) in actual.into_iter().zip(documented) {
            // The answer to a heartbeat must echo the time that the page's client has sent.
            if name == "time" && text.starts_with("{\"op\":11") {
                continue;
            }
            if actual.is_string() {
                let (actual, documented) =
                    (actual.as_str().unwrap().to_owned(), documented.as_str().unwrap().to_owned());
                let known = self.actual.entry(documented).or_insert_with(|| actual.clone());
                assert_eq!(*known, actual, "received {frame}, the page has {shown}");
            }
            text = text.replacen(&format!("\"{name}\":{actual}"), &format!("\"{name}\":{documented}"), 1);
        }
        text
    }

    /// Plays the conversation with this title, which must contain every message of these operations.
    #[track_caller]
    fn play(mut self, title: &str, operations: [&'static str; 2]) -> Self {
        let section = PAGE.split(&format!("\n### {title}\n")).nth(1).unwrap();
        let block = section.split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
        let lines: Vec<_> = block.lines().collect();
        // Gaps arrive in any order; the page has them sorted.
        let runs = lines.chunk_by(|one, other| [one, other].iter().all(|line| line.contains("{\"op\":8,")));
        for run in runs {
            if let Some(position) = run[0].strip_prefix("redis    ") {
                let actual = self.actual.remove("latest").unwrap();
                self.actual.insert(position.trim_matches('"').to_owned(), actual);
            }
            self.play_lines(run);
        }
        let all = operations.into_iter().flat_map(|operation| {
            Contract::get().messages(operation).into_iter().map(move |name| (operation, name))
        });
        assert_eq!(self.seen, all.collect(), "the page must contain every frame");
        self
    }
}

/// Collects the volatile fields of a frame in order.
fn volatile(frame: &Value, found: &mut Vec<(String, Value)>) {
    for (name, value) in frame.as_object().into_iter().flatten() {
        if VOLATILE.contains(&name.as_str()) {
            found.push((name.clone(), value.clone()));
        }
        let inner = std::slice::from_ref(value);
        value.as_array().map_or(inner, Vec::as_slice).iter().for_each(|one| volatile(one, found));
    }
}

#[test]
fn the_documented_version_1_conversation_is_exact() {
    Conversation::new(Version::V1).play("A version 1 conversation", ["sendV1", "receiveV1"]);
}

#[test]
fn the_documented_version_2_conversation_is_exact() {
    let mut ended = Conversation::new(Version::V2).play("A version 2 conversation", ["sendV2", "receiveV2"]);
    assert_eq!(ended.gateway.wait_exit().code, Some(0));
}
