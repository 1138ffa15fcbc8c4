//! Durable publications arrive or are reported as missing, whatever fails on their way.
//!
//! Each test injects one fault while a backend publishes numbered messages. At the end each client must have received
//! every number once and in order, or a gap where numbers are missing. The result is one of those in docs/faults.md:
//! `assert_exact`, `assert_reported` or `assert_no_silent_loss`.
//!
//! - `client_faults`: the network between clients and their replica, and the clients themselves
//! - `failover_faults`: another Redis server becomes the master
//! - `flapping_link`: the link is lost each time it becomes ready
//! - `foreign_entries`: other programs write to the key of a history
//! - `history_faults`: histories are trimmed, deleted or replaced
//! - `large_histories`: many clients resume at once from a large history
//! - `link_faults`: the network between a replica and Redis
//! - `outcome`: checks the records of all clients after a fault
//! - `plan`: configures and starts the processes of a test
//! - `random_faults`: everything fails at once, at random
//! - `recovering`: clients resume while no history can be read
//! - `redis_faults`: faults of Redis and of its operators
//! - `replica_faults`: replicas of the gateway end, stop and restart

mod client_faults;
mod failover_faults;
mod flapping_link;
mod foreign_entries;
mod history_faults;
mod large_histories;
mod link_faults;
mod outcome;
mod plan;
mod random_faults;
mod recovering;
mod redis_faults;
mod replica_faults;

use std::time::{Duration, Instant};

use crate::support::deadline::eventually;
use crate::support::fault_proxy::{FaultProxy, hold};
use crate::support::gateway::{Plan as GatewayPlan, TestGateway};
use crate::support::numbered_publisher::NumberedPublisher;
use crate::support::process::SOON;
use crate::support::redis_server::RedisServer;
use crate::support::resuming_client::ResumingClient;

use outcome::{Outcome, Verdicts};
use plan::Plan;

/// The user of all clients.
const USER: &str = "42";
/// How many more numbers are published, one after the other, until all clients have received one.
const FINAL_ROUNDS: u32 = 4;
/// The channels that are published on and that all clients follow: the user's own channel and a room.
const CHANNELS: [&str; 2] = ["user:42", "public:room"];

/// Redis, replicas, clients that resume, and a backend that publishes continuously, with a fault proxy on each
/// connection. The fields are dropped in this order.
struct Delivery {
    publisher: NumberedPublisher,
    clients: Vec<ResumingClient>,
    /// The proxy between each client and its replica, in the order of the clients.
    client_proxies: Vec<FaultProxy>,
    replicas: Vec<Replica>,
    redis: RedisServer,
}

/// A gateway and the proxy between it and Redis.
struct Replica {
    /// `None` after the process has ended.
    gateway: Option<TestGateway>,
    link: FaultProxy,
    plan: GatewayPlan,
}

impl Delivery {
    /// Starts one replica with two clients, over a Redis without persistence.
    #[track_caller]
    fn start() -> Self {
        Plan::new().start()
    }

    /// Starts two replicas with two clients each.
    #[track_caller]
    fn start_two() -> Self {
        Plan::new().replicas(2).start()
    }

    /// Waits until this many more numbers are published on each channel.
    #[track_caller]
    fn publish(&self, more: u64) {
        self.publisher.wait_more(more);
    }

    /// Continues publishing for this time, however many numbers that is.
    fn publish_for(&self, time: Duration) {
        hold(time);
    }

    /// The gateway of the first replica.
    fn gateway(&self) -> &TestGateway {
        self.gateway_of(0)
    }

    fn gateway_of(&self, replica: usize) -> &TestGateway {
        self.replicas[replica].gateway.as_ref().expect("the replica runs")
    }

    /// The proxy between the first replica and Redis.
    fn link(&self) -> &FaultProxy {
        &self.replicas[0].link
    }

    /// How often the first replica has lost its link.
    fn link_losses(&self) -> usize {
        let metrics = self.gateway().metrics();
        let losses = metrics.iter().filter(|(name, _)| name.starts_with("gateway_redis_link_losses_total"));
        losses.map(|(_, count)| *count as usize).sum()
    }

    /// Waits until the first replica has lost its link more than `before` times.
    #[track_caller]
    fn wait_link_lost(&self, before: usize) {
        eventually(SOON, || (self.link_losses() > before).then_some(()));
    }

