//! Replicas that die, stop or lose Redis: the edges of each user stay exact.

use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::support::client::Client;

#[test]
fn a_killed_replica_is_buried_and_its_users_go_offline_once() {
    let redis = RedisServer::start();
    let (gateway, mut dying) = (plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn());
    let mut backend = redis.client();
    for replica in [&gateway, &dying] {
        replica.wait_ready();
    }
    let _stays = gateway.ready_client("1");
    let _both = (gateway.ready_client("2"), dying.ready_client("2"));
    let _dies = dying.ready_client("3");
    wait_online(&mut backend, "2", Some(2));
    wait_online(&mut backend, "3", Some(1));
    dying.signal("KILL");
    dying.wait_exit();
    wait_online(&mut backend, "3", None);
    wait_online(&mut backend, "2", Some(1));
    assert_edges(&mut backend, "1", &["online"]);
    assert_edges(&mut backend, "2", &["online"]);
    assert_edges(&mut backend, "3", &["online", "offline"]);
    gateway.wait_metric_above("presence_burials_total", 0);
}

#[test]
fn the_metrics_show_the_lease_and_the_reports() {
    let mut redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    gateway.wait_metric("presence_lease", 1);
    assert_eq!(gateway.metric("presence_enabled"), 1);
    let _client = gateway.ready_client("1");
    gateway.wait_metric("presence_reports_total", 1);
    redis.kill();
    gateway.wait_metric("presence_lease", 0);
    redis.restart();
    gateway.wait_metric("presence_lease", 1);
    let off = TestGateway::redis(&redis).spawn();
    off.wait_ready();
    assert_eq!(off.metric("presence_enabled") + off.metric("presence_lease"), 0);
}

#[test]
fn a_replica_that_was_stopped_beyond_its_lease_enters_again() {
    let redis = RedisServer::start();
    let (gateway, stopped) = (plan(&redis, "0s").spawn(), plan(&redis, "0s").spawn());
    let mut backend = redis.client();
    for replica in [&gateway, &stopped] {
        replica.wait_ready();
    }
    let _client = stopped.ready_client("3").answering_heartbeats();
    wait_online(&mut backend, "3", Some(1));
    stopped.signal("STOP");
    wait_online(&mut backend, "3", None);
    stopped.signal("CONT");
    wait_online(&mut backend, "3", Some(1));
    assert_edges(&mut backend, "3", &["online", "offline", "online"]);
}

#[test]
fn a_redis_that_lost_everything_gets_all_users_again() {
    let mut redis = RedisServer::start();
    let gateway = plan(&redis, "0s").spawn();
    gateway.wait_ready();
    let _clients = ["1", "2"].map(|user| gateway.ready_client(user));
    wait_online(&mut redis.client(), "2", Some(1));
    redis.kill();
    redis.restart();
    gateway.wait_ready();
    for user in ["1", "2"] {
        wait_online(&mut redis.client(), user, Some(1));
        assert_edges(&mut redis.client(), user, &["online"]);
    }
}

/// The leases of both replicas have lapsed when Redis is back, and one replica connects seconds after the other.
#[test]
fn users_stay_online_over_a_downtime_of_redis() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let slow = |delay| {
        let plan = plan(&redis, "0s").with("broker.max_reconnect_delay", "3s");
        plan.with("broker.min_reconnect_delay", delay).spawn()
    };
    let gateways = [slow("300ms"), slow("3s")];
    let clients = gateways.each_ref().map(|gateway| {
        gateway.wait_ready();
        gateway.ready_client(&gateway.public.port().to_string()).answering_heartbeats()
    });
    let users = gateways.each_ref().map(|gateway| gateway.public.port().to_string());
    users.iter().for_each(|user| wait_online(&mut redis.client(), user, Some(1)));
    redis.kill();
    redis.restart();
    let mut backend = redis.client();
    let leases: Vec<String> =
        redis::cmd("ZRANGE").arg("gateway:{presence}:replicas").arg(0).arg(-1).query(&mut backend).unwrap();
    for lease in &leases {
        redis::cmd("ZADD").arg("gateway:{presence}:replicas").arg(1).arg(lease).exec(&mut backend).unwrap();
    }
    for lease in leases {
        eventually_eq(BURIAL, &None::<f64>, || {
            redis::cmd("ZSCORE").arg("gateway:{presence}:replicas").arg(&lease).query(&mut backend).unwrap()
        });
    }
    for user in &users {
        wait_online(&mut backend, user, Some(1));
        assert_edges(&mut backend, user, &["online"]);
    }
    drop(clients);
}

