//! The processes of a test: a cluster, two gateways with their clients, and the backends.

use std::time::{Duration, Instant};

use redis::cmd;

use super::faults::Fault;
use super::judged::Judgement;
use super::publishers::{Publisher, Transport};
use super::readiness::ReadinessWatch;
use crate::support::cluster::{TestCluster, slot_of};
use crate::support::deadline::eventually_eq;
use crate::support::fault_proxy::hold;
use crate::support::gateway::TestGateway;
use crate::support::process::SOON;
use crate::support::resuming_client::{ClientOptions, ResumingClient};

const GATEWAYS: usize = 2;
const CLIENTS: usize = 4;
/// Eight backends with three durable channels each publish 1 000 messages a second together.
const BACKENDS: usize = 8;
const CHANNELS_EACH: usize = 3;
const PACE: Duration = Duration::from_millis(24);
const PLAIN_CHANNELS: usize = 6;
/// A Gap of plain messages may come 10 s after the loss.
const GAP_TIMEOUT: Duration = Duration::from_secs(15);

/// How the gateway's names are put into slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    OneSlot,
    Slots,
}

impl Layout {
    fn setting(self) -> &'static str {
        match self {
            Self::OneSlot => "one",
            Self::Slots => "slots",
        }
    }

    /// The key of a channel's history, which is also its name in Redis.
    pub(super) fn key(self, channel: &str) -> String {
        match self {
            Self::OneSlot => format!("{{gateway}}:{channel}"),
            Self::Slots => format!("gateway:{channel}"),
        }
    }
}

/// All processes. The fields are dropped in this order.
pub(super) struct Run {
    pub(super) started: Instant,
    pub(super) durable: Vec<Publisher>,
    pub(super) http: Publisher,
    pub(super) plain: Publisher,
    pub(super) clients: Vec<ResumingClient>,
    pub(super) watches: Vec<ReadinessWatch>,
    gateways: Vec<TestGateway>,
    pub(super) cluster: TestCluster,
    layout: Layout,
    /// The times at which no fault lasted and both gateways were ready.
    pub(super) calm: Vec<(Instant, Instant)>,
    calm_since: Instant,
    report: Vec<String>,
}

