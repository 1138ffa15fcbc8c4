//! One thread of the load generator: its clients, and a poll over their sockets.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::children::locked;
use crate::client::{Client, ClientState as State};
use crate::clients::{Counts, Order, PHASES, Pace, Plan};
use crate::latency::Latencies;

/// The token of the thread's own waker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// One for the thread, not for each client.
const BUFFER_BYTES: usize = 65_536;
/// How long a lost client waits before it tries again.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How often stalled clients check whether they are still connected.
const STALLED_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What a thread records.
#[derive(Clone)]
pub(crate) struct Recorder {
    /// From when a message was due to its arrival at a client, by phase.
    pub(crate) phases: [Latencies; PHASES],
    /// From when a connection was due to Ready.
    pub(crate) connects: Latencies,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { phases: std::array::from_fn(|_| Latencies::default()), connects: Latencies::default() }
    }
}

impl Recorder {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.connects.merge(&other.connects);
        for (own, other) in self.phases.iter_mut().zip(&other.phases) {
            own.merge(other);
        }
    }
}

/// The clients that are to connect.
struct Ramp {
    waiting: VecDeque<usize>,
    pace: Pace,
    begun_us: u64,
    started: usize,
    in_flight: usize,
}

/// The clients of one thread: every `step`th of all clients from `first` to `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) first: usize,
    pub(crate) step: usize,
    pub(crate) end: usize,
}

impl Share {
    /// The index among all clients of a client of this thread.
    fn index(self, at: usize) -> usize {
        self.first + at * self.step
    }

    /// The first of this thread's clients whose index among all is no less than this one.
    fn local(self, index: usize) -> usize {
        index.saturating_sub(self.first).div_ceil(self.step)
    }
}

/// The thread's own state.
pub(crate) struct Worker {
    poll: Poll,
    orders: mpsc::Receiver<Order>,
    plan: Arc<Plan>,
    counts: Arc<Counts>,
    begun: Instant,
    share: Share,
    clients: Vec<Client>,
    recorder: Recorder,
    ramp: Ramp,
    /// The clients that try again, and when.
    retries: VecDeque<(Instant, usize)>,
    stalled_checked: Instant,
}

impl Worker {
    pub(crate) fn new(
        poll: Poll,
        orders: mpsc::Receiver<Order>,
        plan: Arc<Plan>,
        counts: Arc<Counts>,
        begun: Instant,
        share: Share,
    ) -> Self {
        let clients = (share.first..share.end).step_by(share.step).map(|_| Client::new()).collect();
        let ramp =
            Ramp { waiting: VecDeque::new(), pace: Pace::InFlight(1), begun_us: 0, started: 0, in_flight: 0 };
        let (recorder, retries, stalled_checked) = (Recorder::default(), VecDeque::new(), begun);
        Self { poll, orders, plan, counts, begun, share, clients, recorder, ramp, retries, stalled_checked }
    }

