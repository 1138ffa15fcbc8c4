//! One thread of the load generator, which polls the sockets of its clients.

mod absences;
mod receiving;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

pub(crate) use self::absences::{AbsenceCounts, AbsencePlan, REPLAY_PHASE};
use self::absences::{Absences, Missed};
use crate::BenchError;
use crate::client::{Client, ClientState as State};
use crate::clients::{CONNECTING, ClientCounts, ClientPlan, Order, PHASES, Pace};
use crate::latency::Latencies;

/// The token of the thread's waker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// The size of the read buffer, which all clients of the thread share.
const BUFFER_BYTES: usize = 65_536;
/// How long a lost client waits before it reconnects, and how often this is checked.
const RETRY_DELAY: Duration = Duration::from_millis(200);
const RETRY_CHECK_INTERVAL: Duration = Duration::from_millis(1);
/// How often stalled clients check whether they are still connected.
const STALLED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of one thread.
pub(crate) struct Worker {
    poll: Poll,
    plan: Arc<ClientPlan>,
    counts: Arc<ClientCounts>,
    started_at: Instant,
    /// The arrival time of the current events, in microseconds since `started_at`.
    now_us: u64,
    clients: Vec<Client>,
    /// Latencies by phase, from the due time to the arrival of a message, or of Ready for connects.
    pub(crate) latencies: [Latencies; PHASES],
    /// The clients to connect, their pace and its start; the numbers of started and of unfinished connects.
    waiting: VecDeque<usize>,
    pace: Pace,
    pace_begun_us: u64,
    started: usize,
    in_flight: usize,
    /// The number of threads, among which the rate is divided.
    step: usize,
    /// The clients that reconnect, with the time.
    retries: VecDeque<(Instant, usize)>,
    stalled_checked: Instant,
    absences: Absences,
    absence_counts: AbsenceCounts,
    /// By client; empty without absences.
    missed: Vec<Missed>,
}

impl Worker {
    /// Creates a thread's state with every `step`th client of this range.
    pub(crate) fn new(
        poll: Poll,
        plan: Arc<ClientPlan>,
        counts: Arc<ClientCounts>,
        started_at: Instant,
        range: Range<usize>,
        step: usize,
    ) -> Self {
        Self {
            poll,
            plan,
            counts,
            started_at,
            now_us: 0,
            clients: range.step_by(step).map(Client::new).collect(),
            latencies: std::array::from_fn(|_| Latencies::default()),
            waiting: VecDeque::new(),
            pace: Pace::InFlight(1),
            pace_begun_us: 0,
            started: 0,
            in_flight: 0,
            step,
            retries: VecDeque::new(),
            stalled_checked: started_at,
            absences: Absences::default(),
            absence_counts: AbsenceCounts::default(),
            missed: Vec::new(),
        }
    }

