//! The workers of docs/inbox.md process each message once, although one of them is killed again and again.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::*;
use crate::deployments::acl::{set_user, user_of_page};
use crate::snippets::{node, program_of, set_up};
use crate::support::deadline::eventually;
use crate::support::redis_line::query_line;

const PAGE: &str = include_str!("../../../docs/inbox.md");
const USERS: usize = 3;
/// The messages that are sent at once.
const BURST: usize = 30;
const KILLS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(60);
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/python");
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/node_modules");

/// A running worker, which connects as the documented user. Dropping it kills it.
struct Worker(Child);

impl Worker {
    fn start(redis: &RedisServer, command: [&str; 2], title: &str, store: &Path) -> Self {
        let url = redis.url().replace("://", "://inbox-worker:change-this-password@");
        let mut worker = Command::new(command[0]);
        worker.args([command[1], program_of(PAGE, title)]).env("REDIS_URL", url).env("NODE_PATH", PACKAGES);
        Self(worker.env("STORE", store).env("MIN_IDLE_MS", "300").spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends messages while two workers run, of which one is killed in the middle several times. Returns the number of
/// messages.
fn run_workers(command: [&str; 2], title: &str, store: &Path) -> usize {
    let (redis, _gateway) = redis_with_functions();
    let mut backend = redis.client();
    set_user(&mut backend, &user_of_page(PAGE, "inbox-worker"));
    let _steady = Worker::start(&redis, command, title, store);
    let mut sent = 0;
    for _ in 0..KILLS {
        let killed = Worker::start(&redis, command, title, store);
        let name = format!("worker-{}", killed.0.id());
        // The worker has read messages that it has not finished.
        eventually(DEADLINE, || {
            if len(&mut backend) < BURST / 2 {
                for number in sent..sent + BURST {
                    let (user, id) = ((number % USERS).to_string(), format!("c{number}"));
                    fcall::<String>(&mut backend, &user, &id, "1").unwrap();
                }
                sent += BURST;
            }
            (unfinished(&mut backend, &name) > 0).then_some(())
        });
    }
    eventually_eq(DEADLINE, &0, || len(&mut backend));
    let (pending, ..): (usize, redis::Value, redis::Value, redis::Value) =
        run_line(&mut backend, "XPENDING gateway:inbox backend");
    assert_eq!(pending, 0);
    sent
}

/// How many entries a worker has read and not acknowledged. Before a worker has created the group, there are none.
fn unfinished(redis: &mut Connection, worker: &str) -> usize {
    let command = format!("XPENDING {STREAM} backend - + 1000 {worker}");
    query_line::<Vec<redis::Value>>(redis, &command).map_or(0, |entries| entries.len())
}

#[test]
fn the_python_workers_process_each_message_once() {
    set_up();
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.sqlite");
    let sent = run_workers([PYTHON, "-c"], "Worker in Python", &store);
    let count = "import os, sqlite3\n\
        for row in sqlite3.connect(os.environ['STORE']).execute('SELECT user, messages FROM senders'): print(*row)";
    let output = Command::new(PYTHON).args(["-c", count]).env("STORE", &store).output().unwrap();
    let mut counts: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    counts.sort_unstable();
    let each = sent / USERS;
    assert_eq!(counts, (0..USERS).map(|user| format!("{user} {each}")).collect::<Vec<_>>());
}

#[test]
fn the_node_workers_process_each_message_once() {
    set_up();
    let store = tempfile::tempdir().unwrap();
    let sent = run_workers([node(), "-e"], "Worker in Node", store.path());
    let mut saved: Vec<String> = Vec::new();
    for file in std::fs::read_dir(store.path()).unwrap().map(Result::unwrap) {
        if file.path().extension().is_some_and(|extension| extension == "json") {
            let fields: HashMap<String, String> =
                serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            saved.push(fields["id"].clone());
        }
    }
    saved.sort_unstable();
    let mut all: Vec<String> = (0..sent).map(|number| format!("c{number}")).collect();
    all.sort_unstable();
    assert_eq!(saved, all);
}
