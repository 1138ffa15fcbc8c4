//! The arguments of `bench`.

mod check;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::other_server::OtherServer;
use crate::profile::IdleProfile;
use crate::sweep::Sweep;
use crate::wire::MIN_MESSAGE_BYTES;

/// Small messages per second during `burst`: enough to measure a delay of ten milliseconds.
const BURST_RATE: f64 = 100.0;
/// Messages per second of `jitter`, as in AnyCable's test.
const JITTER_RATE: f64 = 2.0;
/// Signals per second of `signal`, by all typists together.
const SIGNAL_RATE: f64 = 100.0;
/// Messages per second of `send`, by all sockets together.
const SEND_RATE: f64 = 1_000.0;
/// Clients that get the small messages of `burst` and `signal`, in turn, so that no message waits for another.
const WATCHERS: usize = 50;
/// The replicas that `scale` ends: one by a kill, one by a drain.
const ENDED_REPLICAS: usize = 2;

/// A scenario of the load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Identified sockets without messages: memory and CPU of heartbeats over time. --profile centrifugo or anycable
    /// does the work of a test that they publish
    Idle,
    /// Connects and Identifies: CPU, memory and latency
    Connect,
    /// Each message goes to every socket
    Fanout,
    /// Each message goes to one user; each socket has its own user
    Unicast,
    /// Messages to single users, to many small channels and to a few big channels
    Mixed,
    /// All sockets reconnect at once and resume: time until all have the missed messages
    Storm,
    /// Each client is offline for 2 s every 15 s and resumes: share of durable messages delivered, latency of replay
    Jitter,
    /// All clients connect at once, identify and leave, eight times: memory that the process keeps
    Waves,
    /// Some readers stall: latency of the other sockets
    Slow,
    /// A big message goes to every socket: latency of small messages to other sockets
    Burst,
    /// Some sockets of a room send signals to all others: latency of signals, and of messages to single users
    Signal,
    /// Sockets send messages to the inbox, from which a worker deletes them: CPU and latency of the acknowledgement
    Send,
    /// The life of a deployment of --replicas: all sockets connect and idle, one message goes to all, one replica is
    /// killed and another one drains, and all of their clients resume at the other replicas
    Scale,
    /// The baseline server itself, which the load generator starts
    #[value(hide = true)]
    BaselineServer,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The arguments of `bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Scenario to run
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// Number of sockets, each with its own user
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) sockets: usize,
    /// Duration of publishing, or of silence with idle; slow and burst have three such phases
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Publish (connect: connect) in an open loop at this rate per second instead of in a closed loop [default:
    /// mixed: 200, slow: 10, jitter: 2, burst and signal: 100, send: 1000]
    #[arg(long, value_name = "PER SECOND", conflicts_with = "in_flight")]
    pub(crate) rate: Option<f64>,
    /// Find the maximum rate first, then publish at this share of it (fanout, unicast and mixed)
    #[arg(long, value_name = "0.01 TO 1", conflicts_with = "rate")]
    pub(crate) capacity_share: Option<f64>,
    /// Number of messages in flight without a rate [default: 1; connections with connect: 64, storm: 256, waves: 1024,
    /// scale: 16 for each replica]
    #[arg(long, value_name = "N")]
    pub(crate) in_flight: Option<usize>,
    /// Size of a message [default: 128; jitter: 48; signal: 64; slow: 1024; burst: 65536 for the big messages]
    #[arg(long, value_name = "BYTES")]
    pub(crate) message_bytes: Option<usize>,
    /// Spread the sockets over this many channels, and send each message to one channel (fanout)
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// Repeat the scenario for each value: sockets=1000,5000 or channels=… or message-bytes=…
    #[arg(long, value_name = "OPTION=N,…")]
    pub(crate) sweep: Option<Sweep>,
    /// Number of threads for the sockets; another thread publishes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// Stalled readers, as a percentage of the sockets (slow)
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub(crate) stalled: f64,
    /// Interval between big messages (burst)
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) burst_every: f64,
    /// Duration of each absence of a client (jitter)
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) offline: f64,
    /// Interval between the absences of a client (jitter)
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0)]
    pub(crate) offline_every: f64,
    /// Number of sockets that send signals, in turn (signal)
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) typists: usize,
    /// The published idle test whose work `idle` does, see [`Self::take_profile`].
    #[arg(skip)]
    pub(crate) profile: Option<IdleProfile>,
    /// Negotiate permessage-deflate on every socket
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Also measure the baseline, a server that only writes prepared frames, and print ratios to it
    #[arg(long, alias = "floor")]
    pub(crate) baseline: bool,
    /// Start a redis-server for the gateway
    #[arg(long, conflicts_with = "running")]
    pub(crate) redis: bool,
    /// Start a Redis Cluster of this number of masters for the gateway, and compare it with one Redis server: the result
    /// of the same scenario over one server takes the place of the baseline (fanout and unicast)
    #[arg(long, value_name = "N", conflicts_with_all = ["running", "redis", "baseline", "sweep"])]
    pub(crate) redis_cluster: Option<usize>,
    /// Publish by `POST /v1/publish` over connections that stay open, and compare with the same run by Redis (unicast)
    #[arg(long, conflicts_with_all = ["redis_cluster", "baseline", "sweep"])]
    pub(crate) publish_http: bool,
    /// Number of connections of --publish-http, or of publishing to Centrifugo; requests are pipelined if more are in
    /// flight
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) http_connections: usize,
    /// Measure another server instead of the gateway, with the same clients and the same baseline: centrifugo=PROGRAM or
    /// anycable=PROGRAM (idle, connect, fanout and unicast)
    #[arg(long, value_name = "NAME=PROGRAM", requires = "redis",
        conflicts_with_all = ["running", "redis_cluster", "publish_http", "durable", "deflate", "channels", "sweep"])]
    pub(crate) server: Option<OtherServer>,
    /// Publish durable messages (fanout and unicast)
    #[arg(long)]
    pub(crate) durable: bool,
    /// Use the gateway that runs at server.public_addr and server.admin_addr instead of starting one
    #[arg(long)]
    pub(crate) running: bool,
    /// Process id of the running gateway, to measure its CPU and memory
    #[arg(long, value_name = "ID", requires = "running")]
    pub(crate) pid: Option<u32>,
    /// Run this number of gateway processes on one Redis, and divide the sockets over as many generator processes, for
    /// more sockets than a process may open; all figures are sums (idle, connect, fanout, unicast, storm and scale)
    /// [default with scale: the fewest that leave room for all sockets without two of them]
    #[arg(long, value_name = "N", conflicts_with_all = ["running", "redis_cluster", "baseline", "sweep", "server", "publish_http"])]
    pub(crate) replicas: Option<usize>,
    /// Be one of the processes with the sockets, which the load generator starts
    #[arg(long, hide = true)]
    pub(crate) generator: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the latency over time to this SVG file; with idle the memory, with --sweep the cost per value
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

impl BenchArgs {
    /// Takes the value of `--profile` if it names a published idle test. Every command has this argument, and otherwise
    /// it chooses settings.
    pub fn take_profile(&mut self, name: &str) -> bool {
        self.profile = IdleProfile::from_str(name, false).ok();
        self.profile.is_some()
    }

    /// Messages per second; `None` for a closed loop.
    pub(crate) fn rate(&self) -> Option<f64> {
        let default = match self.scenario {
            _ if self.capacity_share.is_some() => None,
            Scenario::Mixed if self.in_flight.is_none() => Some(200.0),
            Scenario::Slow if self.in_flight.is_none() => Some(10.0),
            Scenario::Jitter => Some(JITTER_RATE),
            Scenario::Burst => Some(BURST_RATE),
            Scenario::Signal => Some(SIGNAL_RATE),
            Scenario::Send => Some(SEND_RATE),
            _ => None,
        };
        self.rate.or(default)
    }

    pub(crate) fn message_bytes(&self) -> usize {
        self.message_bytes.unwrap_or(match self.scenario {
            Scenario::Slow => 1_024,
            Scenario::Burst => 65_536,
            Scenario::Signal => 64,
            Scenario::Jitter => MIN_MESSAGE_BYTES,
            _ => 128,
        })
    }

    /// The number of stalled readers, in addition to `sockets`.
    pub(crate) fn stalled_readers(&self) -> usize {
        match self.scenario {
            Scenario::Slow => ((self.sockets as f64 * self.stalled / 100.0).round() as usize).max(1),
            _ => 0,
        }
    }

    /// Whether clients subscribe to channels.
    pub(crate) fn has_channels(&self) -> bool {
        self.channels.is_some() || self.speaks_v2()
    }

    fn speaks_v2(&self) -> bool {
        matches!(self.scenario, Scenario::Mixed | Scenario::Burst | Scenario::Signal | Scenario::Send)
    }

    /// Whether clients resume from the position of the last message on `all`.
    pub(crate) fn resumes(&self) -> bool {
        matches!(self.scenario, Scenario::Storm | Scenario::Scale | Scenario::Jitter)
    }

    /// Whether heartbeats run as configured. In other scenarios they would distort the measurement, so the gateway
    /// that the generator starts sends none.
    pub(crate) fn has_heartbeats(&self) -> bool {
        matches!(self.scenario, Scenario::Idle | Scenario::Mixed | Scenario::Scale)
    }

    /// The number of clients that get the small messages of `burst` and `signal`.
    pub(crate) fn watchers(&self) -> usize {
        if matches!(self.scenario, Scenario::Burst | Scenario::Signal) { WATCHERS } else { 0 }
    }

    /// Whether clients send signals.
    pub(crate) fn has_signals(&self) -> bool {
        self.scenario == Scenario::Signal
    }

    /// Whether clients send messages to the inbox.
    pub(crate) fn has_sends(&self) -> bool {
        self.scenario == Scenario::Send
    }

    /// The number of clients that send signals.
    pub(crate) fn typists(&self) -> usize {
        self.typists.min(self.sockets)
    }

    /// The number of clients: measured ones first, then stalled readers and watchers.
    pub(crate) fn clients(&self) -> usize {
        self.sockets + self.stalled_readers() + self.watchers()
    }

    /// The most clients of one process, also after the replicas that the scenario ends.
    pub(crate) fn clients_of_process(&self) -> usize {
        let replicas = self.replicas.unwrap_or(1);
        self.clients().div_ceil(replicas.saturating_sub(self.ended_replicas()).max(1))
    }

    fn ended_replicas(&self) -> usize {
        if self.scenario == Scenario::Scale { ENDED_REPLICAS } else { 0 }
    }

    /// With `scale`, adds the number of replicas if it is not given. `room`: the most sockets of a replica. Replicas need
    /// a Redis, unless the settings name one (`is_memory` is false).
    pub(crate) fn with_replicas(&self, room: usize, is_memory: bool) -> Self {
        let fewest = self.sockets.div_ceil(room.max(1)) + ENDED_REPLICAS;
        let replicas = self.replicas.or_else(|| (self.scenario == Scenario::Scale).then_some(fewest));
        Self { replicas, redis: self.redis || replicas.is_some() && is_memory, ..self.clone() }
    }

    /// One of this many messages is a big message.
    pub(crate) fn messages_per_burst(&self) -> u64 {
        let rate = self.rate().unwrap_or(BURST_RATE);
        // At least one small message for each big message, or there would be no latency to measure.
        ((self.burst_every.min(self.seconds) * rate).round() as u64).max(2)
    }
}