/// Users that come and go at random, while replicas are killed and stopped.
struct Crowd {
    clients: Vec<Vec<Option<Client>>>,
    replicas: Vec<Option<TestGateway>>,
    redis: RedisServer,
    random: SmallRng,
}

const USERS: usize = 6;

impl Crowd {
    fn start(seed: u64) -> Self {
        let redis = RedisServer::start();
        let replicas = (0..3).map(|_| Some(plan(&redis, "0s").spawn())).collect();
        let clients = (0..3).map(|_| (0..USERS).map(|_| None).collect()).collect();
        let crowd = Self { redis, replicas, clients, random: SmallRng::seed_from_u64(seed) };
        crowd.replicas.iter().flatten().for_each(TestGateway::wait_ready);
        crowd
    }

    fn step(&mut self) {
        let replica = self.random.random_range(0..self.replicas.len());
        match self.random.random_range(0..40) {
            0 => self.kill(replica),
            1 => {
                redis::cmd("CLIENT")
                    .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
                    .exec(&mut self.redis.client())
                    .unwrap();
            }
            _ => self.toggle(replica),
        }
    }

    /// Kills a replica, and starts one in its place.
    fn kill(&mut self, replica: usize) {
        if let Some(mut gateway) = self.replicas[replica].take() {
            gateway.signal("KILL");
            gateway.wait_exit();
        }
        self.clients[replica].iter_mut().for_each(|client| *client = None);
        let gateway = plan(&self.redis, "0s").spawn();
        gateway.wait_ready();
        self.replicas[replica] = Some(gateway);
    }

    fn toggle(&mut self, replica: usize) {
        let user = self.random.random_range(0..USERS);
        let Some(gateway) = &self.replicas[replica] else { return };
        let client = &mut self.clients[replica][user];
        *client = match client.take() {
            Some(_) => None,
            None => Some(gateway.ready_client(&user.to_string())),
        };
    }

    /// On how many replicas a user has a session.
    fn truth(&self, user: usize) -> Option<u32> {
        let count = self.clients.iter().filter(|clients| clients[user].is_some()).count() as u32;
        (count > 0).then_some(count)
    }
}

/// Edges alternate, begin with online and end in the truth; counts are those of the living replicas.
fn run_crowd(seed: u64, time: Duration) {
    let mut crowd = Crowd::start(seed);
    let end = Instant::now() + time;
    while Instant::now() < end {
        crowd.step();
    }
    let mut backend = crowd.redis.client();
    let names: Vec<String> = (0..USERS).map(|user| user.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let truth: Vec<Option<u32>> = (0..USERS).map(|user| crowd.truth(user)).collect();
    eventually_eq(BURIAL, &truth, || online(&mut backend, &names));
    let all = edges(&mut backend);
    for (user, states) in &all {
        let expected = ["online", "offline"].into_iter().cycle().take(states.len());
        assert!(states.iter().eq(expected), "seed {seed}: user {user} has {states:?}");
        let is_online = truth[user.parse::<usize>().unwrap()].is_some();
        assert_eq!(states.len() % 2 == 1, is_online, "seed {seed}: user {user} ends with {states:?}");
    }
    let waiting: usize =
        redis::cmd("ZCARD").arg("gateway:{presence}:leaving:users").query(&mut backend).unwrap();
    assert_eq!(waiting, 0, "seed {seed}");
}

#[test]
fn edges_stay_exact_while_replicas_are_killed_at_random() {
    let seeds = std::env::var("PRESENCE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for seed in 1..=seeds {
        run_crowd(seed, Duration::from_secs(6));
    }
}
