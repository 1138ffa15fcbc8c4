//! The page of metrics: every metric under its name, with its help text.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Limits, Metrics, process};

impl Metrics {
    /// The page that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = encode_registry(&mut page, &self.registry());
        let _ = encode_registry(&mut page, &process::registry());
        let _ = encode_eof(&mut page);
        page
    }

    /// A registry over the same cells, created for each scrape, which happens every few seconds.
    fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("gateway");
        self.register_sessions(&mut all);
        self.register_publications(&mut all);
        self.register_link(&mut all);
        self.register_process(&mut all);
        self.limits.register(&mut all);
        all
    }

    /// Sockets, and the sessions on them.
    fn register_sessions(&self, all: &mut Registry) {
        all.register("connections", "Open sockets", self.connections.clone());
        all.register("handshakes", "Connections in their handshake", self.handshakes.clone());
        all.register(
            "admin_connections",
            "Open connections of the admin port",
            self.admin_connections.clone(),
        );
        all.register("connections_opened", "Sockets opened", self.connections_opened.clone());
        all.register("upgrades_refused", "Upgrades refused, by reason", self.upgrades_refused.clone());
        all.register("sessions", "Identified sessions", self.sessions.clone());
        all.register("users", "Users with at least one session", self.users.clone());
        all.register("channels", "Channels with at least one session", self.channels.clone());
        all.register("subscriptions", "Subscriptions of all sessions", self.subscriptions.clone());
        all.register("identifies", "Identify attempts, by outcome", self.identifies.clone());
        all.register("client_messages", "Text messages from clients", self.client_messages.clone());
        all.register("websocket_closes", "Closes sent, by code", self.websocket_closes.clone());
    }

    /// Publications on their way to sockets, and the requests of the admin port.
    fn register_publications(&self, all: &mut Registry) {
        all.register(
            "publications_received",
            "Publications received from the broker",
            self.publications_received.clone(),
        );
        all.register(
            "publications_delivered",
            "Frames of publications handed to sockets",
            self.publications_delivered.clone(),
        );
        all.register(
            "publications_dropped",
            "Publications not delivered, by reason",
            self.publications_dropped.clone(),
        );
        all.register(
            "publications_repaired",
            "Publications that the link missed and read from a history",
            self.publications_repaired.clone(),
        );
        all.register("gaps", "Gaps announced for channels, by reason", self.gaps.clone());
        all.register(
            "recoveries",
            "Attempts to continue from a position, by outcome",
            self.recoveries.clone(),
        );
        all.register(
            "admin_refused",
            "Requests that the admin API refused before reading them, by reason",
            self.admin_refused.clone(),
        );
        all.register(
            "publications_accepted",
            "Publications accepted from the admin API",
            self.publications_accepted.clone(),
        );
        all.register_with_unit(
            "delivery_latency",
            "Time from a publication's arrival to the last socket of a worker",
            Unit::Seconds,
            self.delivery_latency.total(),
        );
        all.register_with_unit(
            "received",
            "Bytes read from sockets",
            Unit::Bytes,
            counter_of(self.traffic.received()),
        );
        all.register_with_unit(
            "sent",
            "Bytes written to sockets",
            Unit::Bytes,
            counter_of(self.traffic.sent()),
        );
        all.register(
            "admin_requests",
            "Requests to the admin port, by route and status",
            self.admin_requests.clone(),
        );
    }

    /// The link to the broker, and its data.
    fn register_link(&self, all: &mut Registry) {
        all.register("redis_link_up", "1 while the broker's link is healthy", self.redis_link_up.clone());
        all.register(
            "history_available",
            "1 while durable publishing is possible",
            self.history_available.clone(),
        );
        all.register(
            "rejected",
            "Payloads from Redis that are not delivered, by outcome",
            self.rejected.clone(),
        );
        all.register("redis_may_evict", "1 while Redis may evict keys", self.redis_may_evict.clone());
        all.register("redis_evicted_keys", "Keys that Redis has evicted", self.redis_evicted_keys.clone());
        all.register(
            "channels_refused",
            "Subscriptions that Redis refused to the gateway",
            self.channels_refused.clone(),
        );
        all.register(
            "redis_link_losses",
            "Losses of the broker's link, by reason",
            self.redis_link_losses.clone(),
        );
        all.register_with_unit(
            "probe_latency",
            "Time from publishing a probe to receiving it",
            Unit::Seconds,
            self.probe_latency.clone(),
        );
        all.register_with_unit(
            "redis_link_detection",
            "Time from the last received probe to the end of the link",
            Unit::Seconds,
            self.redis_link_detection.clone(),
        );
        all.register_with_unit(
            "redis_link_repair",
            "Time from the end of the link until the next healthy one",
            Unit::Seconds,
            self.redis_link_repair.clone(),
        );
    }

    /// What waits in the process, and its state.
    fn register_process(&self, all: &mut Registry) {
        all.register_with_unit(
            "hub_inbox",
            "Publications waiting for a hub",
            Unit::Bytes,
            self.hub_inbox_bytes.clone(),
        );
        all.register_with_unit(
            "outbound_queued",
            "Bytes waiting for sockets to take them",
            Unit::Bytes,
            self.outbound_queued_bytes.clone(),
        );
        all.register(
            "log_lines_dropped",
            "Log lines dropped because the log was not read fast enough",
            self.log_lines_dropped.clone(),
        );
        all.register("ready", "1 while the replica is ready", self.ready.clone());
        all.register("draining", "1 while the replica drains", self.draining.clone());
        all.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }
}

impl Limits {
    fn register(&self, all: &mut Registry) {
        all.register("connections_limit", "Limit of open sockets; 0: no limit", self.connections.clone());
        all.register(
            "admin_connections_limit",
            "Limit of connections of the admin port",
            self.admin_connections.clone(),
        );
        all.register_with_unit(
            "hub_inbox_limit",
            "Limit of bytes that wait for hubs",
            Unit::Bytes,
            self.hub_inbox_bytes.clone(),
        );
        all.register_with_unit(
            "outbound_queued_limit",
            "Limit of bytes that wait for sockets; 0: no limit",
            Unit::Bytes,
            self.outbound_queued_bytes.clone(),
        );
    }
}

fn counter_of(value: u64) -> Counter<u64, AtomicU64> {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}
