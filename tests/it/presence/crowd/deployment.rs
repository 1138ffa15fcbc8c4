//! Three replicas, each behind a proxy to Redis, and the clients of a crowd.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::plan;
use super::kind::Kind;
use super::observer::Observer;
use super::oracle::{self, Arrivals};
use crate::support::client::Client;
use crate::support::fault_proxy::{Fault, FaultProxy, hold};
use crate::support::gateway::{Plan, TestGateway};
use crate::support::redis_server::RedisServer;

const REPLICAS: usize = 3;

/// What happens to a replica, or to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// SIGKILL. Another replica takes its place.
    Kill,
    /// SIGTERM. Another replica takes its place.
    Drain,
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// The link to Redis is silent for a while.
    SilentCut,
    /// The link to Redis is slow for a while.
    SlowLink,
    /// The link to Redis is reset, and refused for a while.
    RefusedCut,
    /// The link to Redis is reset once.
    Reset,
    /// Redis ends all connections that send commands.
    KillConnections,
    /// Redis is killed and restarted, with or without its data.
    RestartRedis,
}

impl Disturbance {
    pub(super) const ALL: [Self; 9] = [
        Self::Stop,
        Self::Kill,
        Self::SilentCut,
        Self::RestartRedis,
        Self::RefusedCut,
        Self::Drain,
        Self::Reset,
        Self::KillConnections,
        Self::SlowLink,
    ];
}

pub(super) struct Replica {
    /// The client of each slot of the kind.
    clients: Vec<Option<Arrived>>,
    pub(super) gateway: TestGateway,
    proxy: FaultProxy,
    /// A disturbance that lasts, and its end.
    lasting: Option<(Disturbance, Instant)>,
}

/// A client, what it has requested, and what the gateway has confirmed.
struct Arrived {
    client: Client,
    is_present: bool,
    /// Whether the gateway has confirmed the latest arrival.
    is_confirmed: bool,
    /// How often the client has left since the latest confirmation, and stayed connected.
    departures: usize,
}

impl Arrived {
    fn wait(&mut self, kind: &Kind) {
        (kind.wait_arrived)(&mut self.client, self.departures);
        (self.is_confirmed, self.departures) = (true, 0);
    }

