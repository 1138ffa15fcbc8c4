//! The worker of docs/presence.md sends each message for push once, and takes over what another worker left.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::deployments::acl::{set_user, user_of_page};
use crate::snippets::{program_of, set_up};
use crate::support::process::SOON;
use crate::support::redis_line::run_line;

const PAGE: &str = include_str!("../../../docs/presence.md");
const STREAM: &str = "gateway:{presence}:offline";

/// A running worker, which connects as the documented user. Dropping it ends it.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(redis: &RedisServer) -> Self {
        let url = redis.url().replace("://", "://push-worker:change-this-password@");
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/snippets/bin/python");
        let mut command = Command::new(python);
        command.args(["-c", program_of(PAGE, "Or push")]).env("REDIS_URL", url).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    #[track_caller]
    fn expect(&self, line: &str) {
        assert_eq!(self.lines.recv_timeout(SOON).unwrap(), line);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes a message with push. Returns the line that the worker prints for it.
fn publish(backend: &mut Connection, user: &str, message: &str) -> String {
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_publish").arg(1).arg(format!("gateway:user:{user}")).arg(message).arg("").arg("push");
    let position: String = call.query(backend).unwrap();
    format!("push to {user} {message} {position}")
}

#[test]
fn the_documented_worker_sends_each_message_once() {
    set_up();
    let redis = RedisServer::start();
    let mut backend = redis.client();
    set_user(&mut backend, &user_of_page(PAGE, "push-worker"));
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let _client = gateway.ready_client("42");
    wait_online(&mut backend, "42", Some(1));
    // Another worker read this one a minute ago and died.
    let left = publish(&mut backend, "43", "0");
    run_line::<()>(&mut backend, &format!("XGROUP CREATE {STREAM} push 0"));
    run_line::<redis::Value>(&mut backend, &format!("XREADGROUP GROUP push dead STREAMS {STREAM} >"));
    let entries: Vec<(String, redis::Value)> = run_line(&mut backend, &format!("XRANGE {STREAM} - +"));
    let id = &entries[0].0;
    run_line::<redis::Value>(&mut backend, &format!("XCLAIM {STREAM} push dead 0 {id} IDLE 60001 JUSTID"));
    let waiting = publish(&mut backend, "44", "1");
    let worker = Worker::start(&redis);
    worker.expect(&left);
    worker.expect(&waiting);
    publish(&mut backend, "42", "2");
    let later = publish(&mut backend, "43", "3");
    worker.expect(&later);
    eventually_eq(SOON, &0, || run_line::<usize>(&mut backend, &format!("XLEN {STREAM}")));
    // Started again, it has nothing to repeat.
    drop(worker);
    let worker = Worker::start(&redis);
    let last = publish(&mut backend, "43", "4");
    worker.expect(&last);
}
