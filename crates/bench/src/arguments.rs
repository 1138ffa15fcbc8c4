//! The arguments of `bench`, and their validation.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::BenchError;
use crate::sweep::Sweep;
use crate::wire::MIN_MESSAGE_BYTES;

/// The most channels of a socket with `--channels`: fewer than the default `limits.subscriptions_per_session`.
const MAX_CHANNELS_OF_ONE: usize = 90;
/// Messages in a second beside bursts: a delay of ten milliseconds is noticed.
const BURST_RATE: f64 = 100.0;
/// Clients that get messages beside bursts, in turn, so that no message waits for another.
const WATCHERS: usize = 50;

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Sockets that are identified and silent: memory, and CPU for their heartbeats, over time
    Idle,
    /// Connecting and identifying
    Connect,
    /// Each message to every socket
    Fanout,
    /// Each message to one user, of as many users as sockets
    Unicast,
    /// Many small channels, a few big ones, and messages to single users
    Mixed,
    /// All sockets are cut at once: until all are back, and have what they missed
    Storm,
    /// What the others notice while some readers are stalled
    Slow,
    /// What messages to others wait while a big one goes to every socket
    Burst,
    /// The baseline itself, which the load generator starts
    #[value(hide = true)]
    BaselineServer,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What is run, and how.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Scenario to run
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// How many sockets, each of a user of its own
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) sockets: usize,
    /// For how long messages are published, or silence is watched (slow, burst: three times)
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Messages in a second (connect: connections), each due at its own time whatever became of those before; latency
    /// counts from then. Without it each is sent when one before has arrived: the most that is possible [mixed: 200,
    /// slow: 10, burst: 100]
    #[arg(long, value_name = "PER SECOND", conflicts_with = "in_flight")]
    pub(crate) rate: Option<f64>,
    /// With fanout, unicast and mixed: find out first how many messages in a second are possible, and publish at this share
    /// of them
    #[arg(long, value_name = "0.01 TO 1", conflicts_with = "rate")]
    pub(crate) capacity_share: Option<f64>,
    /// Without a rate: how many messages are on their way at a time [default: 1; connect: 64; storm: 256 connections]
    #[arg(long, value_name = "N")]
    pub(crate) in_flight: Option<usize>,
    /// The length of a message [default: 128; slow: 1024; burst: 65536, of the big ones]
    #[arg(long, value_name = "BYTES")]
    pub(crate) message_bytes: Option<usize>,
    /// With fanout: the sockets are spread over so many channels, or each is on several, and each message goes to one channel
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<usize>,
    /// Do all of it for each of these values: sockets=1000,5000, or channels=…, or message-bytes=…
    #[arg(long, value_name = "OPTION=N,…")]
    pub(crate) sweep: Option<Sweep>,
    /// Threads that hold the sockets; one more publishes (burst: another one holds the watchers)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,
    /// With slow: so many readers in a hundred sockets are stalled
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    pub(crate) stalled: f64,
    /// With burst: from one big message to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) burst_every: f64,
    /// Every client negotiates permessage-deflate
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Measure the baseline as well, a server that does nothing but write prepared frames, and give the gateway's figures
    /// as ratios to it
    #[arg(long, alias = "floor")]
    pub(crate) baseline: bool,
    /// Start a redis-server for the gateway
    #[arg(long, conflicts_with = "running")]
    pub(crate) redis: bool,
    /// Take the gateway that runs at server.public_addr and server.admin_addr, and start none
    #[arg(long)]
    pub(crate) running: bool,
    /// The process of the running gateway, for its CPU and memory
    #[arg(long, value_name = "ID", requires = "running")]
    pub(crate) pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the latencies over time (idle: the memory; sweep: what each delivery or socket costs) into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
}

impl BenchArgs {
    /// Messages in a second; `None`: a closed loop.
    pub(crate) fn rate(&self) -> Option<f64> {
        let usual = match self.scenario {
            _ if self.capacity_share.is_some() => None,
            Scenario::Mixed if self.in_flight.is_none() => Some(200.0),
            Scenario::Slow if self.in_flight.is_none() => Some(10.0),
            Scenario::Burst => Some(BURST_RATE),
            _ => None,
        };
        self.rate.or(usual)
    }