    /// Runs until the order to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(self.pause()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return self.note(&error.to_string());
            }
            while let Ok(order) = self.orders.try_recv() {
                if matches!(order, Order::Stop) {
                    return;
                }
                self.carry_out(order);
            }
            for event in &events {
                if event.token() != WAKE {
                    self.on_event(event.token().0, event.is_writable(), &mut buffer);
                }
            }
            self.counts.notify();
            self.connect_those_due();
            self.check_stalled();
        }
    }

    /// How long there is nothing to do unless an event or an order comes.
    fn pause(&self) -> Duration {
        let ramp = match self.ramp.pace {
            Pace::Rate(_) if !self.ramp.waiting.is_empty() => {
                Duration::from_micros(self.next_due_us().saturating_sub(self.now_us()))
            }
            _ => STALLED_CHECK_INTERVAL,
        };
        let retry = self
            .retries
            .front()
            .map_or(STALLED_CHECK_INTERVAL, |(at, _)| at.saturating_duration_since(Instant::now()));
        ramp.min(retry).min(STALLED_CHECK_INTERVAL)
    }

    fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// The clients of this thread among these of all.
    fn own(&self, range: &Range<usize>) -> Range<usize> {
        let local = |index: usize| self.share.local(index).min(self.clients.len());
        local(range.start)..local(range.end)
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Connect(range, pace) => {
                self.ramp.waiting.extend(self.own(&range));
                (self.ramp.pace, self.ramp.begun_us, self.ramp.started) = (pace, self.now_us(), 0);
            }
            Order::Cut => {
                (0..self.clients.len()).for_each(|at| self.leave(at));
                // Returns are recorded apart from the first connects.
                self.recorder.connects = Latencies::default();
            }
            Order::Leave(range) => {
                let own = self.own(&range);
                self.retries.retain(|(_, at)| !own.contains(at));
                own.for_each(|at| self.leave(at));
            }
            Order::Stall(range) => {
                for at in self.own(&range) {
                    self.clients[at].stalls = true;
                    if self.clients[at].state == State::Ready {
                        self.clients[at].state = State::Stalled;
                    }
                }
            }
            // The receiver may have given up.
            Order::Report(sender) => drop(sender.send(self.recorder.clone())),
            Order::Stop => {}
        }
    }

    fn leave(&mut self, at: usize) {
        let state = self.clients[at].state;
        if matches!(state, State::Ready | State::Stalled) {
            self.counts.ready.fetch_sub(1, SeqCst);
        } else if state != State::Disconnected {
            self.ramp.in_flight -= 1;
        }
        self.clients[at].cut();
    }

    fn next_due_us(&self) -> u64 {
        let Ramp { pace, begun_us, started, .. } = self.ramp;
        match pace {
            // Each thread has its share of the rate, at moments of its own.
            Pace::Rate(rate) => {
                let number = (started * self.share.step + self.share.first) as f64;
                begun_us + (number * 1e6 / rate) as u64
            }
            Pace::InFlight(_) => self.now_us(),
            Pace::AtOnce(_) => begun_us,
        }
    }

    fn connect_those_due(&mut self) {
        while self.retries.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            if let Some((_, at)) = self.retries.pop_front() {
                self.connect(at);
            }
        }
        loop {
            let (due_us, in_flight) = (self.next_due_us(), self.ramp.in_flight);
            let may = match self.ramp.pace {
                Pace::Rate(_) => due_us <= self.now_us(),
                Pace::InFlight(most) | Pace::AtOnce(most) => in_flight < most.div_ceil(self.share.step),
            };
            if !may {
                return;
            }
            let Some(at) = self.ramp.waiting.pop_front() else { return };
            self.ramp.started += 1;
            self.clients[at].due_us = due_us;
            self.connect(at);
        }
    }

    fn connect(&mut self, at: usize) {
        let index = self.share.index(at);
        self.ramp.in_flight += 1;
        let registered = self.clients[at].connect(index, &self.plan).and_then(|stream| {
            self.poll.registry().register(stream, Token(at), Interest::READABLE | Interest::WRITABLE)
        });
        if let Err(error) = registered {
            self.lose(at, &error.to_string());
        }
    }

    fn on_event(&mut self, at: usize, is_writable: bool, buffer: &mut [u8]) {
        let client = &mut self.clients[at];
        match client.state {
            State::Disconnected | State::Stalled => return,
            State::Connecting if is_writable => {
                let index = self.share.index(at);
                // From here on only what can be read matters: further room in the buffer does not.
                let introduced =
                    client.introduce(&self.plan.identities[index], &self.plan).and_then(|stream| {
                        self.poll.registry().reregister(stream, Token(at), Interest::READABLE)
                    });
                if let Err(error) = introduced {
                    self.lose(at, &error.to_string());
                }
                return;
            }
            _ => {}
        }
        let now_us = self.begun.elapsed().as_micros() as u64;
        let (recorder, counts, stalls) = (&mut self.recorder, &self.counts, client.stalls);
        let received = client.receive(&self.plan, buffer, |stamp| {
            if stalls {
                return;
            }
            let phase = usize::from(stamp.phase).min(PHASES - 1);
            if phase > 0 {
                recorder.phases[phase].record(stamp.at_us, now_us.saturating_sub(stamp.at_us));
            }
            counts.deliveries[phase].fetch_add(1, SeqCst);
        });
        self.counts.heartbeats.fetch_add(received.heartbeats, SeqCst);
        if received.is_ready && self.clients[at].state == State::Identifying {
            self.clients[at].state = if self.clients[at].stalls { State::Stalled } else { State::Ready };
            self.ramp.in_flight -= 1;
            let due_us = self.clients[at].due_us;
            self.recorder.connects.record(due_us, now_us.saturating_sub(due_us));
            self.counts.ready.fetch_add(1, SeqCst);
        }
        match received.recovered {
            Some(true) => drop(self.counts.recovered.fetch_add(1, SeqCst)),
            Some(false) => drop(self.counts.not_recovered.fetch_add(1, SeqCst)),
            None => {}
        }
        if let Some(reason) = received.lost {
            self.lose(at, &reason);
        }
    }

    fn check_stalled(&mut self) {
        if self.stalled_checked.elapsed() < STALLED_CHECK_INTERVAL {
            return;
        }
        self.stalled_checked = Instant::now();
        for at in 0..self.clients.len() {
            if self.clients[at].state == State::Stalled && !self.clients[at].is_alive() {
                self.lose(at, "a stalled reader was cut");
            }
        }
    }

    fn lose(&mut self, at: usize, reason: &str) {
        self.leave(at);
        self.note(reason);
        self.counts.lost.fetch_add(1, SeqCst);
        if self.plan.shape.comes_back || self.share.index(at) >= self.plan.narrow_from {
            self.retries.push_back((Instant::now() + RETRY_DELAY, at));
        }
    }

    fn note(&self, reason: &str) {
        *locked(&self.counts.reason) = Some(reason.to_owned());
    }
}
