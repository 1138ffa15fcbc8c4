//! The page of metrics, and the registry that it is written from.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::process::ProcessCollector;
use super::{Counters, Limits, Metrics, PerThread};

impl Metrics {
    /// The page that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut page, &self.0.registry);
        page
    }
}

/// Upper bounds of the buckets. A healthy round trip takes less than a millisecond.
const PROBE_SECONDS: [f64; 13] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Detection should take less than three seconds.
const TOKEN_CALL_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
const DETECTION_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0];
const REPAIR_SECONDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Creates all metrics of a process and their registry. The names that `process` writes have no prefix.
pub(super) fn register_all() -> (Counters, Registry) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessCollector));
    let counters = Counters::register(registry.sub_registry_with_prefix("gateway"));
    counters.create_labels();
    (counters, registry)
}

/// Registers a metric and returns the handle that counts.
trait RegistryExt {
    fn register_new<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M;
    fn register_bytes<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M;
    fn register_seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M;
}

impl RegistryExt for Registry {
    fn register_new<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.register(name, help, metric.clone());
        metric
    }

    fn register_bytes<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.register_with_unit(name, help, Unit::Bytes, metric.clone());
        metric
    }

    fn register_seconds<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}

impl Counters {
    /// Creates and registers all metrics; labelled counters have no values yet.
    fn register(all: &mut Registry) -> Self {
        let traffic = PerThread::default();
        all.register_with_unit("received", "Bytes read from sockets", Unit::Bytes, traffic.received());
        all.register_with_unit("sent", "Bytes written to sockets", Unit::Bytes, traffic.sent());
        all.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            connections: all.register_new("connections", "Open sockets"),
            handshakes: all.register_new("handshakes", "Connections in their handshake"),
            admin_connections: all.register_new("admin_connections", "Open connections of the admin port"),
            connections_opened: all.register_new("connections_opened", "Sockets opened"),
            upgrades_refused: all.register_new("upgrades_refused", "Upgrades refused, by reason"),
            sessions: all.register_new("sessions", "Identified sessions"),
            users: all.register_new("users", "Users with at least one session"),
            channels: all.register_new("channels", "Channels with at least one session"),
            subscriptions: all.register_new("subscriptions", "Subscriptions of all sessions"),
            identifies: all.register_new("identifies", "Identify attempts, by outcome"),
            auth_key_loads: all.register_new("auth_key_loads", "Loads of the keys of tokens, by outcome"),
            auth_keys_stale: all.register_new(
                "auth_keys_stale",
                "1 while the latest keys of tokens could not be loaded; the old ones are in force",
            ),
            client_messages: all.register_new("client_messages", "Text messages from clients"),
            websocket_closes: all.register_new("websocket_closes", "Closes sent, by code"),
            publications_received: all
                .register_new("publications_received", "Publications received from the broker"),
            publications_delivered: all
                .register_new("publications_delivered", "Frames of publications handed to sockets"),
            publications_dropped: all
                .register_new("publications_dropped", "Publications not delivered, by reason"),
            publications_repaired: all.register_new(
                "publications_repaired",
                "Publications that the link missed and read from a history",
            ),
            signals: all.register_new("signals", "Signals, by what became of them before their delivery"),
            signal_deliveries: all
                .register_new("signal_deliveries", "Signals for sessions, by whether they were delivered"),
            gaps: all.register_new("gaps", "Gaps announced for channels, by reason"),
            recoveries: all.register_new("recoveries", "Attempts to continue from a position, by outcome"),
            history_reads: all
                .register_new("history_reads", "Last messages and pages read from histories, by kind"),
            admin_refused: all.register_new(
                "admin_refused",
                "Requests that the admin API refused before reading them, by reason",
            ),
            publications_accepted: all
                .register_new("publications_accepted", "Publications accepted from the admin API"),
            delivery_latency: all.register_seconds(
                "delivery_latency",
                "Time from a publication's arrival to the last socket of a worker",
                PerThread::default(),
            ),
            traffic,
            admin_requests: all
                .register_new("admin_requests", "Requests to the admin port, by route and status"),
            redis_link_up: all.register_new("redis_link_up", "1 while the broker's link is healthy"),
            redis_links: all.register_new(
                "redis_links",
                "Links to Redis; with shards one for each master, and one more while slots have no master",
            ),
            redis_links_ready: all.register_new("redis_links_ready", "Links to Redis that are healthy"),
            history_available: all
                .register_new("history_available", "1 while durable publishing is available"),
            rejected: all.register_new("rejected", "Payloads from Redis that are not delivered, by outcome"),
            redis_may_evict: all.register_new("redis_may_evict", "1 while Redis may evict keys"),
            redis_evicted_keys: all.register_new("redis_evicted_keys", "Keys that Redis has evicted"),
            channels_refused: all
                .register_new("channels_refused", "Subscriptions that Redis refused to the gateway"),
            presence_enabled: all
                .register_new("presence_enabled", "1 if this replica reports its users to Redis"),
            presence_lease: all.register_new("presence_lease", "1 while this replica holds a presence lease"),
            presence_reports: all.register_new("presence_reports", "Reports of presence that Redis applied"),
            presence_burials: all
                .register_new("presence_burials", "Lapsed leases whose burial this replica finished"),
            presence_replicas_buried: all.register_new(
                "presence_replicas_buried",
                "Replicas that were dead or cut off, and that this replica buried",
            ),
            control_commands: all
                .register_new("control_commands", "Commands to every replica, by what became of them"),
            token_lookups: all.register_new("token_lookups", "Lookups of opaque tokens, by outcome"),
            token_calls: all.register_new("token_calls", "Calls to the issuer of opaque tokens, by outcome"),
            token_call_seconds: all.register_seconds(
                "token_call",
                "Time of a call to the issuer of opaque tokens",
                Histogram::new(TOKEN_CALL_SECONDS),
            ),
            tokens_unavailable: all
                .register_new("tokens_unavailable", "1 while the issuer of opaque tokens fails, else 0"),
            control_answers_missing: all.register_new(
                "control_answers_missing",
                "Replicas that did not answer a command of this replica in time",
            ),
            control_revocations: all
                .register_new("control_revocations", "Revocations that this replica keeps"),
            sends: all.register_new("sends", "Messages of clients for the inbox, by outcome"),
            inbox_entries: all.register_new("inbox_entries", "Entries of the inbox"),
            redis_link_losses: all
                .register_new("redis_link_losses", "Losses of the broker's link, by reason"),
            probe_latency: all.register_seconds(
                "probe_latency",
                "Time from publishing a probe to receiving it",
                Histogram::new(PROBE_SECONDS),
            ),
            latest_probe_us: AtomicU64::new(0),
            redis_link_detection: all.register_seconds(
                "redis_link_detection",
                "Time from the last received probe to the end of the link",
                Histogram::new(DETECTION_SECONDS),
            ),
            redis_link_repair: all.register_seconds(
                "redis_link_repair",
                "Time from the end of the link until the next healthy one",
                Histogram::new(REPAIR_SECONDS),
            ),
            hub_inbox_bytes: all.register_bytes("hub_inbox", "Publications waiting for a hub"),
            outbound_queued_bytes: all
                .register_bytes("outbound_queued", "Bytes waiting for sockets to take them"),
            log_lines_dropped: all.register_new(
                "log_lines_dropped",
                "Log lines dropped because the log was not read fast enough",
            ),
            ready: all.register_new("ready", "1 while the replica is ready"),
            draining: all.register_new("draining", "1 while the replica drains"),
            limits: Limits::register(all),
        }
    }
}

impl Limits {
    fn register(all: &mut Registry) -> Self {
        Self {
            connections: all.register_new("connections_limit", "Limit of open sockets; 0: no limit"),
            admin_connections: all
                .register_new("admin_connections_limit", "Limit of connections of the admin port"),
            hub_inbox_bytes: all.register_bytes("hub_inbox_limit", "Limit of bytes that wait for hubs"),
            inbox_entries: all.register_new("inbox_entries_limit", "Limit of entries of the inbox"),
            outbound_queued_bytes: all
                .register_bytes("outbound_queued_limit", "Limit of bytes that wait for sockets; 0: no limit"),
        }
    }
}
