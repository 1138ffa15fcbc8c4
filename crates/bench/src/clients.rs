//! All clients of the load generator and their threads, and the counts of all threads.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::generator::{GeneratorGroup, GeneratorShare};
use crate::latency::Latencies;
use crate::other_server::Protocol;
use crate::worker::{AbsenceCounts, AbsencePlan, WAKE, Worker};
use crate::{BenchError, process};

/// The number of phases of a run. A phase is one digit; phase 0 is connecting.
pub(crate) const PHASES: usize = 5;
pub(crate) const CONNECTING: u8 = 0;
/// The number of counts of a generator.
pub(crate) const COUNTS: usize = 5 + PHASES;
/// A run fails when nothing changes for this long. With a million clients on two cores, some wait a minute for their turn.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// After this long without a delivery, no more signals arrive.
const QUIET: Duration = Duration::from_secs(1);
/// How often a waiting thread checks a count, unless a delivery wakes it earlier.
const COUNT_CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The clients of this process and the addresses that they connect to.
pub(crate) struct ClientPlan {
    /// One address for each replica.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) protocol: Protocol,
    /// The index of the first client of this process; other processes have those before it.
    pub(crate) first: usize,
    pub(crate) identities: Vec<ClientIdentity>,
    pub(crate) is_v2: bool,
    /// Clients resume: they reconnect after a loss or refusal and send the position of the last message on `all`.
    pub(crate) resumes: bool,
    pub(crate) is_deflated: bool,
    /// These clients have the smallest receive buffer and reconnect after a loss. Clients after this range have their
    /// own thread.
    pub(crate) small_buffers: Range<usize>,
}

impl ClientPlan {
    /// The replica of a client after this number of losses. Consecutive clients start at consecutive replicas. A loss
    /// divides the clients of one replica over all others, as a load balancer does.
    pub(crate) fn address_of(&self, index: usize, losses: u32) -> SocketAddr {
        let replicas = self.addresses.len();
        let step = 1 + index / replicas % (replicas - 1).max(1);
        self.addresses[(index + losses as usize * step) % replicas]
    }

    pub(crate) fn identity(&self, index: usize) -> &ClientIdentity {
        &self.identities[index - self.first]
    }
}

/// The token and the channels of a client.
pub(crate) struct ClientIdentity {
    pub(crate) token: String,
    /// The channels in Identify (version 2).
    pub(crate) channels: Vec<String>,
}

/// How fast clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Connections per second, independent of earlier ones.
    Rate(f64),
    /// The maximum number of simultaneous connects; each is due when it starts.
    InFlight(usize),
    /// The maximum number of simultaneous connects; all are due now.
    AtOnce(usize),
}

impl Pace {
    pub(crate) const DEFAULT: Self = Self::InFlight(64);
}

/// An order for the clients of one thread.
pub(crate) type Order = Box<dyn FnOnce(&mut Worker) + Send>;

/// The counts of all threads.
#[derive(Default)]
pub(crate) struct ClientCounts {
    /// Clients that are Ready now.
    pub(crate) ready: AtomicU64,
    /// Connections refused or lost, without those that the generator closed.
    pub(crate) lost: AtomicU64,
    /// Clients that resumed without loss.
    pub(crate) recovered: AtomicU64,
    /// Clients that got `"recovered":false`.
    pub(crate) not_recovered: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    /// The number of messages published to clients that may be offline.
    pub(crate) published: AtomicU64,
    pub(crate) deliveries: [AtomicU64; PHASES],
    /// Why the last connection was lost.
    pub(crate) reason: Mutex<Option<String>>,
    /// The number of deliveries that the publisher waits for, and its thread.
    awaited: AtomicU64,
    waiting: OnceLock<Thread>,
}

impl ClientCounts {
    fn each(&self) -> impl Iterator<Item = &AtomicU64> {
        let Self { ready, lost, recovered, not_recovered, heartbeats, deliveries, .. } = self;
        [ready, lost, recovered, not_recovered, heartbeats].into_iter().chain(deliveries)
    }

    /// All counts: `ready` first.
    pub(crate) fn all(&self) -> [u64; COUNTS] {
        let mut values = [0; COUNTS];
        values.iter_mut().zip(self.each()).for_each(|(value, count)| *value = count.load(SeqCst));
        values
    }

    /// Adds what changed in the counts of a generator process. `ready` may have become smaller, so the sums wrap.
    pub(crate) fn add(&self, now: &[u64; COUNTS], before: &[u64; COUNTS]) {
        for (count, (now, before)) in self.each().zip(now.iter().zip(before)) {
            count.fetch_add(now.wrapping_sub(*before), SeqCst);
        }
    }

