//! Control over a real Redis: commands reach every replica, and the outcome names the replicas that answered.
//!
//! - `brokers`: what both brokers guarantee, and several replicas on one Redis.
//! - `cut_off`: replicas that are cut off, die or lose Redis.
//! - `function`: what backends may call.
//! - `questions`: `sessions`, which is not kept.
//! - `gateway`: what commands do to sessions, the admin port and the command line.
//! - `revocations`: how long they are kept, and which replicas know them.

mod brokers;
mod cut_off;
mod function;
mod gateway;
mod questions;
mod revocations;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use emagine_gateway::broker::redis::{Credentials, Layout, ReadyWith, RedisOptions, TlsFiles};
use emagine_gateway::broker::{
    Broker, ControlAnswer, ControlCommand, ControlError, ControlHandler, ControlOutcome, HistoryOptions,
    PresenceOptions,
};
use emagine_gateway::metrics::{ControlResult, Metrics};
use redis::{Connection, RedisResult, cmd};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::support::deadline::eventually_eq;
use crate::support::process::SOON;
use crate::support::redis_line::run_line;

/// The deadline of a command whose answers all arrive.
const DEADLINE: Duration = Duration::from_secs(5);

/// A handler with sessions that were opened at some times. It affects all of them that are old enough.
#[derive(Default)]
struct Stub {
    opened: Mutex<Vec<Instant>>,
    applied: Mutex<Vec<(ControlCommand, usize)>>,
    /// Whether a command for the user `held` waits.
    is_holding: watch::Sender<bool>,
}

impl ControlHandler for Stub {
    fn apply(
        &self,
        command: ControlCommand,
        issued: Instant,
    ) -> Pin<Box<dyn Future<Output = ControlAnswer> + Send + '_>> {
        let text = serde_json::to_string(&command).unwrap();
        assert!(!text.contains("panic"), "the test wants this handler to panic");
        let opened = self.opened.lock().unwrap();
        let affected = opened.iter().filter(|opened| **opened <= issued).count();
        self.applied.lock().unwrap().push((command, affected));
        let detail = Some(RawValue::from_string("[1]".into()).unwrap());
        let mut is_holding = self.is_holding.subscribe();
        Box::pin(async move {
            if text.contains("held") {
                is_holding.wait_for(|is_holding| !is_holding).await.unwrap();
            }
            ControlAnswer { affected, detail }
        })
    }
}

/// A broker with a stub of its sessions.
struct Replica {
    broker: Broker,
    stub: Arc<Stub>,
    metrics: Metrics,
}

impl Replica {
    fn memory() -> Self {
        let metrics = Metrics::default();
        Self::with(
            Broker::memory(1_000, HistoryOptions::of_size(10), None, Duration::from_secs(60), &metrics),
            metrics,
        )
    }

    /// A replica over Redis. Waits until it is ready.
    fn redis(url: &str, has_presence: bool) -> Self {
        let replica = Self::started(options(url, has_presence));
        replica.wait_ready();
        eventually_eq(SOON, &i64::from(has_presence), || replica.metrics.presence_lease.get());
        replica
    }

    fn started(options: RedisOptions) -> Self {
        let metrics = Metrics::default();
        Self::with(Broker::redis(options, &metrics).unwrap(), metrics)
    }

    fn with(broker: Broker, metrics: Metrics) -> Self {
        let stub = Arc::new(Stub::default());
        broker.set_control_handler(Arc::clone(&stub) as Arc<dyn ControlHandler>);
        Self { broker, stub, metrics }
    }

    #[track_caller]
    fn wait_ready(&self) {
        eventually_eq(SOON, &(true, Vec::new()), || {
            let health = self.broker.health();
            (health.is_ready, health.reasons)
        });
    }

    fn name(&self) -> String {
        self.broker.replica().to_owned()
    }

    fn open_session(&self) {
        self.stub.opened.lock().unwrap().push(Instant::now());
    }

    fn control(&self, text: &str, deadline: Duration) -> Result<ControlOutcome, ControlError> {
        let command: ControlCommand = serde_json::from_str(text).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.broker.control(&command, deadline))
    }

    /// The commands that were applied, as JSON, each with the number of affected sessions.
    fn applied(&self) -> Vec<(String, usize)> {
        let applied = self.stub.applied.lock().unwrap();
        applied.iter().map(|(command, count)| (serde_json::to_string(command).unwrap(), *count)).collect()
    }

    #[track_caller]
    fn wait_applied(&self, expected: &[(&str, usize)]) {
        let expected: Vec<_> = expected.iter().map(|(text, count)| ((*text).to_owned(), *count)).collect();
        eventually_eq(SOON, &expected, || self.applied());
    }

    fn counted(&self, result: ControlResult) -> u64 {
        self.metrics.control_commands.get_or_create(&result.into()).get()
    }
}

fn options(url: &str, has_presence: bool) -> RedisOptions {
    RedisOptions {
        url: url.into(),
        credentials: Credentials::default(),
        sentinel_credentials: Credentials::default(),
        tls: TlsFiles::default(),
        layout: Layout::Plain,
        ready_with: ReadyWith::All,
        prefix: "gateway".into(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_secs(1),
        min_reconnect_delay: Duration::from_millis(20),
        max_reconnect_delay: Duration::from_millis(200),
        history_check_interval: Duration::from_secs(30),
        max_payload_bytes: 1_000,
        max_payload_depth: 128,
        history: HistoryOptions::of_size(100),
        revocation_ttl: Duration::from_secs(3600),
        presence: has_presence.then_some(PresenceOptions {
            grace: Duration::from_secs(1),
            max_edges: 1_000,
            max_members: 200,
            namespaces: Default::default(),
        }),
    }
}

/// Sends a command as a backend does. Returns its id.
fn fcall(backend: &mut Connection, command: &str) -> RedisResult<String> {
    cmd("FCALL").arg("gateway_control").arg(1).arg("gateway:{control}:commands").arg(command).query(backend)
}

/// The replicas that answered, each with its number of affected sessions.
fn affected(outcome: &ControlOutcome) -> Vec<(String, usize)> {
    outcome.replicas.iter().map(|(name, answer)| (name.clone(), answer.affected)).collect()
}