    pub(crate) fn message_bytes(&self) -> usize {
        self.message_bytes.unwrap_or(match self.scenario {
            Scenario::Slow => 1_024,
            Scenario::Burst => 65_536,
            _ => 128,
        })
    }

    /// How many clients are stalled readers, beside the others.
    pub(crate) fn stalled_readers(&self) -> usize {
        match self.scenario {
            Scenario::Slow => ((self.sockets as f64 * self.stalled / 100.0).round() as usize).max(1),
            _ => 0,
        }
    }

    /// Whether clients subscribe to channels.
    pub(crate) fn has_channels(&self) -> bool {
        self.channels.is_some() || matches!(self.scenario, Scenario::Mixed | Scenario::Burst)
    }

    /// Whether clients come back, with the position of the last message on `all`.
    pub(crate) fn resumes(&self) -> bool {
        self.scenario == Scenario::Storm
    }

    /// Whether heartbeats run as configured. If not, a gateway started by the generator sends none, because they would
    /// distort the measurement.
    pub(crate) fn has_heartbeats(&self) -> bool {
        matches!(self.scenario, Scenario::Idle | Scenario::Mixed)
    }

    /// How many clients get the messages whose latency is measured beside bursts.
    pub(crate) fn watchers(&self) -> usize {
        if self.scenario == Scenario::Burst { WATCHERS } else { 0 }
    }

    /// The number of clients: measured ones first, then stalled readers and watchers.
    pub(crate) fn clients(&self) -> usize {
        self.sockets + self.stalled_readers() + self.watchers()
    }

    /// One message of so many is a burst.
    pub(crate) fn messages_per_burst(&self) -> u64 {
        let rate = self.rate().unwrap_or(BURST_RATE);
        // At most every other message, or nothing would be left to measure.
        ((self.burst_every.min(self.seconds) * rate).round() as u64).max(2)
    }

    /// Fails when the arguments are out of bounds, or do not fit together.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let is_between = |value: f64, least: f64, most: f64| value >= least && value <= most;
        let is_count = |value: usize, least: usize, most: usize| (least..=most).contains(&value);
        let (scenario, share, channels) = (self.scenario, self.capacity_share, self.channels);
        let has_capacity = matches!(scenario, Scenario::Fanout | Scenario::Unicast | Scenario::Mixed);
        let has_share = share.is_none_or(|share| has_capacity && is_between(share, 0.01, 1.0));
        let most = MAX_CHANNELS_OF_ONE.saturating_mul(self.sockets);
        let has_channels =
            channels.is_none_or(|count| scenario == Scenario::Fanout && is_count(count, 1, most));
        let has_bytes = is_count(self.message_bytes(), MIN_MESSAGE_BYTES, 1_048_576);
        let has_in_flight = scenario != Scenario::Burst || self.in_flight.is_none();
        for (holds, sentence) in [
            (is_count(self.sockets, 1, 1_000_000), "--sockets must be 1 to 1000000"),
            (is_between(self.seconds, 0.1, 86_400.0), "--seconds must be 0.1 to 86400"),
            (is_between(self.rate.unwrap_or(1.0), 0.1, 1e7), "--rate must be 0.1 to 10000000"),
            (is_count(self.in_flight.unwrap_or(1), 1, 1_000_000), "--in-flight must be 1 to 1000000"),
            (has_bytes, "--message-bytes must be 48 to 1048576"),
            (
                is_count(self.threads, 1, self.sockets.min(64)),
                "--threads must be 1 to 64, and no more than the sockets",
            ),
            (is_between(self.stalled, 0.0, 100.0), "--stalled must be 0 to 100"),
            (has_share, "--capacity-share must be 0.01 to 1, with fanout, unicast or mixed"),
            (has_channels, "--channels must be 1 to 90 times the sockets, with the scenario fanout"),
            (is_between(self.burst_every, 0.1, 3_600.0), "--burst-every must be 0.1 to 3600"),
            (has_in_flight, "--in-flight cannot be used with burst; use --rate"),
        ] {
            if !holds {
                return Err(BenchError::Arguments(sentence.to_owned()));
            }
        }
        Ok(())
    }
}