    /// Waits until there are more deliveries than in these counts, but not longer than this. Only one thread may call
    /// this or [`Self::wait_for_deliveries`].
    pub(crate) fn wait_for_delivery(&self, seen: &[u64; COUNTS], timeout: Duration) {
        let seen: u64 = seen[COUNTS - PHASES..].iter().sum();
        self.waiting.get_or_init(std::thread::current);
        self.awaited.store(seen + 1, SeqCst);
        if self.delivered() <= seen {
            std::thread::park_timeout(timeout);
        }
    }

    /// Deliveries of all phases.
    pub(crate) fn delivered(&self) -> u64 {
        self.deliveries.iter().map(|phase| phase.load(SeqCst)).sum()
    }

    /// Wakes the publisher if its deliveries are complete. Each thread calls this after each batch of events.
    pub(crate) fn notify(&self) {
        if let Some(waiting) = self.waiting.get()
            && self.delivered() >= self.awaited.load(SeqCst)
        {
            waiting.unpark();
        }
    }

    /// Waits for this number of deliveries; false if no more arrive. Only one thread may call this.
    pub(crate) fn wait_for_deliveries(&self, count: u64) -> bool {
        self.awaited.store(count, SeqCst);
        self.waiting.get_or_init(std::thread::current);
        let is_complete = wait(count, || self.delivered(), || IDLE_TIMEOUT, IDLE_TIMEOUT / 30);
        self.awaited.store(u64::MAX, SeqCst);
        is_complete
    }

    /// Waits for this number of deliveries, or until no more arrive.
    pub(crate) fn wait_until_quiet(&self, count: u64) {
        wait(count, || self.delivered(), || QUIET, COUNT_CHECK_INTERVAL);
    }
}

