//! One run of a scenario against one target: its clients, its clock, and what it costs.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::arguments::BenchArgs;
use super::latency::Latencies;
use super::outcome::Outcome;
use super::process::{self, Account};
use super::progress::{Progress, Whole};
use super::redis::Usage;
use super::swarm::{Order, Pace, Swarm};
use super::target::Target;

/// As long as nothing moves, this is waited for the rest.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How many connect at a time where nothing else is asked for.
const CONNECTING: usize = 64;
/// Lets what has just happened be over before something is counted.
const SETTLE: Duration = Duration::from_millis(300);

/// Everything a scenario needs.
pub(super) struct Run<'a> {
    pub(super) arguments: &'a BenchArgs,
    pub(super) target: &'a mut Target,
    pub(super) swarm: Swarm,
    /// What times are counted from.
    pub(super) begun: Instant,
    /// Clients that are counted; stalled readers and watchers are beside them.
    pub(super) sockets: usize,
    pub(super) heartbeat_interval: Duration,
    /// The namespace of channels that clients may subscribe to.
    pub(super) namespace: String,
    pub(super) outcome: Outcome,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) seconds: f64,
    /// The target's CPU, in seconds; not a number where it is not known.
    pub(super) cpu: f64,
    /// Of that in its own code, counted in hundredths.
    pub(super) user: f64,
    /// Of that in the kernel, counted in hundredths.
    pub(super) system: f64,
    /// The Redis' CPU, in seconds.
    pub(super) redis: f64,
    /// What the Redis holds more, in bytes.
    pub(super) redis_memory: f64,
}

/// A moment.
pub(super) struct Meter {
    at: Instant,
    account: Option<Account>,
    redis: Option<Usage>,
    threads: Vec<(u32, f64)>,
}

impl Run<'_> {
    /// Takes the accounts of a moment.
    pub(super) fn meter(&self) -> Meter {
        let redis = self.target.redis_usage();
        let own = process::this_thread();
        let threads = self.swarm.thread_ids().into_iter().chain(own);
        let threads = threads.map(|id| (id, process::thread_cpu(id).unwrap_or(f64::NAN))).collect();
        Meter { at: Instant::now(), account: self.target.account(), redis, threads }
    }

    /// What was used since then; notes how busy the generator was.
    pub(super) fn since(&mut self, meter: &Meter) -> Used {
        let now = self.meter();
        let seconds = now.at.duration_since(meter.at).as_secs_f64();
        let both = meter.account.zip(now.account);
        let difference =
            |of: fn(&Account) -> f64| both.map_or(f64::NAN, |(before, after)| of(&after) - of(&before));
        let redis = meter.redis.zip(now.redis);
        let of_redis =
            |of: fn(&Usage) -> f64| redis.map_or(f64::NAN, |(before, after)| of(&after) - of(&before));
        let busy = meter.threads.iter().zip(&now.threads).map(|(then, now)| (now.1 - then.1) / seconds);
        let busiest = busy.fold(0.0, f64::max);
        self.outcome.note_busy(busiest);
        Used {
            seconds,
            cpu: difference(|account| account.cpu),
            user: difference(|account| account.user),
            system: difference(|account| account.system),
            redis: of_redis(|usage| usage.cpu),
            redis_memory: of_redis(|usage| usage.memory),
        }
    }

    /// The target's resident memory, in bytes; not a number where it is not known.
    pub(super) fn resident(&self) -> f64 {
        self.target.account().map_or(f64::NAN, |account| account.resident)
    }

    /// Connects all clients that are counted; notes what they cost.
    pub(super) fn connect_all(&mut self) -> Result<(), Failure> {
        let (used, resident) = self.connect(Pace::InFlight(CONNECTING))?;
        let sockets = self.sockets as f64;
        self.outcome.compare(
            "rss_bytes_per_connection",
            "RSS for each connection, bytes",
            resident / sockets,
        );
        self.outcome.compare(
            "cpu_us_per_connect",
            "CPU for each connect and Identify, µs",
            used.cpu * 1e6 / sockets,
        );
        Ok(())
    }

    /// Connects all clients that are counted. Returns what that used, and the memory that the target has more.
    pub(super) fn connect(&mut self, pace: Pace) -> Result<(Used, f64), Failure> {
        if !self.target.is_floor {
            // Threads, hubs and their first allocations are there before the count begins.
            self.swarm.tell(|| Order::Connect(0..1, Pace::InFlight(1)));
            self.wait_until_ready(1)?;
            self.swarm.tell(|| Order::Cut);
            std::thread::park_timeout(SETTLE);
        }
        let (resident, meter) = (self.resident(), self.meter());
        self.connect_these(0..self.sockets, pace)?;
        self.wait_until_ready(self.sockets)?;
        let used = self.since(&meter);
        std::thread::park_timeout(SETTLE);
        let resident = self.resident() - resident;
        Ok((used, resident))
    }

    /// Tells these clients to connect.
    pub(super) fn connect_these(&self, range: Range<usize>, pace: Pace) -> Result<(), Failure> {
        self.swarm.tell(|| Order::Connect(range.clone(), pace));
        Ok(())
    }

    /// Waits until so many clients are Ready.
    pub(super) fn wait_until_ready(&self, count: usize) -> Result<(), Failure> {
        let label = format!("{}: connecting", self.name());
        let _progress = Progress::start(label, Whole::Ready(count), &self.swarm.counts);
        self.swarm.wait_until_ready(count, PATIENCE)
    }

    /// What is measured, for the progress.
    pub(super) fn name(&self) -> &'static str {
        if self.target.is_floor { "floor" } else { "gateway" }
    }

    /// The latencies of one part.
    pub(super) fn latencies(&self, phase: u8) -> Latencies {
        self.swarm.latencies(phase)
    }

    /// Messages that have come in one part.
    pub(super) fn deliveries(&self, phase: u8) -> u64 {
        self.swarm.counts.deliveries[usize::from(phase)].load(SeqCst)
    }

    /// The generator's clock, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }
}
