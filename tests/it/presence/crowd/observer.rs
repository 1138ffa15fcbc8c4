//! Watches Redis while a crowd comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::RedisResult;
use serde_json::Value;

use super::kind::Kind;
use super::oracle::Edge;
use crate::support::fault_proxy::hold;
use crate::support::redis_server::RedisServer;

/// What was seen since the data of Redis began.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    pub(super) negative_counts: Vec<String>,
    pub(super) leases: BTreeSet<String>,
    /// Leases that were removed before they lapsed.
    pub(super) early_burials: Vec<String>,
    /// The edges that each listener heard while it was connected.
    pub(super) heard: Vec<Vec<Edge>>,
    /// Whether the first listener was connected before the first edge.
    pub(super) heard_from_start: bool,
}

/// Reads counts and leases all the time, and listens to the published edges.
pub(super) struct Observer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    kind: &'static Kind,
    url: String,
    observed: Mutex<Observed>,
    is_stopped: AtomicBool,
}

impl Observer {
    /// Starts to watch, before the first replica starts.
    pub(super) fn start(kind: &'static Kind, redis: &RedisServer) -> Self {
        let observed = Mutex::new(Observed { heard_from_start: true, ..Observed::default() });
        let shared =
            Arc::new(Shared { kind, url: redis.url(), observed, is_stopped: AtomicBool::new(false) });
        let (counts, edges) = (Arc::clone(&shared), Arc::clone(&shared));
        let mut threads = vec![thread::spawn(move || counts.repeat(Shared::read_counts))];
        if kind.published.is_some() {
            threads.push(thread::spawn(move || edges.repeat(Shared::listen)));
            crate::support::deadline::eventually(crate::support::process::SOON, || {
                (!shared.observed.lock().unwrap().heard.is_empty()).then_some(())
            });
        }
        Self { shared, threads }
    }

    /// What was seen so far.
    pub(super) fn observed(&self) -> Observed {
        self.shared.observed.lock().unwrap().clone()
    }

    /// Redis has lost its data.
    pub(super) fn begin_again(&self) {
        *self.shared.observed.lock().unwrap() = Observed::default();
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Repeats `watch`, which ends while Redis is down.
    fn repeat(&self, watch: fn(&Self) -> RedisResult<()>) {
        while !self.is_stopped.load(Ordering::SeqCst) {
            let _ = watch(self);
            hold(Duration::from_millis(5));
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test's own connection may block")]
    fn connect(&self) -> RedisResult<redis::Connection> {
        redis::Client::open(&*self.url)?.get_connection()
    }

    fn read_counts(&self) -> RedisResult<()> {
        let mut backend = self.connect()?;
        let mut before = BTreeMap::<String, u64>::new();
        while !self.is_stopped.load(Ordering::SeqCst) {
            let counts: BTreeMap<String, i64> =
                redis::cmd("HGETALL").arg(self.kind.counts).query(&mut backend)?;
            let leases = read_leases(&mut backend)?;
            let processes: Vec<String> = redis::cmd("ZRANGE")
                .arg("gateway:{presence}:processes")
                .arg(&["0", "-1"])
                .query(&mut backend)?;
            let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut backend)?;
            let now = seconds * 1_000 + micros / 1_000;
            let mut observed = self.observed.lock().unwrap();
            let early =
                before.iter().filter(|(lease, lapses)| **lapses > now && is_gone(lease, &leases, &processes));
            observed.early_burials.extend(early.map(|(lease, lapses)| format!("{lease}: {lapses} > {now}")));
            observed.leases.extend(leases.keys().cloned());
            before = leases;
            let negative = counts.iter().filter(|(_, count)| **count < 0);
            observed.negative_counts.extend(negative.map(|(name, count)| format!("{name}: {count}")));
            drop(observed);
            hold(Duration::from_millis(10));
        }
        Ok(())
    }

    fn listen(&self) -> RedisResult<()> {
        let Some(prefix) = self.kind.published else { return Ok(()) };
        let mut connection = self.connect()?;
        connection.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut listener = connection.as_pubsub();
        listener.psubscribe(format!("{prefix}*"))?;
        self.observed.lock().unwrap().heard.push(Vec::new());
        while !self.is_stopped.load(Ordering::SeqCst) {
            let message = match listener.get_message() {
                Err(error) if error.is_timeout() => continue,
                message => message?,
            };
            let edge: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
            let name = message.get_channel_name().strip_prefix(prefix).unwrap().to_owned();
            let begins = edge["online"].as_bool().unwrap();
            let edge = Edge { name, begins, at: edge["at"].as_u64().unwrap() };
            self.observed.lock().unwrap().heard.last_mut().unwrap().push(edge);
        }
        Ok(())
    }
}

/// Each lease and when it lapses, in Unix milliseconds.
fn read_leases(backend: &mut redis::Connection) -> RedisResult<BTreeMap<String, u64>> {
    redis::cmd("ZRANGE").arg("gateway:{presence}:replicas").arg(&["0", "-1", "WITHSCORES"]).query(backend)
}

/// Whether a lease was removed although its process has no later one, under which it could have given this one up. A
/// process that has ended properly gives up its lease, too, and is none of `processes`.
fn is_gone(lease: &str, leases: &BTreeMap<String, u64>, processes: &[String]) -> bool {
    let process = |lease: &str| lease.rsplit_once('-').map(|(process, _)| process.to_owned());
    let has_ended = process(lease).is_none_or(|process| !processes.contains(&process));
    !has_ended && !leases.keys().any(|other| other == lease || process(other) == process(lease))
}