/// Waits until a count reaches `goal`; false if the count does not change within a timeout.
fn wait(goal: u64, count: impl Fn() -> u64, timeout: impl Fn() -> Duration, interval: Duration) -> bool {
    let mut last = (count(), Instant::now());
    while last.0 < goal && last.1.elapsed() <= timeout() {
        std::thread::park_timeout(interval);
        let now = count();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0 >= goal
}

/// All clients.
pub(crate) struct Clients {
    pub(crate) counts: Arc<ClientCounts>,
    resumes: bool,
    /// The number of threads that share the first clients.
    step: usize,
    threads: Vec<WorkerThread>,
    /// The processes that have the clients instead of threads of this process.
    generators: Option<GeneratorGroup>,
}

struct WorkerThread {
    orders: mpsc::Sender<Order>,
    waker: Waker,
    /// The kernel's id of the thread.
    id: u32,
    handle: JoinHandle<()>,
}

impl Clients {
    /// Starts the threads; no client connects yet. Times count from `started_at`.
    pub(crate) fn start(plan: ClientPlan, threads: usize, started_at: Instant) -> Result<Self, BenchError> {
        let (counts, resumes) = (Arc::<ClientCounts>::default(), plan.resumes);
        let (first, end) = (plan.first, plan.first + plan.identities.len());
        let together = plan.small_buffers.end.min(end);
        let plan = Arc::new(plan);
        let mut shares: Vec<_> = (first..first + threads).map(|first| (first..together, threads)).collect();
        if together < end {
            shares.push((together..end, 1));
        }
        let mut started = Vec::new();
        for (number, (range, step)) in shares.into_iter().enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (sender, orders) = mpsc::channel();
            let mut worker =
                Worker::new(poll, Arc::clone(&plan), Arc::clone(&counts), started_at, range, step);
            let (id_sender, id) = mpsc::channel();
            let handle = std::thread::Builder::new().name(format!("bench-{number}")).spawn(move || {
                // The receiver below waits for the id.
                let _ = id_sender.send(process::this_thread().unwrap_or_default());
                worker.run(&orders);
            })?;
            let id = id.recv().unwrap_or_default();
            started.push(WorkerThread { orders: sender, waker, id, handle });
        }
        Ok(Self { counts, resumes, step: threads, threads: started, generators: None })
    }

    /// Starts a generator process for each share; no client connects yet.
    pub(crate) fn start_processes(shares: &[GeneratorShare], resumes: bool) -> Result<Self, BenchError> {
        let counts = Arc::<ClientCounts>::default();
        let generators = Some(GeneratorGroup::start(shares, &counts)?);
        Ok(Self { counts, resumes, step: 1, threads: Vec::new(), generators })
    }

    /// Connects these clients.
    pub(crate) fn connect(&self, range: Range<usize>, pace: Pace) {
        match &self.generators {
            Some(generators) => generators.connect(&range, pace),
            None => self.send(move |worker| worker.start(&range, pace)),
        }
    }

    /// Disconnects all clients, and clears the latencies of connects.
    pub(crate) fn disconnect(&self) {
        match &self.generators {
            Some(generators) => generators.disconnect(),
            None => self.send(|worker| worker.disconnect()),
        }
    }

    /// Has each thread of this process obey an order. There are none with generator processes.
    pub(crate) fn send(&self, order: impl Fn(&mut Worker) + Clone + Send + 'static) {
        for thread in &self.threads {
            // Fails if the thread has ended, which it has reported.
            let _ = thread.orders.send(Box::new(order.clone()));
            let _ = thread.waker.wake();
        }
    }

    /// Writes a frame to the socket of a client that is not a watcher.
    pub(crate) fn send_frame(&self, index: usize, frame: Vec<u8>) {
        let step = self.step;
        let thread = &self.threads[index % step];
        // Fails if the thread has ended, which it has reported.
        let _ = thread.orders.send(Box::new(move |worker| worker.write(index / step, &frame)));
        let _ = thread.waker.wake();
    }

    /// The latencies that all threads recorded in a phase.
    pub(crate) fn latencies(&self, phase: u8) -> Latencies {
        if let Some(generators) = &self.generators {
            return generators.latencies(phase);
        }
        let (sender, reports) = mpsc::channel();
        self.send(move |worker| drop(sender.send(worker.latencies[usize::from(phase)].clone())));
        let mut merged = Latencies::default();
        reports.iter().for_each(|report| merged.merge(&report));
        merged
    }

    /// The ids of all threads with clients, each with that of its process.
    pub(crate) fn threads(&self) -> Vec<(u32, u32)> {
        match &self.generators {
            Some(generators) => generators.threads(),
            None => self.threads.iter().map(|thread| (std::process::id(), thread.id)).collect(),
        }
    }

    /// The ids of the processes with clients.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.generators.as_ref().map_or_else(|| vec![std::process::id()], GeneratorGroup::processes)
    }

    /// Lets the clients be offline as planned; returns when every thread knows the plan.
    pub(crate) fn begin_absences(&self, plan: AbsencePlan) {
        let (sender, done) = mpsc::channel::<()>();
        self.send(move |worker| {
            worker.begin_absences(plan);
            // The receiver below waits for all threads.
            let _ = sender.send(());
        });
        done.iter().for_each(drop);
    }

    /// What all clients missed and received, if each should have this number of messages.
    pub(crate) fn absence_counts(&self, published: u64) -> AbsenceCounts {
        let (sender, reports) = mpsc::channel();
        self.send(move |worker| {
            // The receiver below waits for the counts.
            let _ = sender.send(worker.absence_counts(published));
        });
        reports.iter().fold(AbsenceCounts::default(), AbsenceCounts::plus)
    }

    /// Waits until this many clients are Ready; fails if their number stops changing.
    pub(crate) fn wait_until_ready(&self, count: usize) -> Result<(), BenchError> {
        let (ready, lost) = (|| self.counts.ready.load(SeqCst), || self.counts.lost.load(SeqCst));
        let lost_before = lost();
        // Without resuming, a lost client does not reconnect.
        let has_lost_client = || !self.resumes && lost() > lost_before;
        let timeout = || if has_lost_client() { IDLE_TIMEOUT / 30 } else { IDLE_TIMEOUT };
        if wait(count as u64, ready, timeout, COUNT_CHECK_INTERVAL) {
            return Ok(());
        }
        let reason = self.counts.reason.lock().as_ref().map(|why| format!(" (last loss: {why})"));
        let (ready, reason) = (ready(), reason.unwrap_or_default());
        Err(BenchError::Run(format!("only {ready} of {count} sockets are ready{reason}")))
    }

    /// Waits until clients have resumed this often in total; fails if the number stops changing.
    pub(crate) fn wait_until_resumed(&self, count: u64) -> Result<(), BenchError> {
        let counts = &self.counts;
        let resumed = || counts.recovered.load(SeqCst) + counts.not_recovered.load(SeqCst);
        if wait(count, resumed, || IDLE_TIMEOUT, COUNT_CHECK_INTERVAL) {
            return Ok(());
        }
        Err(BenchError::Run(format!("clients resumed only {} of {count} times", resumed())))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for WorkerThread { orders, waker, handle, .. } in self.threads.drain(..) {
            // The thread ends when the sender is dropped. A panic in it was printed.
            drop(orders);
            let _ = waker.wake();
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_replica_divide_over_all_others() {
        let addresses = (1..=5).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let plan = ClientPlan {
            addresses,
            protocol: Protocol::Gateway,
            first: 0,
            identities: Vec::new(),
            is_v2: true,
            resumes: true,
            is_deflated: false,
            small_buffers: 0..0,
        };
        let at_first: Vec<_> = (0..100).filter(|index| plan.address_of(*index, 0).port() == 1).collect();
        assert_eq!(at_first.len(), 20);
        for port in 2..=5 {
            let moved = at_first.iter().filter(|index| plan.address_of(**index, 1).port() == port);
            assert_eq!(moved.count(), 5, "{port}");
        }
    }
}