    /// Waits for the link of the first replica, injects a fault that breaks it, and waits until it is lost.
    #[track_caller]
    fn lose_link<T>(&self, fault: impl FnOnce() -> T) -> T {
        self.gateway().wait_ready();
        let before = self.link_losses();
        let result = fault();
        self.wait_link_lost(before);
        result
    }

    /// Injects a fault that ends every session, and waits until all clients have a new one.
    #[track_caller]
    fn lose_clients<T>(&mut self, fault: impl FnOnce(&mut Self) -> T) -> T {
        let before: Vec<usize> = self.clients.iter().map(ResumingClient::sessions).collect();
        let result = fault(self);
        for (client, before) in self.clients.iter().zip(before) {
            client.wait_on_all_after(before);
        }
        result
    }

    /// Disconnects the first client, runs `during`, and waits until the client has resumed. The others stay connected.
    #[track_caller]
    fn while_one_is_offline(&self, during: impl FnOnce()) {
        let (proxy, client) = (&self.client_proxies[0], &self.clients[0]);
        let before = client.sessions();
        proxy.refuse(true);
        eventually(SOON, || {
            proxy.reset_open();
            (proxy.open() == 0).then_some(())
        });
        self.publish(5);
        during();
        proxy.heal();
        client.wait_on_all_after(before);
    }

    /// Routes the next connections of a replica's clients to another replica, as a load balancer does.
    fn route_clients(&self, from: usize, to: usize) {
        let count = self.replicas.len();
        let target = self.gateway_of(to).public;
        self.client_proxies.iter().skip(from).step_by(count).for_each(|proxy| proxy.redirect(target));
    }

    /// Kills a replica, as a crash does.
    fn kill_replica(&mut self, replica: usize) {
        let mut gateway = self.replicas[replica].gateway.take().expect("the replica runs");
        gateway.signal("KILL");
        gateway.wait_exit();
    }

    /// Restarts a replica on other ports, and routes its clients to it once it is ready.
    #[track_caller]
    fn restart_replica(&mut self, replica: usize) {
        let gateway = self.replicas[replica].plan.spawn();
        gateway.wait_ready();
        self.replicas[replica].gateway = Some(gateway);
        self.route_clients(replica, replica);
    }

    /// A connection to Redis for the commands of a test.
    fn admin(&self) -> redis::Connection {
        self.redis.client()
    }

    /// Publishes more after the fault, then checks the records of all clients.
    #[track_caller]
    fn finish(self) -> Outcome {
        self.publish(5);
        self.publisher.pause();
        self.finish_paused()
    }

    /// Checks the records while the publisher is paused, when no later message can reveal a missing one. Then publishes
    /// more numbers, so that no earlier message can still be on its way, and checks again.
    #[track_caller]
    fn finish_paused(self) -> Outcome {
        let while_paused = wait_until(&self, SOON, Verdicts::are_valid);
        let mut verdicts = self.publish_and_judge();
        for _ in 1..FINAL_ROUNDS {
            if verdicts.are_valid() && verdicts.are_current() {
                break;
            }
            // The last message may also have been dropped and reported as a gap.
            verdicts = self.publish_and_judge();
        }
        while_paused.assert_valid();
        verdicts.assert_valid();
        verdicts.assert_current();
        Outcome { verdicts, delivery: self }
    }

    /// Publishes one more number, and checks when all clients have received it.
    #[track_caller]
    fn publish_and_judge(&self) -> Verdicts {
        self.publisher.resume();
        self.publisher.wait_more(1);
        self.publisher.pause();
        wait_until(self, SOON / FINAL_ROUNDS, |verdicts| verdicts.are_valid() && verdicts.are_current())
    }
}

/// Judges until `is_accepted` returns true, for at most `time`. Returns the last verdicts, because verdicts taken later
/// may find a client that is still receiving.
fn wait_until(delivery: &Delivery, time: Duration, is_accepted: impl Fn(&Verdicts) -> bool) -> Verdicts {
    let end = Instant::now() + time;
    loop {
        let verdicts = Verdicts::of(delivery);
        if is_accepted(&verdicts) || Instant::now() >= end {
            return verdicts;
        }
        hold(Duration::from_millis(5));
    }
}
