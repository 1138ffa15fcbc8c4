//! Configures and starts the processes of a test.

use std::net::Ipv4Addr;
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::{CHANNELS, Delivery, Replica, USER};
use crate::support::fault_proxy::FaultProxy;
use crate::support::gateway::TestGateway;
use crate::support::numbered_publisher::{NumberedPublisher, Publishing};
use crate::support::redis_server::RedisServer;
use crate::support::resuming_client::{ClientOptions, ResumingClient};

/// The amount of numbers that are published on each channel before the fault.
const INITIAL_MESSAGES: u64 = 20;
/// The time between two numbers.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(3);

/// The configuration of a test.
#[derive(Clone)]
pub(super) struct Plan {
    replicas: usize,
    clients: usize,
    redis: Vec<&'static str>,
    settings: Vec<(&'static str, String)>,
    subscribes_late: bool,
    publishing: Publishing,
    /// The address that the replicas listen on, each on a port that changes with every restart.
    host: Ipv4Addr,
}

impl Plan {
    /// One replica, two clients and one Redis without persistence.
    pub(super) fn new() -> Self {
        let publishing = Publishing {
            url: String::new(),
            over_http: None,
            channels: CHANNELS.map(str::to_owned).into(),
            pace: PUBLISH_INTERVAL,
            copies: 0,
            together: false,
            padding: 0,
        };
        let (redis, settings) = (Vec::new(), Vec::new());
        Self {
            replicas: 1,
            clients: 2,
            redis,
            settings,
            subscribes_late: false,
            publishing,
            host: own_host(),
        }
    }

    /// Sets the number of replicas; each has two clients.
    pub(super) fn replicas(mut self, replicas: usize) -> Self {
        (self.replicas, self.clients) = (replicas, 2 * replicas);
        self
    }

    /// Sets the total number of clients, which are distributed over the replicas in turn.
    pub(super) fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Adds arguments of `redis-server`.
    pub(super) fn redis(mut self, arguments: &[&'static str]) -> Self {
        self.redis.extend(arguments);
        self
    }

    /// Adds a setting of the gateway.
    pub(super) fn with(mut self, key: &'static str, value: &str) -> Self {
        self.settings.push((key, value.to_owned()));
        self
    }

    /// Lets clients subscribe to the room with op 4 instead of Identify.
    pub(super) fn subscribing_late(mut self) -> Self {
        self.subscribes_late = true;
        self
    }

    /// Changes how messages are published.
    pub(super) fn publishing(mut self, change: impl FnOnce(&mut Publishing)) -> Self {
        change(&mut self.publishing);
        self
    }

    /// Starts all processes and publishes some numbers. All clients are subscribed before the first number.
    #[track_caller]
    pub(super) fn start(self) -> Delivery {
        let redis = RedisServer::start_with(&self.redis);
        self.start_over(redis)
    }

    /// Starts all processes except Redis, and connects them to this one.
    #[track_caller]
    pub(super) fn start_over(mut self, redis: RedisServer) -> Delivery {
        let replicas: Vec<Replica> = (0..self.replicas).map(|_| self.replica(&redis)).collect();
        let gateways: Vec<&TestGateway> = replicas
            .iter()
            .map(|replica| replica.gateway.as_ref().expect("the replica was just started"))
            .collect();
        gateways.iter().for_each(|gateway| gateway.wait_ready());
        let client_proxies: Vec<FaultProxy> = (0..self.clients)
            .map(|client| FaultProxy::start(gateways[client % gateways.len()].public))
            .collect();
        let clients: Vec<ResumingClient> = client_proxies
            .iter()
            .enumerate()
            .map(|(client, proxy)| ResumingClient::start(proxy.address, self.client_options(client)))
            .collect();
        clients.iter().for_each(ResumingClient::wait_on_all);
        self.publishing.url = redis.url();
        let publisher = NumberedPublisher::start(self.publishing);
        let delivery = Delivery { publisher, clients, client_proxies, replicas, redis };
        delivery.publish(INITIAL_MESSAGES);
        delivery
    }

    fn client_options(&self, client: usize) -> ClientOptions {
        ClientOptions {
            user: USER.to_owned(),
            channels: CHANNELS.map(str::to_owned).into(),
            plain: Vec::new(),
            subscribes_late: self.subscribes_late,
            seed: client as u64,
        }
    }

    fn replica(&self, redis: &RedisServer) -> Replica {
        let link = FaultProxy::start(redis.address());
        let base = TestGateway::with("broker.url", &format!("redis://{}", link.address))
            .with("server.public_addr", &format!("{}:0", self.host))
            .with("broker.probe_interval", "100ms")
            .with("broker.probe_timeout", "700ms")
            .with("broker.connect_timeout", "700ms")
            .with("broker.response_timeout", "700ms")
            .with("broker.min_reconnect_delay", "10ms")
            .with("broker.max_reconnect_delay", "100ms")
            .with("session.heartbeat_interval", "500ms")
            .with("session.messages_per_minute", "0")
            // Far more than is published during a test, however slow the machine is.
            .with("broker.history_size", "20000")
            .with("session.max_recovered_messages", "20000")
            .with("session.max_outbound_bytes", "16777216")
            .with("channels.public_namespaces", "public")
            .with("drain.delay", "0s")
            .with("drain.window", "200ms");
        let plan = self.settings.iter().fold(base, |plan, (key, value)| plan.with(key, value));
        Replica { gateway: Some(plan.spawn()), link, plan }
    }
}

/// A loopback address that only this run uses. Without it, a gateway of another run could get the port of a killed
/// replica. That gateway has the same user and channels, so clients would stay connected to it and miss every message.
fn own_host() -> Ipv4Addr {
    static RUNS: AtomicU8 = AtomicU8::new(0);
    if !cfg!(target_os = "linux") {
        // Other systems have only one loopback address.
        return Ipv4Addr::LOCALHOST;
    }
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, RUNS.fetch_add(1, Ordering::Relaxed) % 250 + 2)
}
