//! Numbered messages of clients under faults: the inbox has each acknowledged number once, in order.

use std::collections::HashMap;
use std::time::Duration;

use super::sender::NumberedSender;
use super::*;
use crate::support::fault_proxy::{Direction, Fault, FaultProxy};
use crate::support::gateway::Plan;

/// Arguments with which Redis loses nothing that it has acknowledged.
const WITH_DATA: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const CUTS: usize = 12;

/// Two replicas, each with one client behind a proxy. Fields are in the order in which they are dropped.
struct Sending {
    clients: Vec<NumberedSender>,
    proxies: Vec<FaultProxy>,
    replicas: Vec<TestGateway>,
    /// Between the replicas and Redis.
    link: FaultProxy,
    redis: RedisServer,
}

impl Sending {
    fn start() -> Self {
        let redis = RedisServer::start_with(&WITH_DATA);
        let link = FaultProxy::start(redis.address());
        let plan = plan(&link);
        let replicas: Vec<_> = [(); 2].map(|()| plan.spawn()).into();
        replicas.iter().for_each(TestGateway::wait_ready);
        let proxies: Vec<_> = replicas.iter().map(|replica| FaultProxy::start(replica.public)).collect();
        let client =
            |(number, proxy): (usize, &FaultProxy)| NumberedSender::start(&number.to_string(), proxy.address);
        let clients = proxies.iter().enumerate().map(client).collect();
        let run = Self { clients, proxies, replicas, link, redis };
        run.progress();
        run
    }

    /// Waits until each client has sent more messages.
    #[track_caller]
    fn progress(&self) {
        self.clients.iter().for_each(|client| client.wait(8));
    }

    /// Heals everything. Then the inbox must have each acknowledged number of each client once, in order.
    #[track_caller]
    fn finish(mut self) {
        self.link.heal();
        self.proxies.iter().for_each(FaultProxy::heal);
        self.progress();
        let acknowledged: Vec<u64> = self.clients.drain(..).map(NumberedSender::finish).collect();
        let entries: Vec<(String, HashMap<String, String>)> =
            run_line(&mut self.redis.client(), &format!("XRANGE {STREAM} - +"));
        for (user, last) in acknowledged.into_iter().enumerate() {
            let of_user = entries.iter().filter(|(_, fields)| fields["user"] == user.to_string());
            let stored: Vec<u64> = of_user.map(|(_, fields)| fields["message"].parse().unwrap()).collect();
            assert!(last >= 16 && stored.len() as u64 >= last, "{last} of {stored:?}");
            let all: Vec<u64> = (1..=stored.len() as u64).collect();
            assert_eq!(stored, all, "user {user}");
        }
    }
}

fn plan(link: &FaultProxy) -> Plan {
    sessions::plan()
        .with("broker.url", &format!("redis://{}", link.address))
        .with("broker.response_timeout", "500ms")
        .with("broker.probe_interval", "100ms")
        .with("broker.probe_timeout", "500ms")
        .with("broker.max_reconnect_delay", "200ms")
        .with("session.messages_per_minute", "0")
}

#[test]
fn clients_are_cut_at_any_byte() {
    let run = Sending::start();
    for cut in 0..CUTS {
        for (proxy, client) in run.proxies.iter().zip(&run.clients) {
            // The handshake and Identify take a few hundred bytes each way.
            let direction = if cut % 2 == 0 { Direction::ToServer } else { Direction::ToClient };
            let (broken, connections) = (proxy.broken(), client.connections());
            proxy.set(direction, Fault::CutAfter(rand::random_range(1..600)));
            proxy.wait_broken(broken);
            proxy.heal();
            eventually_eq(SOON, &true, || client.connections() > connections);
        }
        run.clients.iter().for_each(|client| client.wait(4));
    }
    run.finish();
}

#[test]
fn a_replica_is_killed_while_clients_send() {
    let mut run = Sending::start();
    for _ in 0..2 {
        let mut victim = run.replicas.remove(0);
        victim.signal("KILL");
        victim.wait_exit();
        let survivor = run.replicas[0].public;
        run.proxies.iter().for_each(|proxy| proxy.redirect(survivor));
        run.replicas.push(plan(&run.link).spawn());
        run.progress();
    }
    run.finish();
}

#[test]
fn redis_is_killed_while_clients_send() {
    let mut run = Sending::start();
    for _ in 0..3 {
        run.redis.kill();
        run.redis.restart();
        run.progress();
    }
    run.finish();
}

#[test]
fn the_link_breaks_while_clients_send() {
    let run = Sending::start();
    for fault in [
        Fault::Reset,
        Fault::CutAfter(rand::random_range(1..2_000)),
        Fault::BlackHole,
        Fault::Delay(Duration::from_millis(600)),
    ] {
        for direction in [Direction::ToServer, Direction::ToClient] {
            run.link.set(direction, fault);
            crate::support::fault_proxy::hold(Duration::from_millis(700));
            run.link.heal();
            run.progress();
        }
    }
    run.finish();
}
