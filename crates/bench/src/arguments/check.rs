//! Checks the values of arguments and their combinations.

use super::{BenchArgs, Scenario};
use crate::BenchError;
use crate::wire::MIN_MESSAGE_BYTES;

/// The maximum number of channels per socket with `--channels`, below the default `limits.subscriptions_per_session`.
const MAX_CHANNELS_OF_ONE: usize = 90;
/// The longest signal, in bytes.
const MAX_SIGNAL_BYTES: usize = 1_024;

/// Whether a rule holds, and the error if it does not.
type Rule = (bool, &'static str);

fn is_between(value: f64, least: f64, most: f64) -> bool {
    value >= least && value <= most
}

fn is_count(value: usize, least: usize, most: usize) -> bool {
    (least..=most).contains(&value)
}

impl BenchArgs {
    /// Fails if an argument is out of bounds or arguments contradict each other.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let mut rules =
            self.bounds().into_iter().chain(self.rules_of_servers()).chain(self.rules_of_scenarios());
        match rules.find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(BenchError::Arguments(sentence.to_owned())),
            None => Ok(()),
        }
    }

    /// The bounds of numbers.
    fn bounds(&self) -> [Rule; 10] {
        let is_capacity = matches!(self.scenario, Scenario::Fanout | Scenario::Unicast | Scenario::Mixed);
        let has_share = self.capacity_share.is_none_or(|share| is_capacity && is_between(share, 0.01, 1.0));
        let most = MAX_CHANNELS_OF_ONE.saturating_mul(self.sockets);
        let has_channels =
            self.channels.is_none_or(|count| self.scenario == Scenario::Fanout && is_count(count, 1, most));
        let has_bytes = is_count(self.message_bytes(), MIN_MESSAGE_BYTES, 1_048_576);
        let has_threads = is_count(self.threads, 1, self.sockets.min(64));
        [
            (is_count(self.sockets, 1, 1_000_000), "--sockets must be 1 to 1000000"),
            (is_between(self.seconds, 0.1, 86_400.0), "--seconds must be 0.1 to 86400"),
            (is_between(self.rate.unwrap_or(1.0), 0.1, 1e7), "--rate must be 0.1 to 10000000"),
            (is_count(self.in_flight.unwrap_or(1), 1, 1_000_000), "--in-flight must be 1 to 1000000"),
            (has_bytes, "--message-bytes must be 48 to 1048576"),
            (has_threads, "--threads must be 1 to 64, and at most --sockets"),
            (is_between(self.stalled, 0.0, 100.0), "--stalled must be 0 to 100"),
            (has_share, "--capacity-share must be 0.01 to 1, with fanout, unicast or mixed"),
            (has_channels, "--channels must be 1 to 90 times --sockets, with fanout"),
            (is_between(self.burst_every, 0.1, 3_600.0), "--burst-every must be 0.1 to 3600"),
        ]
    }

    /// Which servers are measured, and how messages reach them.
    fn rules_of_servers(&self) -> [Rule; 8] {
        use Scenario::{Connect, Fanout, Idle, Scale, Storm, Unicast};
        let scenario = self.scenario;
        let has_publisher = matches!(scenario, Fanout | Unicast);
        let has_cluster = self.redis_cluster.is_none_or(|masters| has_publisher && is_count(masters, 1, 16));
        let has_redis = self.redis || self.running || self.redis_cluster.is_some();
        let has_durable = !self.durable || has_publisher && !self.baseline && has_redis;
        let has_other_servers = self.running
            || self.baseline
            || self.redis_cluster.is_some()
            || self.sweep.is_some()
            || self.server.is_some();
        let is_spread = matches!(scenario, Idle | Connect | Fanout | Unicast | Storm | Scale);
        let fewest = 1 + self.ended_replicas();
        let has_replicas = match self.replicas {
            Some(replicas) => is_spread && is_count(replicas, fewest, self.sockets.min(1_000)),
            None => scenario != Scale,
        };
        let has_server = self.server.is_none() || matches!(scenario, Idle | Connect | Fanout | Unicast);
        let has_http = !self.publish_http || scenario == Unicast && (self.redis || self.running);
        [
            (has_cluster, "--redis-cluster must be 1 to 16, with fanout or unicast"),
            (
                has_durable,
                "--durable needs fanout or unicast, with --redis, --redis-cluster or --running and without --baseline",
            ),
            (
                scenario != Scale || !has_other_servers,
                "scale cannot be used with --running, --baseline, --redis-cluster, --sweep and --server",
            ),
            (
                scenario != Scale || self.sockets >= fewest,
                "scale needs at least 3 --sockets, one for each replica",
            ),
            (
                has_replicas,
                "--replicas must be 1 to 1000 (scale: 3 to 1000), at most --sockets, with idle, connect, fanout, unicast, storm or scale",
            ),
            (has_server, "--server needs idle, connect, fanout or unicast"),
            (has_http, "--publish-http needs unicast, with --redis or --running"),
            (is_count(self.http_connections, 1, 1_000), "--http-connections must be 1 to 1000"),
        ]
    }

    /// What single scenarios need.
    fn rules_of_scenarios(&self) -> [Rule; 6] {
        use Scenario::{Burst, Idle, Jitter, Scale, Send, Signal, Storm, Waves};
        let scenario = self.scenario;
        let has_profile = self.profile.is_none() || scenario == Idle && !self.running;
        let has_rate = self.rate.is_none() || !matches!(scenario, Idle | Storm | Waves | Scale);
        let has_in_flight = self.in_flight.is_none() || !matches!(scenario, Burst | Signal | Send | Jitter);
        let has_absences = is_between(self.offline, 0.01, 3_600.0)
            && is_between(self.offline_every, 0.02, 86_400.0)
            && self.offline < self.offline_every;
        let has_signals =
            scenario != Signal || (self.typists >= 1 && self.message_bytes() <= MAX_SIGNAL_BYTES);
        [
            (has_profile, "--profile centrifugo and --profile anycable need idle, without --running"),
            (has_rate, "--rate cannot be used with idle, storm, waves and scale"),
            (has_in_flight, "--in-flight cannot be used with burst, signal, send and jitter; use --rate"),
            (has_absences, "--offline must be 0.01 to 3600, and less than --offline-every"),
            (
                scenario != Jitter || !self.baseline,
                "--baseline cannot be used with jitter: it keeps no messages",
            ),
            (has_signals, "with signal, --typists must be at least 1 and --message-bytes at most 1024"),
        ]
    }
}
