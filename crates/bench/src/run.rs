//! One run of a scenario against one target: its clients, its clock, and what it costs.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::BenchError;
use crate::arguments::BenchArgs;
use crate::latency::Latencies;
use crate::outcome::Outcome;
use crate::process::{self, Account};
use crate::progress::{Progress, Whole};
use crate::redis::Usage;
use crate::swarm::{Order, Pace, Swarm};
use crate::target::Target;

/// As long as nothing moves, this is waited for the rest.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How many connect at a time where nothing else is asked for.
const CONNECTING: usize = 64;
/// Lets what has just happened be over before something is counted.
const SETTLE: Duration = Duration::from_millis(300);

/// Everything a scenario needs.
pub(crate) struct Run<'a> {
    pub(crate) arguments: &'a BenchArgs,
    pub(crate) target: &'a mut Target,
    pub(crate) swarm: Swarm,
    /// What times are counted from.
    pub(crate) begun: Instant,
    /// Clients that are counted; stalled readers and watchers are beside them.
    pub(crate) sockets: usize,
    pub(crate) heartbeat_interval: Duration,
    /// The namespace of channels that clients may subscribe to.
    pub(crate) namespace: String,
    pub(crate) outcome: Outcome,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// The target's CPU, in seconds; not a number where it is not known.
    pub(crate) cpu: f64,
    /// Of that in its own code, counted in hundredths.
    pub(crate) user: f64,
    /// Of that in the kernel, counted in hundredths.
    pub(crate) system: f64,
    /// The Redis' CPU, in seconds.
    pub(crate) redis: f64,
    /// What the Redis holds more, in bytes.
    pub(crate) redis_memory: f64,
}

/// A moment.
pub(crate) struct Meter {
    at: Instant,
    account: Option<Account>,
    redis: Option<Usage>,
    threads: Vec<(u32, f64)>,
}

impl Run<'_> {
    /// Takes the accounts of a moment.
    pub(crate) fn meter(&self) -> Meter {
        let redis = self.target.redis_usage();
        let own = process::this_thread();
        let threads = self.swarm.thread_ids().into_iter().chain(own);
        let threads = threads.map(|id| (id, process::thread_cpu(id).unwrap_or(f64::NAN))).collect();
        Meter { at: Instant::now(), account: self.target.account(), redis, threads }
    }

    /// What was used since then; notes how busy the generator was.
    pub(crate) fn since(&mut self, meter: &Meter) -> Used {
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
    pub(crate) fn resident(&self) -> f64 {
        self.target.account().map_or(f64::NAN, |account| account.resident)
    }

    /// Connects all clients that are counted; notes what they cost.
    pub(crate) fn connect_all(&mut self) -> Result<(), BenchError> {
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
    pub(crate) fn connect(&mut self, pace: Pace) -> Result<(Used, f64), BenchError> {
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
    pub(crate) fn connect_these(&self, range: Range<usize>, pace: Pace) -> Result<(), BenchError> {
        self.swarm.tell(|| Order::Connect(range.clone(), pace));
        Ok(())
    }

    /// Waits until so many clients are Ready.
    pub(crate) fn wait_until_ready(&self, count: usize) -> Result<(), BenchError> {
        let label = format!("{}: connecting", self.name());
        let _progress = Progress::start(label, Whole::Ready(count), &self.swarm.counts);
        self.swarm.wait_until_ready(count, PATIENCE)
    }

    /// What is measured, for the progress.
    pub(crate) fn name(&self) -> &'static str {
        if self.target.is_floor { "floor" } else { "gateway" }
    }

    /// The latencies of one part.
    pub(crate) fn latencies(&self, phase: u8) -> Latencies {
        self.swarm.latencies(phase)
    }

    /// Messages that have come in one part.
    pub(crate) fn deliveries(&self, phase: u8) -> u64 {
        self.swarm.counts.deliveries[usize::from(phase)].load(SeqCst)
    }

    /// The generator's clock, in microseconds.
    pub(crate) fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }
}
