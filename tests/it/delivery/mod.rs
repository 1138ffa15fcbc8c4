//! What is published durably arrives: numbered messages are published while something breaks, and in the end each
//! client has heard every number once and in order, or was told at the very place that something may be missing.
//!
//! Each test is one fault. `assert_exact` asks for everything without a word about gaps, wherever that can be done;
//! `assert_reported` is for faults that destroy what was published, and asks that nobody is left to believe otherwise.

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

/// The user that all clients are sessions of.
const USER: &str = "42";
/// The interval of further numbers until all clients have received one.
const FINAL_ROUNDS: u32 = 4;
/// What all clients follow, and what is published on: the user's own channel and a room.
const CHANNELS: [&str; 2] = ["user:42", "public:room"];

/// Redis, replicas, clients that resume, and a publisher that does not stop, with a proxy on every line. What it
/// consists of is dropped in this order.
struct Delivery {
    publisher: NumberedPublisher,
    clients: Vec<ResumingClient>,
    /// In front of each client's replica, in the order of the clients.
    client_proxies: Vec<FaultProxy>,
    replicas: Vec<Replica>,
    redis: RedisServer,
}

/// A gateway and its own line to Redis.
struct Replica {
    /// `None` when it was killed.
    gateway: Option<TestGateway>,
    link: FaultProxy,
    plan: GatewayPlan,
}

impl Delivery {
    /// One replica with two clients over one Redis that keeps nothing on disk; it has begun.
    #[track_caller]
    fn start() -> Self {
        Plan::new().start()
    }

    /// Two replicas with two clients each.
    #[track_caller]
    fn start_two() -> Self {
        Plan::new().replicas(2).start()
    }

    /// Lets so many more numbers be published on each channel.
    #[track_caller]
    fn publish(&self, more: u64) {
        self.publisher.wait_more(more);
    }

    /// Lets publishing go on for a while, however far it comes.
    fn publish_for(&self, time: Duration) {
        hold(time);
    }

    /// The only gateway, or the first one.
    fn gateway(&self) -> &TestGateway {
        self.gateway_of(0)
    }

    fn gateway_of(&self, replica: usize) -> &TestGateway {
        self.replicas[replica].gateway.as_ref().expect("it runs")
    }

    /// The line between the first replica and Redis.
    fn link(&self) -> &FaultProxy {
        &self.replicas[0].link
    }

    /// How often the link of the first replica was lost.
    fn link_losses(&self) -> usize {
        let metrics = self.gateway().metrics();
        let losses = metrics.iter().filter(|(name, _)| name.starts_with("gateway_redis_link_losses_total"));
        losses.map(|(_, count)| *count as usize).sum()
    }

    /// Waits until the first replica's link was lost more often than `before`.
    #[track_caller]
    fn wait_link_lost(&self, before: usize) {
        eventually(SOON, || (self.link_losses() > before).then_some(()));
    }

    /// Once the link is up, does something that costs it, and waits until it is lost.
    #[track_caller]
    fn lose_link<T>(&self, fault: impl FnOnce() -> T) -> T {
        self.gateway().wait_ready();
        let before = self.link_losses();
        let result = fault();
        self.wait_link_lost(before);
        result
    }

    /// Does something that costs every client its session, and waits until they are all back.
    #[track_caller]
    fn lose_clients<T>(&mut self, fault: impl FnOnce(&mut Self) -> T) -> T {
        let before: Vec<usize> = self.clients.iter().map(ResumingClient::sessions).collect();
        let result = fault(self);
        for (client, before) in self.clients.iter().zip(before) {
            client.wait_on_all_after(before);
        }
        result
    }

    /// Does something while the first client is away, and waits until it is back. The others stay.
    #[track_caller]
    fn while_one_is_offline(&self, happens: impl FnOnce()) {
        let (proxy, client) = (&self.client_proxies[0], &self.clients[0]);
        let before = client.sessions();
        proxy.refuse(true);
        eventually(SOON, || {
            proxy.reset_open();
            (proxy.open() == 0).then_some(())
        });
        self.publish(5);
        happens();
        proxy.heal();
        client.wait_on_all_after(before);
    }

    /// Sends the clients of a replica to another one when they come the next time, as a balancer does.
    fn route_clients(&self, from: usize, to: usize) {
        let count = self.replicas.len();
        let target = self.gateway_of(to).public;
        self.client_proxies.iter().skip(from).step_by(count).for_each(|proxy| proxy.redirect(target));
    }

    /// Ends a replica as a crash does.
    fn kill_replica(&mut self, replica: usize) {
        let mut gateway = self.replicas[replica].gateway.take().expect("it runs");
        gateway.signal("KILL");
        gateway.wait_exit();
    }

    /// Starts a replica anew, on other ports, and lets its clients find it once it is ready.
    #[track_caller]
    fn restart_replica(&mut self, replica: usize) {
        let gateway = self.replicas[replica].plan.spawn();
        gateway.wait_ready();
        self.replicas[replica].gateway = Some(gateway);
        self.route_clients(replica, replica);
    }

    /// A connection for the test's own commands.
    fn admin(&self) -> redis::Connection {
        self.redis.client()
    }

    /// The fault is over. Publishes on until all is well, then judges.
    #[track_caller]
    fn finish(self) -> Outcome {
        self.publish(5);
        self.publisher.pause();
        self.finish_paused()
    }

    /// Judges while the publisher is paused: nothing comes any more that could show what is missing. Only behind that
    /// something more is published, so that nothing of before can be late.
    #[track_caller]
    fn finish_paused(self) -> Outcome {
        let silent = wait_until(&self, SOON, Verdicts::are_valid);
        let mut verdicts = self.publish_and_judge();
        for _ in 1..FINAL_ROUNDS {
            if verdicts.are_valid() && verdicts.are_current() {
                break;
            }
            // The last message may also have been dropped and reported as a gap.
            verdicts = self.publish_and_judge();
        }
        silent.assert_valid();
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

/// Waits until the judgement is as it should be, at most so long. Returns the last judgement: one that is made later may
/// find a client in the middle of what it hears.
fn wait_until(delivery: &Delivery, time: Duration, is_right: impl Fn(&Verdicts) -> bool) -> Verdicts {
    let end = Instant::now() + time;
    loop {
        let verdicts = Verdicts::of(delivery);
        if is_right(&verdicts) || Instant::now() >= end {
            return verdicts;
        }
        hold(Duration::from_millis(5));
    }
}
