//! What the gateway counts, in Prometheus' text format.
//!
//! Names and labels are a contract with dashboards. No label ever holds a user, a channel, an address or any
//! other text from outside: each is one of a closed set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The one label of every labelled metric here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// One of a closed set of short names.
    pub reason: &'static str,
}

/// The label of closes: the close code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// The number of the Close frame.
    pub code: u16,
}

/// A handle on everything that is counted. Cloning shares, and costs one pointer: every socket has some.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Counters>);

impl std::ops::Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

/// Everything that is counted. One for each process.
#[derive(Debug)]
pub struct Counters {
    /// Open sockets, identified or not.
    pub connections: Gauge<i64, AtomicI64>,
    /// Accepted connections that are not sockets yet.
    pub handshakes: Gauge<i64, AtomicI64>,
    /// Open connections of the admin port.
    pub admin_connections: Gauge<i64, AtomicI64>,
    /// Sockets that were opened.
    pub connections_opened: Counter<u64, AtomicU64>,
    /// Upgrades that were refused, by reason.
    pub upgrades_refused: Family<Reason, Counter>,
    /// Sessions that have sent a good token and are not closed.
    pub sessions: Gauge<i64, AtomicI64>,
    /// Users with at least one session here.
    pub users: Gauge<i64, AtomicI64>,
    /// Channels with at least one session here.
    pub channels: Gauge<i64, AtomicI64>,
    /// Subscriptions of all sessions, their own two channels included.
    pub subscriptions: Gauge<i64, AtomicI64>,
    /// Identify attempts, by outcome.
    pub identifies: Family<Reason, Counter>,
    /// Text messages received from clients.
    pub client_messages: Counter<u64, AtomicU64>,
    /// Closes sent, by code.
    pub closes: Family<Code, Counter>,
    /// Publications received from the broker.
    pub publications_received: Counter<u64, AtomicU64>,
    /// Frames of publications handed to sockets.
    pub publications_delivered: Counter<u64, AtomicU64>,
    /// Publications that reached nobody, and deliveries that did not reach their socket, by reason.
    pub publications_dropped: Family<Reason, Counter>,
    /// Publications read from a history because the link had missed them.
    pub publications_repaired: Counter<u64, AtomicU64>,
    /// Gaps announced for channels of this replica, by reason.
    pub gaps: Family<Reason, Counter>,
    /// Attempts of clients to continue from a position, by outcome.
    pub recoveries: Family<Reason, Counter>,
    /// Publications accepted from the admin API.
    pub publications_accepted: Counter<u64, AtomicU64>,
    /// 1 while the broker's link is subscribed and proven, else 0.
    pub link_up: Gauge<i64, AtomicI64>,
    /// 1 while durable publishing is possible, else 0.
    pub history_available: Gauge<i64, AtomicI64>,
    /// Payloads from Redis that reach nobody: put on the stream for them, or only counted.
    pub rejected: Family<Reason, Counter>,
    /// How often the link to the broker was lost.
    pub link_losses: Family<Reason, Counter>,
    /// From publishing a probe to hearing it back, in seconds.
    pub probe_latency: Histogram,
    /// The latest of these, in microseconds; 0 before the first. For the console, not for the page of metrics.
    latest_probe_us: AtomicU64,
    /// From the last proof that the link delivers to giving it up, in seconds.
    pub link_detection: Histogram,
    /// From giving the link up to the next proof, everything that was missed repaired, in seconds.
    pub link_repair: Histogram,
    /// Bytes of publications that wait for a hub.
    pub hub_inbox_bytes: Gauge<i64, AtomicI64>,
    /// Bytes that wait for sockets to take them.
    pub outbound_queued_bytes: Gauge<i64, AtomicI64>,
    /// Lines of the log that were dropped because nobody read it.
    pub log_lines_dropped: Counter<u64, AtomicU64>,
    /// 1 while `/readyz` answers 200, else 0; brought up to date for each page.
    pub ready: Gauge<i64, AtomicI64>,
    /// The most that some of the others may reach.
    pub limits: Limits,
}

