//! A client as a good SDK makes it: it comes back after whatever happens, continues where it was, and keeps a
//! record of what it heard.

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

/// How many frames and ends of sessions a failure shows of each client.
const TRACED: usize = 80;

/// Who a client is and how it goes about it.
#[derive(Debug, Clone)]
pub(crate) struct ClientOptions {
    /// Its user, whose id is its token.
    pub(crate) user: String,
    /// The channels that it follows, its own one included.
    pub(crate) channels: Vec<String>,
    /// Whether it asks for the channels that are not its own by op 4, one after the other, behind Ready.
    pub(crate) subscribes_late: bool,
    /// Of its pauses before it comes back.
    pub(crate) seed: u64,
}

/// A version 2 client on a thread of its own. Dropping it ends it.
pub(crate) struct ResumingClient {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    options: ClientOptions,
    address: SocketAddr,
    records: Mutex<HashMap<String, Record>>,
    /// What no gateway should do, and no fault excuses.
    violations: Mutex<Vec<String>>,
    /// The latest frames and ends of sessions, for a failure to show.
    trace: Mutex<VecDeque<String>>,
    sessions: AtomicUsize,
    cut: AtomicBool,
    rejoins: AtomicBool,
    sleeps: AtomicBool,
    stop: AtomicBool,
}

/// What a client knows of one channel.
#[derive(Debug, Clone, Default)]
struct Record {
    heard: Vec<Heard>,
    /// Where to continue.
    position: Option<String>,
    /// In the session of this number the channel was confirmed last.
    session: usize,
    /// Ready or op 6 said that the history cannot be read yet, and no other op 6 has followed.
    is_recovering: bool,
    /// How often the channel was said to be recovering.
    recovering_count: usize,
    /// The reasons of the gaps, in their order.
    gap_reasons: Vec<String>,
}

impl ResumingClient {
    /// Starts one, which connects to this address, always.
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

    /// Another one that continues from the same places, over the same address.
    pub(crate) fn twin(&self) -> Self {
        let Shared { options, address, records, .. } = &*self.shared;
        let mut records = records.lock().unwrap().clone();
        records.values_mut().for_each(|record| record.session = 0);
        Self::start_with(*address, options.clone(), records)
    }

    /// What it came across on a channel so far.
    pub(crate) fn heard(&self, channel: &str) -> Vec<Heard> {
        self.shared.records.lock().unwrap()[channel].heard.clone()
    }

    /// How often a channel was said to be recovering so far.
    pub(crate) fn recovering_count(&self, channel: &str) -> usize {
        self.shared.records.lock().unwrap()[channel].recovering_count
    }

    /// The reasons of the gaps that it was told of on a channel so far.
    pub(crate) fn gap_reasons(&self, channel: &str) -> Vec<String> {
        self.shared.records.lock().unwrap()[channel].gap_reasons.clone()
    }

    /// What no gateway should have done.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.shared.violations.lock().unwrap().clone()
    }

    /// Its latest frames and ends of sessions, each with its time.
    pub(crate) fn trace(&self) -> String {
        self.shared.trace.lock().unwrap().iter().map(|line| format!("    {line}\n")).collect()
    }

    /// How often it has begun a session, which is to say sent Identify.
    pub(crate) fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// Waits until all its channels are confirmed in one session.
    #[track_caller]
    pub(crate) fn wait_on_all(&self) {
        self.wait_on_all_after(0);
    }

    /// As [`wait_on_all`](Self::wait_on_all), in a session later than `before` of [`sessions`](Self::sessions).
    #[track_caller]
    pub(crate) fn wait_on_all_after(&self, before: usize) {
        eventually(SOON, || {
            let session = self.sessions();
            let records = self.shared.records.lock().unwrap();
            let is_on_all = records.values().all(|record| record.session == session);
            (session > before && is_on_all).then_some(())
        });
    }

    /// Cuts its connection without a word; it comes back.
    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
    }

    /// Leaves the channels that are not its own (op 5), comes back to them (op 4), and waits until it is there.
    #[track_caller]
    pub(crate) fn rejoin(&self) {
        self.shared.rejoins.store(true, Ordering::SeqCst);
        eventually(SOON, || (!self.shared.rejoins.load(Ordering::SeqCst)).then_some(()));
        self.wait_on_all();
    }

    /// Whether it reads nothing for a while, as a machine that sleeps.
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

    /// Notes something for [`ResumingClient::trace`].
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
