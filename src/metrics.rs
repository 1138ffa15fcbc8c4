//! The metrics of the gateway, in Prometheus' text format.
//!
//! Names and labels are a contract with dashboards. Label values are closed sets: no label contains a user, a
//! channel, an address or other text from outside.
//!
//! - `page`: registers the metrics and writes the page. `labels`, `admin_request`: labels and their values.
//!   `initial_values`: starts each at 0. `per_thread`: counters with cells for each thread. `process`: metrics of the
//!   process, from `/proc`.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::event::GapReason;

mod admin_request;
mod initial_values;
mod labels;
mod page;
mod per_thread;
mod process;

pub use self::admin_request::AdminRequest;
pub use self::labels::{
    Code, ControlResult, DropReason, HistoryReadKind, IdentifyResult, KeyLoadResult, KeyRefusal, Kind, Label,
    LinkLoss, Reason, RecordResult, RecoveryResult, ResultLabel, SendResult, SignalDelivery, SignalResult,
    TokenCallResult, TokenLookupResult,
};
pub use self::per_thread::{Latency, PerThread, Traffic};

/// A handle of all metrics. Cloning shares them; a handle is one pointer, because every socket has several.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<MetricsShared>);

#[derive(Debug)]
struct MetricsShared {
    counters: Counters,
    /// Encodes `counters`, whose cells it shares.
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let (counters, registry) = page::register_all();
        Self(Arc::new(MetricsShared { counters, registry }))
    }
}

impl std::ops::Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0.counters
    }
}

/// All metrics of a process.
#[derive(Debug)]
pub struct Counters {
    /// Open sockets, identified or not.
    pub connections: Gauge,
    /// Accepted connections whose handshake is not complete.
    pub handshakes: Gauge,
    /// Open connections of the admin port.
    pub admin_connections: Gauge,
    /// Sockets opened since the start.
    pub connections_opened: Counter,
    /// Refused upgrades, by reason.
    pub upgrades_refused: Family<Reason<&'static str>, Counter>,
    /// Open sessions with an accepted token.
    pub sessions: Gauge,
    /// Users with at least one session here.
    pub users: Gauge,
    /// Channels with at least one session here.
    pub channels: Gauge,
    /// Subscriptions of all sessions, including the two own channels of each.
    pub subscriptions: Gauge,
    /// Identify attempts, by outcome.
    pub identifies: Family<ResultLabel<IdentifyResult>, Counter>,
    /// Lookups of opaque tokens, by outcome.
    pub token_lookups: Family<ResultLabel<TokenLookupResult>, Counter>,
    /// Calls to the issuer of opaque tokens, by outcome.
    pub token_calls: Family<ResultLabel<TokenCallResult>, Counter>,
    /// The time of these calls, in seconds.
    pub token_call_seconds: Histogram,
    /// 1 while the issuer of opaque tokens fails, else 0.
    pub tokens_unavailable: Gauge,
    /// Loads of the keys of tokens, by outcome.
    pub auth_key_loads: Family<ResultLabel<KeyLoadResult>, Counter>,
    /// 1 while the latest keys of tokens could not be loaded, else 0.
    pub auth_keys_stale: Gauge,
    /// Text messages received from clients.
    pub client_messages: Counter,
    /// Closes sent, by code.
    pub websocket_closes: Family<Code, Counter>,
    /// Publications received from the broker.
    pub publications_received: Counter,
    /// Frames of publications queued for sockets.
    pub publications_delivered: Counter,
    /// Publications without a recipient and deliveries that did not reach their socket, by reason.
    pub publications_dropped: Family<Reason<DropReason>, Counter>,
    /// Publications that the link missed and later read from a history.
    pub publications_repaired: Counter,
    /// Signals, by what became of them before their delivery.
    pub signals: Family<ResultLabel<SignalResult>, Counter>,
    /// Signals for sessions, by whether they were delivered.
    pub signal_deliveries: Family<ResultLabel<SignalDelivery>, Counter>,
    /// Gaps announced for channels of this replica, by reason.
    pub gaps: Family<Reason<GapReason>, Counter>,
    /// Attempts of clients to resume from a position, by outcome.
    pub recoveries: Family<ResultLabel<RecoveryResult>, Counter>,
    /// Reads of histories that were answered, besides repairs and recoveries, by kind.
    pub history_reads: Family<Kind<HistoryReadKind>, Counter>,
    /// Requests that the admin API refused before reading them.
    pub admin_refused: Family<Reason<KeyRefusal>, Counter>,
    /// Publications accepted from the admin API.
    pub publications_accepted: Counter,
    /// Time from the arrival of a publication at the link until a hub has queued it for its last socket.
    pub delivery_latency: PerThread<Latency>,
    /// Bytes read from sockets and written to them.
    pub traffic: PerThread<Traffic>,
    /// Requests to the admin port, by route and status.
    pub admin_requests: Family<AdminRequest, Counter>,
    /// 1 while the link to the broker is subscribed and healthy, else 0.
    pub redis_link_up: Gauge,
    /// The links to Redis that there are to be: one, or one for each master of a cluster with shards, and one more while
    /// slots have no master.
    pub redis_links: Gauge,
    /// The links to Redis that are subscribed and healthy.
    pub redis_links_ready: Gauge,
    /// 1 while durable publishing is available, else 0.
    pub history_available: Gauge,
    /// Rejected payloads from Redis, by whether they were put on the stream of rejected payloads.
    pub rejected: Family<ResultLabel<RecordResult>, Counter>,
    /// Channels for which Redis refused a subscription to the gateway's user.
    pub channels_refused: Counter,
    /// 1 while Redis may evict keys, else 0.
    pub redis_may_evict: Gauge,
    /// Evicted keys, as reported by Redis.
    pub redis_evicted_keys: Gauge,
    /// 1 if this replica reports its users to Redis, else 0.
    pub presence_enabled: Gauge,
    /// 1 while this replica holds a presence lease, else 0.
    pub presence_lease: Gauge,
    /// Reports of presence that Redis applied.
    pub presence_reports: Counter,
    /// Lapsed leases whose burial this replica finished.
    pub presence_burials: Counter,
    /// Replicas that were dead or cut off, and that this replica buried.
    pub presence_replicas_buried: Counter,
    /// Commands from Redis, by what became of them.
    pub control_commands: Family<ResultLabel<ControlResult>, Counter>,
    /// Replicas that did not answer a command of this replica in time.
    pub control_answers_missing: Counter,
    /// Revocations that this replica keeps.
    pub control_revocations: Gauge,
    /// Messages of clients for the inbox that the conversation let through, by outcome.
    pub sends: Family<ResultLabel<SendResult>, Counter>,
    /// Entries of the inbox as of the latest probe, while any namespace has `send`.
    pub inbox_entries: Gauge,
    /// Losses of the link to the broker, by reason.
    pub redis_link_losses: Family<Reason<LinkLoss>, Counter>,
    /// Time from publishing a probe to receiving it, in seconds.
    pub probe_latency: Histogram,
    /// The latest probe latency, in microseconds; 0 before the first. For the console; not on the page of metrics.
    latest_probe_us: AtomicU64,
    /// Time from the last received probe to the end of the link, in seconds.
    pub redis_link_detection: Histogram,
    /// Time from the end of the link until the next link is healthy and all missed messages are repaired, in seconds.
    pub redis_link_repair: Histogram,
    /// Bytes of publications queued for hubs.
    pub hub_inbox_bytes: Gauge,
    /// Bytes queued for sockets.
    pub outbound_queued_bytes: Gauge,
    /// Log lines dropped because the reader of the log was too slow.
    pub log_lines_dropped: Counter,
    /// 1 while `/readyz` answers 200, else 0; updated for each scrape.
    pub ready: Gauge,
    /// 1 during a drain, else 0; updated for each scrape.
    pub draining: Gauge,
    /// The limits of other metrics.
    pub limits: Limits,
}

