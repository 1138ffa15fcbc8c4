//! All clients of the load generator, on threads of their own: their orders, and what they count together.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};

use crate::children::locked;
use crate::latency::Latencies;
use crate::scenario::Shape;
use crate::worker::{Recorder, Share, WAKE, Worker};
use crate::{BenchError, process};

/// A run has at most so many phases, the one that is not counted (0) included: a phase's number is one digit.
pub(crate) const PHASES: usize = 5;

/// Who connects where, and how.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) identities: Vec<Identity>,
    pub(crate) shape: Shape,
    pub(crate) is_deflated: bool,
    /// Clients from this one on have the smallest receive buffer.
    pub(crate) narrow_from: usize,
    /// Clients from this one on have a thread of their own, that reads nothing else.
    pub(crate) apart_from: usize,
}

/// Who a client is.
pub(crate) struct Identity {
    pub(crate) token: String,
    /// What it subscribes to with Identify (version 2).
    pub(crate) channels: Vec<String>,
}

/// How fast clients connect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many in a second, whether or not the ones before are Ready.
    Rate(f64),
    /// So many at a time; each is due when it begins.
    InFlight(usize),
    /// So many at a time, but all are due now.
    AtOnce(usize),
}

/// What the clients of one thread are to do.
pub(crate) enum Order {
    /// These connect.
    Connect(Range<usize>, Pace),
    /// All sockets are cut.
    Cut,
    /// These stop reading.
    Stall(Range<usize>),
    /// These are cut for good.
    Leave(Range<usize>),
    /// The thread sends what it has recorded so far.
    Report(mpsc::Sender<Recorder>),
    /// The thread ends.
    Stop,
}

/// What all threads count together.
#[derive(Default)]
pub(crate) struct Counts {
    /// Clients that are Ready now.
    pub(crate) ready: AtomicUsize,
    /// Connections that were refused, or lost without our doing.
    pub(crate) lost: AtomicUsize,
    /// Clients that came back with a position and were told that nothing is missing.
    pub(crate) recovered: AtomicUsize,
    /// … and that something may be missing.
    pub(crate) not_recovered: AtomicUsize,
    pub(crate) heartbeats: AtomicU64,
    pub(crate) deliveries: [AtomicU64; PHASES],
    /// The last reason why a connection was lost.
    pub(crate) reason: Mutex<Option<String>>,
    /// How many deliveries the publisher waits for, and its thread.
    awaited: AtomicU64,
    waiting: OnceLock<Thread>,
}

impl Counts {
    /// Messages received in all phases.
    pub(crate) fn delivered(&self) -> u64 {
        self.deliveries.iter().map(|phase| phase.load(SeqCst)).sum()
    }

    /// Wakes the publisher when its deliveries are complete. Each thread calls this after each batch.
    pub(crate) fn notify(&self) {
        if let Some(waiting) = self.waiting.get()
            && self.delivered() >= self.awaited.load(SeqCst)
        {
            waiting.unpark();
        }
    }

    /// Waits until so many messages have come; false after the timeout. Only one thread may call this.
    pub(crate) fn wait_for_deliveries(&self, count: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.awaited.store(count, SeqCst);
        self.waiting.get_or_init(std::thread::current);
        while self.delivered() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
        self.awaited.store(u64::MAX, SeqCst);
        true
    }
}

/// All clients.
pub(crate) struct Clients {
    pub(crate) counts: Arc<Counts>,
    comes_back: bool,
    threads: Vec<WorkerThread>,
}

struct WorkerThread {
    orders: mpsc::Sender<Order>,
    waker: Waker,
    /// The kernel's number of the thread.
    id: u32,
    handle: Option<JoinHandle<()>>,
}

impl Clients {
    /// Starts the threads; no client connects yet. Times are counted from `begun`.
    pub(crate) fn start(plan: Plan, threads: usize, begun: Instant) -> Result<Self, BenchError> {
        let (plan, counts) = (Arc::new(plan), Arc::<Counts>::default());
        let mut started = Vec::new();
        for (number, share) in shares(plan.identities.len(), plan.apart_from, threads).enumerate() {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (sender, orders) = mpsc::channel();
            let worker = Worker::new(poll, orders, Arc::clone(&plan), Arc::clone(&counts), begun, share);
            let (id_sender, id) = mpsc::channel();
            let handle = std::thread::Builder::new().name(format!("bench-{number}")).spawn(move || {
                // The receiver waits for it below.
                let _ = id_sender.send(process::this_thread().unwrap_or_default());
                worker.run();
            })?;
            let id = id.recv().unwrap_or_default();
            started.push(WorkerThread { orders: sender, waker, id, handle: Some(handle) });
        }
        Ok(Self { counts, comes_back: plan.shape.comes_back, threads: started })
    }

    pub(crate) fn send(&self, order: impl Fn() -> Order) {
        for thread in &self.threads {
            // A thread that has ended has reported why.
            let _ = thread.orders.send(order());
            let _ = thread.waker.wake();
        }
    }

    /// What all threads have recorded so far.
    pub(crate) fn report(&self) -> Recorder {
        let (sender, reports) = mpsc::channel();
        self.send(|| Order::Report(sender.clone()));
        drop(sender);
        let mut merged = Recorder::default();
        reports.iter().for_each(|report| merged.merge(&report));
        merged
    }

    pub(crate) fn latencies(&self, phase: u8) -> Latencies {
        std::mem::take(&mut self.report().phases[usize::from(phase)])
    }

    pub(crate) fn thread_ids(&self) -> impl Iterator<Item = u32> {
        self.threads.iter().map(|thread| thread.id)
    }

    /// Waits until so many are Ready, as long as their number still changes within `timeout`.
    pub(crate) fn wait_until_ready(&self, count: usize, timeout: Duration) -> Result<(), BenchError> {
        let mut last = (0, Instant::now());
        let lost = self.counts.lost.load(SeqCst);
        loop {
            let ready = self.counts.ready.load(SeqCst);
            if ready >= count {
                return Ok(());
            }
            if ready != last.0 {
                last = (ready, Instant::now());
            }
            // A refused client that does not try again is missing for good.
            let is_hopeless = !self.comes_back && self.counts.lost.load(SeqCst) > lost;
            if last.1.elapsed() > if is_hopeless { timeout / 30 } else { timeout } {
                let reason =
                    locked(&self.counts.reason).as_ref().map(|why| format!(" (the last one lost: {why})"));
                let reason = reason.unwrap_or_default();
                return Err(BenchError::Run(format!("only {ready} of {count} sockets are ready{reason}")));
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

/// The clients of each thread.
fn shares(clients: usize, apart_from: usize, threads: usize) -> impl Iterator<Item = Share> {
    let end = apart_from.min(clients);
    let together = (0..threads).map(move |first| Share { first, step: threads, end });
    let apart = (end < clients).then_some(Share { first: end, step: 1, end: clients });
    together.chain(apart)
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.send(|| Order::Stop);
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A panic there has been printed.
                let _ = handle.join();
            }
        }
    }
}
