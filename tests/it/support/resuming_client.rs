//! A client that behaves like a good SDK: it always reconnects, resumes from its last positions, and records every
//! message.

mod session;
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::deadline::eventually;
use super::fault_proxy::hold;
use super::process::SOON;
use super::verdict::Heard;

/// The number of trace lines that a failure shows of each client.
const TRACED: usize = 80;

/// Identity and behaviour of a client.
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    /// The user, whose id is its token.
    pub(crate) user: String,
    /// The channels to follow, including the user's own.
    pub(crate) channels: Vec<String>,
    /// Those of the channels whose messages are plain: they have no position.
    pub(crate) plain: Vec<String>,
    /// Whether it subscribes to channels other than its own with op 4 after Ready, one after the other.
    pub(crate) subscribes_late: bool,
    /// The seed of the pauses before reconnecting.
    pub(crate) seed: u64,
}

/// A version 2 client on its own thread. Dropping it stops the thread.
pub(crate) struct ResumingClient {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    options: ClientOptions,
    address: SocketAddr,
    records: Mutex<HashMap<String, Record>>,
    /// Violations of the protocol by the gateway, which no fault excuses.
    violations: Mutex<Vec<String>>,
    /// The latest frames and ends of sessions, shown by a failure.
    trace: Mutex<VecDeque<String>>,
    sessions: AtomicUsize,
    cut: AtomicBool,
    rejoins: AtomicBool,
    sleeps: AtomicBool,
    stop: AtomicBool,
}

/// The state and the history of one channel.
#[derive(Debug, Clone, Default)]
struct Record {
    heard: Vec<Heard>,
    /// The position to resume from.
    position: Option<String>,
    /// The number of the last session that confirmed the channel.
    session: usize,
    /// Ready or op 6 reported `recovering`, and no later op 6 has confirmed the channel.
    is_recovering: bool,
    /// How often the gateway reported `recovering`.
    recovering_count: usize,
    /// The reasons of the gaps, in order.
    gap_reasons: Vec<String>,
}

impl ResumingClient {
    /// Starts a client that always connects to this address.
    pub(crate) fn start(address: SocketAddr, options: ClientOptions) -> Self {
        let records = options.channels.iter().map(|channel| (channel.clone(), Record::default())).collect();
        Self::start_with(address, options, records)
    }

    fn start_with(address: SocketAddr, options: ClientOptions, records: HashMap<String, Record>) -> Self {
        let shared = Arc::new(Shared {
            records: Mutex::new(records),
            options,
            address,
            violations: Mutex::default(),
            trace: Mutex::default(),
            sessions: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            rejoins: AtomicBool::new(false),
            sleeps: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || own.run());
        Self { shared, thread: Some(thread) }
    }

    /// Starts another client that resumes from the same positions at the same address.
    pub(crate) fn twin(&self) -> Self {
        let Shared { options, address, records, .. } = &*self.shared;
        let mut records = records.lock().unwrap().clone();
        records.values_mut().for_each(|record| record.session = 0);
        Self::start_with(*address, options.clone(), records)
    }

    /// Whether it follows a channel.
    pub(crate) fn follows(&self, channel: &str) -> bool {
        self.shared.options.channels.iter().any(|own| own == channel)
    }

    /// The events of a channel so far.
    pub(crate) fn heard(&self, channel: &str) -> Vec<Heard> {
        self.shared.records.lock().unwrap()[channel].heard.clone()
    }

    /// How often the gateway has reported a channel as `recovering`.
    pub(crate) fn recovering_count(&self, channel: &str) -> usize {
        self.shared.records.lock().unwrap()[channel].recovering_count
    }

    /// The reasons of the gaps reported for a channel so far.
    pub(crate) fn gap_reasons(&self, channel: &str) -> Vec<String> {
        self.shared.records.lock().unwrap()[channel].gap_reasons.clone()
    }

    /// The protocol violations of the gateway.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap().clone()
    }

    /// The latest frames and ends of sessions, each with its time.
    pub(crate) fn trace(&self) -> String {
        self.shared.trace.lock().unwrap().iter().map(|line| format!("    {line}\n")).collect()
    }

    /// The number of sessions so far, counted when Identify is sent.
    pub(crate) fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// Waits until one session has confirmed all channels.
    #[track_caller]
    pub(crate) fn wait_on_all(&self) {
        self.wait_on_all_after(0);
    }

    /// Waits until one session later than number `before` has confirmed all channels.
    #[track_caller]
    pub(crate) fn wait_on_all_after(&self, before: usize) {
        eventually(SOON, || {
            let session = self.sessions();
            let records = self.shared.records.lock().unwrap();
            let is_on_all = records.values().all(|record| record.session == session);
            (session > before && is_on_all).then_some(())
        });
    }

    /// Cuts the connection without a Close frame; the client reconnects.
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
    }

    /// Unsubscribes from all channels but the user's own (op 5), subscribes again (op 4), and waits for the
    /// confirmations.
    #[track_caller]
    pub(crate) fn rejoin(&self) {
        self.shared.rejoins.store(true, Ordering::SeqCst);
        eventually(SOON, || (!self.shared.rejoins.load(Ordering::SeqCst)).then_some(()));
        self.wait_on_all();
    }

    /// Sets whether the client stops reading, as a suspended machine does.
    pub(crate) fn sleep(&self, sleeps: bool) {
        self.shared.sleeps.store(sleeps, Ordering::SeqCst);
    }
}

impl Drop for ResumingClient {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        while !self.stop.load(Ordering::SeqCst) {
            session::run(self);
            hold(Duration::from_millis(rng.random_range(5..60)));
        }
    }

    /// Adds a line to [`ResumingClient::trace`].
    fn trace(&self, what: &str) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = self.sessions.load(Ordering::SeqCst);
        let mut trace = self.trace.lock().unwrap();
        if trace.len() == TRACED {
            trace.pop_front();
        }
        let shown: String = what.chars().take(200).collect();
        trace.push_back(format!("{}.{:03} session {session}: {shown}", at.as_secs(), at.subsec_millis()));
    }

    fn record_violation(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }
}