/// The limits of this process, for alerts on values near a limit. 0: no limit.
#[derive(Debug)]
pub struct Limits {
    /// Limit of [`Counters::connections`].
    pub connections: Gauge,
    /// Limit of [`Counters::admin_connections`].
    pub admin_connections: Gauge,
    /// Limit of [`Counters::hub_inbox_bytes`], summed over all hubs.
    pub hub_inbox_bytes: Gauge,
    /// Limit of [`Counters::inbox_entries`].
    pub inbox_entries: Gauge,
    /// Limit of [`Counters::outbound_queued_bytes`].
    pub outbound_queued_bytes: Gauge,
}

impl Metrics {
    /// Adds 1 to the counter with this label value.
    pub fn count<S, L>(family: &Family<S, Counter>, value: L)
    where
        S: From<L> + Clone + Eq + Hash,
    {
        Self::count_many(family, value, 1);
    }

    /// Adds `many` to the counter with this label value.
    pub fn count_many<S, L>(family: &Family<S, Counter>, value: L, many: u64)
    where
        S: From<L> + Clone + Eq + Hash,
    {
        family.get_or_create(&S::from(value)).inc_by(many);
    }

    /// Records the latency of a probe.
    pub fn probed(&self, latency: Duration) {
        self.probe_latency.observe(latency.as_secs_f64());
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latest_probe_us.store(us.max(1), Ordering::Relaxed);
    }

    /// The latency of the latest probe; `None` before the first.
    pub fn latest_probe(&self) -> Option<Duration> {
        let us = self.latest_probe_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer() {
        assert_eq!(size_of::<Metrics>(), size_of::<usize>());
    }

    #[test]
    fn page_has_metrics_with_their_prefix() {
        let metrics = Metrics::default();
        metrics.connections.set(3);
        metrics.websocket_closes.get_or_create(&Code { code: 4001 }).inc();
        Metrics::count(&metrics.publications_dropped, DropReason::Duplicate);
        let page = metrics.render();
        for line in [
            "gateway_connections 3",
            "gateway_websocket_closes_total{code=\"4001\"} 1",
            "gateway_publications_dropped_total{reason=\"duplicate\"} 1",
            "gateway_probe_latency_seconds_count 0",
            "gateway_hub_inbox_bytes 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