    fn enter_channel(mut self, channel: &str) -> Self {
        self.client.send_text(&format!(r#"{{"op":4,"channel":"{channel}"}}"#));
        Self { is_present: true, is_confirmed: false, ..self }
    }

    /// The client stays connected.
    fn leave_channel(mut self, channel: &str) -> Self {
        self.client.send_text(&format!(r#"{{"op":5,"channel":"{channel}"}}"#));
        Self { is_present: false, departures: self.departures + 1, ..self }
    }
}

impl Replica {
    /// The slots that are present.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        let is_present = |client: &Option<Arrived>| client.as_ref().is_some_and(|client| client.is_present);
        (0..).zip(&self.clients).filter(move |(_, client)| is_present(client)).map(|(slot, _)| slot)
    }
}

/// A deployment with a crowd.
pub(super) struct Crowd {
    kind: &'static Kind,
    pub(super) replicas: Vec<Replica>,
    plan: Plan,
    arrivals: Arrivals,
    pub(super) observer: Observer,
    random: SmallRng,
    is_persistent: bool,
    pub(super) redis: RedisServer,
}

impl Crowd {
    pub(super) fn start(kind: &'static Kind, seed: u64) -> Self {
        // The disturbances of a seed depend on its remainder by their number.
        let round = seed / Disturbance::ALL.len() as u64;
        let is_persistent = round.is_multiple_of(2);
        let redis = if is_persistent {
            RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
        } else {
            RedisServer::start()
        };
        let grace = ["0s", "300ms"][(round / 2 % 2) as usize];
        let plan = plan(&redis, grace)
            .with("broker.probe_timeout", "3s")
            .with("session.heartbeat_interval", "1h")
            .with("drain.delay", "0s")
            .with("drain.window", "200ms");
        let plan = kind.settings.iter().fold(plan, |plan, (key, value)| plan.with(key, value));
        let observer = Observer::start(kind, &redis);
        let random = SmallRng::seed_from_u64(seed);
        let arrivals = Arrivals::new();
        let mut crowd =
            Self { kind, replicas: Vec::new(), plan, arrivals, observer, random, is_persistent, redis };
        for _ in 0..REPLICAS {
            let proxy = FaultProxy::start(crowd.redis.address());
            let gateway = crowd.spawn(&proxy);
            let clients = (0..kind.slots).map(|_| None).collect();
            crowd.replicas.push(Replica { clients, gateway, proxy, lasting: None });
        }
        crowd.replicas.iter().for_each(|replica| replica.gateway.wait_ready());
        crowd
    }

    fn spawn(&self, proxy: &FaultProxy) -> TestGateway {
        self.plan.clone().with("broker.url", &format!("redis://{}", proxy.address)).spawn()
    }

    /// Comes and goes for some time. `disturbances` begin one after the other.
    pub(super) fn churn(&mut self, time: Duration, disturbances: &[Disturbance]) {
        let start = Instant::now();
        let mut disturbances = disturbances.iter().enumerate();
        let mut next = disturbances.next();
        while start.elapsed() < time || self.replicas.iter().any(|replica| replica.lasting.is_some()) {
            if let Some((index, disturbance)) = next
                && start.elapsed() > Duration::from_secs(1 + 2 * index as u64)
            {
                self.disturb(*disturbance);
                next = disturbances.next();
            }
            self.end_disturbances();
            self.toggle();
            // Some come and go at once, others with pauses.
            if self.random.random_bool(0.7) {
                hold(Duration::from_millis(self.random.random_range(0..60)));
            }
        }
    }

    /// Delays all that the replicas send to Redis, and its answers.
    pub(super) fn delay_links(&self, delay: Duration) {
        self.replicas.iter().for_each(|replica| replica.proxy.set_both(Fault::Delay(delay)));
    }

    fn disturb(&mut self, disturbance: Disturbance) {
        let index = self.random.random_range(0..REPLICAS);
        if self.replicas[index].lasting.is_some() {
            return;
        }
        // Longer or shorter than a lease.
        let lasts = self.random.random_range(200..=1_500) + [0_u64, 5_200][self.random.random_range(0..2)];
        let end = Instant::now() + Duration::from_millis(lasts);
        let replica = &mut self.replicas[index];
        match disturbance {
            Disturbance::Kill => self.replace(index, "KILL"),
            Disturbance::Drain => self.replace(index, "TERM"),
            Disturbance::Stop => {
                replica.gateway.signal("STOP");
                replica.lasting = Some((disturbance, end));
            }
            Disturbance::SilentCut => {
                replica.proxy.set_both(Fault::BlackHole);
                replica.lasting = Some((disturbance, end));
            }
            Disturbance::SlowLink => {
                replica.proxy.set_both(Fault::Delay(Duration::from_millis(200)));
                replica.lasting = Some((disturbance, end));
            }
            Disturbance::RefusedCut => {
                replica.proxy.refuse(true);
                replica.proxy.reset_open();
                replica.lasting = Some((disturbance, end));
            }
            Disturbance::Reset => replica.proxy.reset_open(),
            Disturbance::KillConnections => {
                redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).exec(&mut self.redis.client()).unwrap();
            }
            Disturbance::RestartRedis => self.restart_redis(),
        }
    }

    fn end_disturbances(&mut self) {
        for replica in &mut self.replicas {
            let Some((disturbance, end)) = replica.lasting else { continue };
            if Instant::now() < end {
                continue;
            }
            match disturbance {
                Disturbance::Stop => replica.gateway.signal("CONT"),
                _ => replica.proxy.heal(),
            }
            replica.lasting = None;
        }
    }

    /// Ends a replica by a signal, and starts another one in its place.
    fn replace(&mut self, index: usize, signal: &str) {
        let replica = &mut self.replicas[index];
        replica.gateway.signal(signal);
        replica.gateway.wait_exit();
        replica.clients.iter_mut().for_each(|client| *client = None);
        self.replicas[index].gateway = self.spawn(&self.replicas[index].proxy);
        self.replicas[index].gateway.wait_ready();
    }

    fn restart_redis(&mut self) {
        let edges = oracle::read_edges(self.kind, &mut self.redis.client());
        self.redis.kill();
        hold(Duration::from_millis(self.random.random_range(0..1_000)));
        if !self.is_persistent {
            let observed = self.observer.observed();
            oracle::check_edges(&edges, &self.arrivals, &observed);
            oracle::check_heard(&edges, &observed, false);
            self.arrivals.clear();
            self.observer.begin_again();
        }
        self.redis.restart();
    }

    /// One of the crowd comes to a replica, or leaves it.
    fn toggle(&mut self) {
        let (index, slot) =
            (self.random.random_range(0..REPLICAS), self.random.random_range(0..self.kind.slots));
        let may_wait = self.random.random_bool(0.3);
        let (kind, replica) = (self.kind, &mut self.replicas[index]);
        let lasting = replica.lasting.map(|(disturbance, _)| disturbance);
        let mut arrived = match replica.clients[slot].take() {
            Some(arrived) if arrived.is_present => {
                let stays = kind.is_channel && self.random.random_bool(0.5);
                replica.clients[slot] = stays.then(|| arrived.leave_channel(&(kind.name)(slot)));
                return;
            }
            Some(arrived) => arrived.enter_channel(&(kind.name)(slot)),
            None if lasting == Some(Disturbance::Stop) => return,
            None => {
                let client = (kind.arrive)(&replica.gateway, slot);
                Arrived { client, is_present: true, is_confirmed: false, departures: 0 }
            }
        };
        if may_wait && lasting.is_none() {
            arrived.wait(kind);
        }
        *self.arrivals.entry((kind.name)(slot)).or_default() += 1;
        replica.clients[slot] = Some(arrived);
    }

    /// Waits until the replicas have confirmed all who came.
    pub(super) fn wait_arrived(&mut self) {
        let clients = self.replicas.iter_mut().flat_map(|replica| replica.clients.iter_mut().flatten());
        for arrived in clients.filter(|arrived| arrived.is_present && !arrived.is_confirmed) {
            arrived.wait(self.kind);
        }
    }

    /// All leave.
    pub(super) fn leave(&mut self) {
        let clients = self.replicas.iter_mut().flat_map(|replica| &mut replica.clients);
        clients.for_each(|client| *client = None);
    }

    /// On how many replicas each name is.
    pub(super) fn truth(&self) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for replica in &self.replicas {
            let names: BTreeSet<String> = replica.slots().map(self.kind.name).collect();
            names.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
        }
        counts
    }

    /// How often each name has come.
    pub(super) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    pub(super) fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    pub(super) fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }
}
