//! The faults of a run, drawn from its seed: three concurrent sequences for Redis, replicas and clients.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use redis::{RedisResult, cmd};

use super::super::Replica;
use super::{Addresses, FaultWindow};
use crate::support::fault_proxy::FaultProxy;
use crate::support::redis_server::RedisServer;
use crate::support::resuming_client::ResumingClient;

/// Faults last for less and for more than `broker.probe_timeout`, which is 700 ms in these tests.
const LONGEST_MS: u64 = 1_500;

fn random_time(rng: &mut StdRng, longest_ms: u64) -> Duration {
    Duration::from_millis(rng.random_range(10..=longest_ms))
}

/// Redis is killed and restarted with its data, stopped and paused, and its connections are killed.
pub(super) struct RedisFaults<'a> {
    rng: StdRng,
    redis: &'a mut RedisServer,
}

impl<'a> RedisFaults<'a> {
    pub(super) fn new(seed: u64, redis: &'a mut RedisServer) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), redis }
    }

    pub(super) fn run(mut self, window: FaultWindow) {
        while !window.is_over() {
            self.inject(window);
            window.hold(random_time(&mut self.rng, 1_000));
        }
    }

    fn inject(&mut self, window: FaultWindow) {
        let lasts = random_time(&mut self.rng, LONGEST_MS);
        match self.rng.random_range(0..6) {
            0 => {
                self.redis.kill();
                window.hold(lasts);
                self.redis.restart();
            }
            1 => {
                self.redis.stop();
                window.hold(lasts);
                self.redis.cont();
            }
            2 => self.run_command(&["PAUSE", &lasts.as_millis().to_string(), "ALL"]),
            3 => self.run_command(&["PAUSE", &lasts.as_millis().to_string(), "WRITE"]),
            4 => self.run_command(&["KILL", "TYPE", "pubsub"]),
            _ => self.run_command(&["KILL", "TYPE", "normal"]),
        }
    }

    /// Runs a subcommand of CLIENT. If Redis is paused, the answer arrives after the pause.
    fn run_command(&self, words: &[&str]) {
        let result: RedisResult<()> =
            self.redis.try_client().and_then(|mut client| cmd("CLIENT").arg(words).exec(&mut client));
        result.unwrap();
    }
}

/// Replicas are killed, drained and stopped, and restarted, whether or not Redis is available.
pub(super) struct ReplicaFaults<'a> {
    rng: StdRng,
    replicas: &'a mut [Replica],
    addresses: &'a Addresses,
}

impl<'a> ReplicaFaults<'a> {
    pub(super) fn new(seed: u64, replicas: &'a mut [Replica], addresses: &'a Addresses) -> Self {
        Self { rng: StdRng::seed_from_u64(seed.wrapping_add(1 << 32)), replicas, addresses }
    }

    pub(super) fn run(mut self, window: FaultWindow) {
        while !window.is_over() {
            window.hold(random_time(&mut self.rng, 1_000));
            self.inject(window);
        }
    }

    fn inject(&mut self, window: FaultWindow) {
        let number = self.rng.random_range(0..self.replicas.len());
        let replica = &mut self.replicas[number];
        let lasts = random_time(&mut self.rng, LONGEST_MS);
        let mut gateway = replica.gateway.take().expect("the replica runs");
        let kind = self.rng.random_range(0..4);
        if kind == 0 {
            gateway.signal("STOP");
            window.hold(lasts);
            gateway.signal("CONT");
            replica.gateway = Some(gateway);
            return;
        }
        gateway.signal(if kind == 1 { "TERM" } else { "KILL" });
        gateway.wait_exit();
        window.hold(lasts);
        let gateway = replica.plan.spawn();
        self.addresses.lock().unwrap()[number] = gateway.public;
        replica.gateway = Some(gateway);
    }
}

/// Clients are cut, and their next connections are routed to any replica.
pub(super) struct ClientFaults<'a> {
    rng: StdRng,
    clients: &'a [ResumingClient],
    client_proxies: &'a [FaultProxy],
    addresses: &'a Addresses,
}

impl<'a> ClientFaults<'a> {
    pub(super) fn new(
        seed: u64,
        clients: &'a [ResumingClient],
        client_proxies: &'a [FaultProxy],
        addresses: &'a Addresses,
    ) -> Self {
        Self { rng: StdRng::seed_from_u64(seed.wrapping_add(2 << 32)), clients, client_proxies, addresses }
    }

    pub(super) fn run(mut self, window: FaultWindow) {
        while !window.is_over() {
            let client = self.rng.random_range(0..self.clients.len());
            self.reroute_all();
            if self.rng.random_bool(0.3) {
                self.clients[client].cut();
            }
            window.hold(random_time(&mut self.rng, 200));
        }
    }

    fn reroute_all(&mut self) {
        let addresses = self.addresses.lock().unwrap().clone();
        for proxy in self.client_proxies {
            proxy.redirect(addresses[self.rng.random_range(0..addresses.len())]);
        }
    }
}