impl Run {
    /// Starts everything and publishes some numbers.
    #[track_caller]
    pub(super) fn start(layout: Layout) -> Self {
        let cluster = TestCluster::start(3, 1);
        let gateways: Vec<_> = (0..GATEWAYS).map(|_| gateway(layout, &cluster)).collect();
        gateways.iter().for_each(TestGateway::wait_ready);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| ResumingClient::start(gateways[client % GATEWAYS].public, options(client)))
            .collect();
        clients.iter().for_each(ResumingClient::wait_on_all);
        let watches = gateways.iter().map(|gateway| ReadinessWatch::start(gateway.admin)).collect();
        let durable = (0..BACKENDS).map(|backend| {
            let channels = rooms().skip(backend * CHANNELS_EACH).take(CHANNELS_EACH).collect();
            Publisher::start(layout, Transport::Durable(cluster.client()), channels, PACE)
        });
        let durable = durable.collect();
        let admins = gateways.iter().map(|gateway| gateway.admin).collect();
        let http = Publisher::start(layout, Transport::Http(admins), users().collect(), PACE * 2);
        let plain = Transport::Plain(cluster.client());
        let plain = Publisher::start(layout, plain, plain_channels().collect(), PACE);
        let (calm, now) = (Vec::new(), Instant::now());
        let report = Vec::new();
        let run = Self {
            started: now,
            durable,
            http,
            plain,
            clients,
            watches,
            gateways,
            cluster,
            layout,
            calm,
            calm_since: now,
            report,
        };
        run.publish(10);
        run
    }

    /// Injects a fault, and waits until the gateways are ready and deliver.
    #[track_caller]
    pub(super) fn survive(&mut self, fault: Fault) {
        self.calm.push((self.calm_since, Instant::now()));
        let began = Instant::now();
        fault.inject(self);
        let whole = Instant::now();
        self.gateways.iter().for_each(TestGateway::wait_ready);
        self.calm_since = Instant::now();
        let (at, lasted, ready) = (began - self.started, whole - began, self.calm_since - whole);
        let line = format!("{fault:?}: at {at:?} for {lasted:?}, then ready after {ready:?}");
        print(&line);
        self.report.push(line);
        self.publish(10);
    }

    /// Waits until each backend has sent this many more numbers to each of its channels.
    #[track_caller]
    pub(super) fn publish(&self, more: u64) {
        let aims: Vec<_> = self.publishers().map(|publisher| (publisher, publisher.sent() + more)).collect();
        aims.into_iter().for_each(|(publisher, aim)| publisher.wait_sent(aim));
    }

    /// Sets the number of Redis replicas that a durable message must be on.
    pub(super) fn set_copies(&self, copies: u32) {
        self.durable.iter().for_each(|publisher| publisher.set_copies(copies));
    }

    /// Slots with channels, all of one owner.
    pub(super) fn busy_slots(&self) -> Vec<u16> {
        let mut slots: Vec<u16> = self
            .publishers()
            .flat_map(Publisher::channels)
            .map(|channel| slot_of(&self.layout.key(channel)))
            .collect();
        slots.sort_unstable();
        slots.dedup();
        // Different slots for each fault.
        let at = self.calm.len() % slots.len();
        slots.rotate_left(at);
        let owned = self.cluster.slots_of(self.cluster.owner(slots[0]));
        slots.retain(|slot| owned.contains(slot));
        slots
    }

    pub(super) fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.durable.iter().chain([&self.http, &self.plain])
    }

    /// Stops publishing and checks the records of all clients.
    #[track_caller]
    pub(super) fn finish(mut self) {
        self.publish(10);
        self.calm.push((self.calm_since, Instant::now()));
        self.publishers().for_each(Publisher::pause);
        let end = Instant::now() + GAP_TIMEOUT;
        let judgement = loop {
            let judgement = Judgement::of(&self);
            if judgement.is_good() || Instant::now() >= end {
                break judgement;
            }
            hold(Duration::from_millis(50));
        };
        print(&judgement.summary());
        self.watches.iter().for_each(|watch| print(&watch.describe(self.started)));
        assert!(judgement.is_good(), "{}\n{}", self.report.join("\n"), judgement.describe(&self));
        self.assert_no_link_left();
    }

    /// Checks that each gateway subscribes over one connection to each master it needs, and at no other node.
    #[track_caller]
    fn assert_no_link_left(&self) {
        let masters = match self.layout {
            Layout::OneSlot => vec![self.cluster.owner_of_key(&self.layout.key("any"))],
            Layout::Slots => self.cluster.masters(),
        };
        let expected: Vec<_> = self
            .cluster
            .members()
            .map(|node| (node, if masters.contains(&node) { GATEWAYS } else { 0 }))
            .collect();
        eventually_eq(SOON, &expected, || {
            self.cluster.members().map(|node| (node, self.subscribers(node))).collect()
        });
    }

    /// The number of connections to a node that subscribe.
    fn subscribers(&self, node: usize) -> usize {
        let mut connection = self.cluster.connection(node);
        let list: String =
            cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub").query(&mut connection).unwrap();
        list.lines().count()
    }
}

fn gateway(layout: Layout, cluster: &TestCluster) -> TestGateway {
    TestGateway::with("broker.url", &cluster.url())
        .with("broker.shards", layout.setting())
        .with("broker.probe_interval", "100ms")
        // A busy machine may stall for seconds.
        .with("broker.probe_timeout", "10s")
        .with("broker.connect_timeout", "5s")
        .with("broker.response_timeout", "5s")
        .with("broker.min_reconnect_delay", "10ms")
        .with("broker.max_reconnect_delay", "100ms")
        .with("broker.history_check_interval", "1s")
        .with("broker.history_size", "100000")
        .with("session.heartbeat_interval", "500ms")
        .with("session.messages_per_minute", "0")
        .with("session.max_recovered_messages", "100000")
        .with("session.max_outbound_bytes", "16777216")
        .with("channels.public_namespaces", "public")
        .with("drain.delay", "0s")
        .with("drain.window", "200ms")
        .spawn()
}

/// Each client follows its user, all plain channels and every other room, so that each room has a client at each
/// gateway.
fn options(client: usize) -> ClientOptions {
    let own_rooms = rooms().skip(client / GATEWAYS % 2).step_by(2);
    let plain: Vec<String> = plain_channels().collect();
    let own = format!("user:{client}");
    ClientOptions {
        user: client.to_string(),
        channels: own_rooms.chain(plain.clone()).chain([own]).collect(),
        plain,
        subscribes_late: false,
        seed: client as u64,
    }
}

fn rooms() -> impl Iterator<Item = String> {
    (0..BACKENDS * CHANNELS_EACH).map(|room| format!("public:room-{room}"))
}

fn users() -> impl Iterator<Item = String> {
    (0..CLIENTS).map(|client| format!("user:{client}"))
}

fn plain_channels() -> impl Iterator<Item = String> {
    (0..PLAIN_CHANNELS).map(|channel| format!("public:plain-{channel}"))
}

#[allow(clippy::print_stdout, reason = "scripts/cluster-fault-runs shows the lines")]
fn print(line: &str) {
    println!("{line}");
}