    /// Runs until the sender of orders is dropped.
    pub(crate) fn run(&mut self, orders: &mpsc::Receiver<Order>) {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(self.pause()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return self.record_loss(&error.into());
            }
            loop {
                match orders.try_recv() {
                    Ok(order) => order(self),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            for event in &events {
                if event.token() != WAKE {
                    self.on_event(event.token().0, event.is_writable(), &mut buffer);
                }
            }
            self.counts.notify();
            self.apply_absences();
            self.connect_due();
            self.check_stalled();
        }
    }

    /// The maximum time to wait for the next event or order.
    fn pause(&self) -> Duration {
        let of_absences = self.pause_of_absences().unwrap_or(STALLED_CHECK_INTERVAL);
        let of_others = match self.pace {
            _ if !self.retries.is_empty() => RETRY_CHECK_INTERVAL,
            Pace::Rate(_) if !self.waiting.is_empty() => {
                Duration::from_micros(self.next_due_us().saturating_sub(self.elapsed_us()))
            }
            _ => STALLED_CHECK_INTERVAL,
        };
        of_absences.min(of_others)
    }

    fn elapsed_us(&self) -> u64 {
        self.started_at.elapsed().as_micros() as u64
    }

    /// The clients of this thread in a range of all clients.
    fn own_clients(&self, range: &Range<usize>) -> Vec<usize> {
        (0..self.clients.len()).filter(|at| range.contains(&self.clients[*at].index)).collect()
    }

    /// Connects these clients.
    pub(crate) fn start(&mut self, range: &Range<usize>, pace: Pace) {
        self.waiting.extend(self.own_clients(range));
        (self.pace, self.pace_begun_us, self.started) = (pace, self.elapsed_us(), 0);
    }

    /// Disconnects all clients, and clears the latencies of connects.
    pub(crate) fn disconnect(&mut self) {
        (0..self.clients.len()).for_each(|at| self.leave(at));
        self.latencies[usize::from(CONNECTING)] = Latencies::default();
    }

    /// Disconnects these clients without a reconnect.
    pub(crate) fn remove(&mut self, range: &Range<usize>) {
        let own = self.own_clients(range);
        self.retries.retain(|(_, at)| !own.contains(at));
        own.into_iter().for_each(|at| self.leave(at));
    }

    /// These clients stop reading after Ready.
    pub(crate) fn stall(&mut self, range: &Range<usize>) {
        self.own_clients(range).into_iter().for_each(|at| self.clients[at].stalls = true);
    }

    fn leave(&mut self, at: usize) {
        match self.clients[at].state {
            State::Ready | State::Stalled => drop(self.counts.ready.fetch_sub(1, SeqCst)),
            State::Disconnected => {}
            _ => self.in_flight -= 1,
        }
        self.clients[at].disconnect();
    }

    fn next_due_us(&self) -> u64 {
        match self.pace {
            // The due times of the threads alternate.
            Pace::Rate(rate) => {
                let first = self.clients.first().map_or(0, |client| client.index);
                self.pace_begun_us + ((self.started * self.step + first) as f64 * 1e6 / rate) as u64
            }
            Pace::InFlight(_) => self.elapsed_us(),
            Pace::AtOnce(_) => self.pace_begun_us,
        }
    }

    fn connect_due(&mut self) {
        while let Some((due, at)) = self.retries.front().copied()
            && due <= Instant::now()
        {
            self.retries.pop_front();
            self.connect(at);
        }
        loop {
            let due_us = self.next_due_us();
            let may = match self.pace {
                Pace::Rate(_) => due_us <= self.elapsed_us(),
                Pace::InFlight(most) | Pace::AtOnce(most) => self.in_flight < most.div_ceil(self.step),
            };
            if !may {
                return;
            }
            let Some(at) = self.waiting.pop_front() else { return };
            self.started += 1;
            self.clients[at].due_us = due_us;
            self.connect(at);
        }
    }

    fn connect(&mut self, at: usize) {
        self.in_flight += 1;
        let registered = self.clients[at].connect(&self.plan).and_then(|stream| {
            self.poll.registry().register(stream, Token(at), Interest::READABLE | Interest::WRITABLE)
        });
        if let Err(error) = registered {
            self.lose(at, &error.into());
        }
    }

    fn on_event(&mut self, at: usize, is_writable: bool, buffer: &mut [u8]) {
        let handled = match self.clients[at].state {
            State::Disconnected | State::Stalled => return,
            // After the handshake is sent, only readability matters.
            State::Connecting if is_writable => self.clients[at]
                .send_handshake(&self.plan)
                .and_then(|stream| self.poll.registry().reregister(stream, Token(at), Interest::READABLE))
                .map_err(BenchError::from),
            _ => self.receive(at, buffer),
        };
        if let Err(error) = handled {
            self.lose(at, &error);
        }
    }

    /// Writes a short frame to the socket of the client at this index of the thread.
    pub(crate) fn write(&mut self, at: usize, frame: &[u8]) {
        if let Some(stream) = self.clients.get_mut(at).and_then(|client| client.stream.as_mut()) {
            // The frame is small: if the kernel's buffer is full, the connection is lost anyway.
            let _ = stream.write(frame);
        }
    }

    fn check_stalled(&mut self) {
        if self.stalled_checked.elapsed() < STALLED_CHECK_INTERVAL {
            return;
        }
        self.stalled_checked = Instant::now();
        for at in 0..self.clients.len() {
            if self.clients[at].state == State::Stalled && !self.clients[at].is_alive() {
                self.lose(at, &BenchError::Run("a stalled reader was disconnected".to_owned()));
            }
        }
    }

    fn lose(&mut self, at: usize, reason: &BenchError) {
        self.leave(at);
        self.clients[at].losses += 1;
        self.record_loss(reason);
        self.counts.lost.fetch_add(1, SeqCst);
        if self.plan.resumes || self.plan.small_buffers.contains(&self.clients[at].index) {
            self.retries.push_back((Instant::now() + RETRY_DELAY, at));
        }
    }

    fn record_loss(&self, reason: &BenchError) {
        *self.counts.reason.lock() = Some(reason.to_string());
    }
}