/// The bounds that the process runs with, so that a rule can tell how near it is to them. 0: there is none.
#[derive(Debug, Default)]
pub struct Limits {
    /// Of [`Counters::connections`].
    pub connections: Gauge<i64, AtomicI64>,
    /// Of [`Counters::admin_connections`].
    pub admin_connections: Gauge<i64, AtomicI64>,
    /// Of [`Counters::hub_inbox_bytes`].
    pub hub_inbox_bytes: Gauge<i64, AtomicI64>,
    /// Of [`Counters::outbound_queued_bytes`].
    pub outbound_queued_bytes: Gauge<i64, AtomicI64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            handshakes: Gauge::default(),
            admin_connections: Gauge::default(),
            connections_opened: Counter::default(),
            upgrades_refused: Family::default(),
            sessions: Gauge::default(),
            users: Gauge::default(),
            channels: Gauge::default(),
            subscriptions: Gauge::default(),
            identifies: Family::default(),
            client_messages: Counter::default(),
            closes: Family::default(),
            publications_received: Counter::default(),
            publications_delivered: Counter::default(),
            publications_dropped: Family::default(),
            publications_repaired: Counter::default(),
            gaps: Family::default(),
            recoveries: Family::default(),
            publications_accepted: Counter::default(),
            link_up: Gauge::default(),
            history_available: Gauge::default(),
            rejected: Family::default(),
            link_losses: Family::default(),
            // A healthy round trip is below a millisecond; the link is replaced after a few seconds.
            probe_latency: Histogram::new([
                0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            ]),
            latest_probe_us: AtomicU64::new(0),
            // Meant to be below three seconds.
            link_detection: Histogram::new([0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0]),
            link_repair: Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
            hub_inbox_bytes: Gauge::default(),
            outbound_queued_bytes: Gauge::default(),
            log_lines_dropped: Counter::default(),
            ready: Gauge::default(),
            limits: Limits::default(),
        }
    }
}

impl Metrics {
    /// Counts one more of a labelled metric.
    pub fn count(family: &Family<Reason, Counter>, reason: &'static str) {
        family.get_or_create(&Reason { reason }).inc();
    }

    /// Counts `many` more of a labelled metric.
    pub fn count_many(family: &Family<Reason, Counter>, reason: &'static str, many: u64) {
        family.get_or_create(&Reason { reason }).inc_by(many);
    }

    /// Notes how long a probe took.
    pub fn probed(&self, latency: Duration) {
        self.probe_latency.observe(latency.as_secs_f64());
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latest_probe_us.store(us.max(1), Ordering::Relaxed);
    }

    /// How long the latest probe took; `None` before the first.
    pub fn latest_probe(&self) -> Option<Duration> {
        let us = self.latest_probe_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }

    /// The page that Prometheus reads.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut page, &self.registry());
        page
    }

    /// A registry over the same cells, made for each page: a page is read every few seconds.
    fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("gateway");
        all.register("connections", "Open sockets", self.connections.clone());
        all.register("handshakes", "Connections that are not sockets yet", self.handshakes.clone());
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
        all.register("closes", "Closes sent, by code", self.closes.clone());
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
            "Publications read from a history because the link had missed them",
            self.publications_repaired.clone(),
        );
        all.register("gaps", "Gaps announced for channels, by reason", self.gaps.clone());
        all.register(
            "recoveries",
            "Attempts to continue from a position, by outcome",
            self.recoveries.clone(),
        );
        all.register(
            "publications_accepted",
            "Publications accepted from the admin API",
            self.publications_accepted.clone(),
        );
        all.register("link_up", "1 while the broker's link is proven", self.link_up.clone());
        all.register(
            "history_available",
            "1 while durable publishing is possible",
            self.history_available.clone(),
        );
        all.register("rejected", "Payloads from Redis that reach nobody, by outcome", self.rejected.clone());
        all.register("link_losses", "Losses of the broker's link, by reason", self.link_losses.clone());
        all.register_with_unit(
            "probe_latency",
            "From publishing a probe to hearing it",
            Unit::Seconds,
            self.probe_latency.clone(),
        );
        all.register_with_unit(
            "link_detection",
            "From the last proof of the link to giving it up",
            Unit::Seconds,
            self.link_detection.clone(),
        );
        all.register_with_unit(
            "link_repair",
            "From giving the link up to the next proof",
            Unit::Seconds,
            self.link_repair.clone(),
        );
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
            "Lines of the log that were dropped because nobody read it",
            self.log_lines_dropped.clone(),
        );
        all.register("ready", "1 while the replica is ready", self.ready.clone());
        all.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        self.limits.register(&mut all);
        all
    }
}

impl Limits {
    fn register(&self, all: &mut Registry) {
        all.register("connections_limit", "The most open sockets; 0: no cap", self.connections.clone());
        all.register(
            "admin_connections_limit",
            "The most connections of the admin port",
            self.admin_connections.clone(),
        );
        all.register_with_unit(
            "hub_inbox_limit",
            "The most that may wait for hubs",
            Unit::Bytes,
            self.hub_inbox_bytes.clone(),
        );
        all.register_with_unit(
            "outbound_queued_limit",
            "The most that may wait for sockets; 0: no cap",
            Unit::Bytes,
            self.outbound_queued_bytes.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_metric_with_its_prefix() {
        let metrics = Metrics::default();
        metrics.connections.set(3);
        metrics.closes.get_or_create(&Code { code: 4001 }).inc();
        Metrics::count(&metrics.publications_dropped, "not_json");
        let page = metrics.render();
        for line in [
            "gateway_connections 3",
            "gateway_closes_total{code=\"4001\"} 1",
            "gateway_publications_dropped_total{reason=\"not_json\"} 1",
            "gateway_probe_latency_seconds_count 0",
            "gateway_hub_inbox_bytes 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
