//! Delivers signals: collects those of one channel for a short time, and writes them to each receiver in one write.
//!
//! The first signal of a channel is delivered at once and opens a window. The signals that arrive in the window are
//! delivered together when it ends; a newer signal of a sender replaces its older one. So a busy room costs each
//! receiver one write in a window, however many of its members type.
//!
//! All signals share the turns of [`SignalScheduler::run_turn`], which the hub runs after messages. A channel whose
//! signals are still being written collects later ones, so a hub that does not keep up delivers fewer of them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::{FrameReceiver, FrameSink, SessionKey};
use protocol::channel::ChannelName;
use protocol::signal::Signal;

use self::batch::SignalBatch;

mod batch;

/// How long the signals of a channel are collected.
pub(super) const WINDOW: Duration = Duration::from_millis(50);

/// The most bytes of signals that a channel collects in one window.
pub(super) const MAX_WAITING_BYTES: usize = 32 << 10;

/// The part of a turn that one write takes, in bytes. A turn of 2 MiB has room for 64 writes, which take half a
/// millisecond: a message waits for no more.
const WRITE_COST: usize = 32 << 10;

/// The signals of all channels that wait or are being written.
#[derive(Debug)]
pub(super) struct SignalScheduler<S> {
    turn_bytes: usize,
    channels: HashMap<ChannelName, ChannelSignals<S>>,
    /// The ends of the windows, in order. A channel is either here or in `ready`.
    windows: VecDeque<(Instant, ChannelName)>,
    /// The channels whose signals are to be written, in the order of their turns.
    ready: VecDeque<ChannelName>,
}

/// The signals of one channel.
#[derive(Debug)]
struct ChannelSignals<S> {
    /// The collected signals, at most one of each sender.
    waiting: Vec<Arc<Signal>>,
    waiting_bytes: usize,
    /// The signals that are being written, and their remaining receivers.
    active: Option<(SignalBatch, Vec<FrameReceiver<S>>)>,
    /// When the writing of the active signals began.
    started: Instant,
}

/// What became of a signal that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It waits.
    Waiting,
    /// It replaces an older one, of this many bytes.
    Replaced(usize),
    /// It is dropped: the channel has collected too much.
    ChannelFull,
}

/// The result of one turn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignalTurn {
    /// The number of signals that receivers got.
    pub(super) delivered: u64,
    /// The number of signals that receivers did not get because they read too slowly.
    pub(super) slow: u64,
    /// The number of signals for closing sockets.
    pub(super) closing: u64,
    /// The bytes of signals to release from the inbox.
    pub(super) released_bytes: usize,
}

impl<S: FrameSink> SignalScheduler<S> {
    pub(super) fn new(turn_bytes: usize) -> Self {
        Self { turn_bytes, channels: HashMap::new(), windows: VecDeque::new(), ready: VecDeque::new() }
    }

    /// Whether there are signals to write now.
    pub(super) fn has_turns(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The end of the first window.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.windows.front().map(|(end, _)| *end)
    }

    /// Adds a signal that has arrived.
    pub(super) fn add(&mut self, now: Instant, signal: Arc<Signal>) -> Added {
        match self.channels.entry(signal.channel().clone()) {
            Entry::Occupied(occupied) => occupied.into_mut().collect(signal),
            Entry::Vacant(vacant) => {
                self.ready.push_back(vacant.key().clone());
                vacant.insert(ChannelSignals::new(now)).collect(signal)
            }
        }
    }

    /// Ends the windows whose time has come. Channels that have collected signals are ready then.
    pub(super) fn end_windows(&mut self, now: Instant) {
        while self.next_deadline().is_some_and(|end| end <= now)
            && let Some((_, channel)) = self.windows.pop_front()
        {
            if self.channels.get(&channel).is_some_and(|found| !found.waiting.is_empty()) {
                self.ready.push_back(channel);
            } else {
                self.channels.remove(&channel);
            }
        }
    }

    /// Writes signals for one turn. `receivers` finds the receivers of a channel, and `sender` the key of a session.
    pub(super) fn run_turn(
        &mut self,
        now: Instant,
        receivers: impl Fn(&ChannelName) -> Vec<FrameReceiver<S>>,
        sender: impl Fn(&Signal) -> Option<SessionKey>,
    ) -> SignalTurn {
        let (mut turn, mut budget) = (SignalTurn::default(), self.turn_bytes);
        while budget > 0
            && let Some(channel) = self.ready.pop_front()
        {
            let Some(found) = self.channels.get_mut(&channel) else { continue };
            if found.active.is_none() {
                found.start(now, receivers(&channel), &sender);
            }
            if found.write(&mut budget, &mut turn) {
                // Signals of a channel that takes long to write take at most half of the thread's time.
                let end = now + WINDOW.max(now.saturating_duration_since(found.started));
                let index = self.windows.partition_point(|(other, _)| *other <= end);
                self.windows.insert(index, (end, channel));
            } else {
                self.ready.push_back(channel);
            }
        }
        turn
    }

    /// Sends a session no more signals of a channel, because it unsubscribes.
    pub(super) fn unsubscribe(&mut self, session: SessionKey, channel: &ChannelName) {
        if !self.ready.is_empty()
            && let Some((_, receivers)) =
                self.channels.get_mut(channel).and_then(|found| found.active.as_mut())
        {
            receivers.retain(|receiver| receiver.session != session);
        }
    }

    /// Removes a session that has left, because its key may be reused.
    pub(super) fn remove(&mut self, session: SessionKey) {
        for channel in &self.ready {
            if let Some((_, receivers)) =
                self.channels.get_mut(channel).and_then(|found| found.active.as_mut())
            {
                receivers.retain(|receiver| receiver.session != session);
            }
        }
    }
}

impl<S: FrameSink> ChannelSignals<S> {
    fn new(now: Instant) -> Self {
        Self { waiting: Vec::new(), waiting_bytes: 0, active: None, started: now }
    }

    fn collect(&mut self, signal: Arc<Signal>) -> Added {
        let older = self.waiting.iter().position(|older| replaces(&signal, older));
        let replaced = older.map_or(0, |older| self.waiting[older].queued_bytes());
        let waiting_bytes = self.waiting_bytes - replaced + signal.queued_bytes();
        if waiting_bytes > MAX_WAITING_BYTES {
            return Added::ChannelFull;
        }
        self.waiting_bytes = waiting_bytes;
        // The newer signal goes to the end, so signals keep the order of their arrival.
        let added = older.map_or(Added::Waiting, |older| {
            self.waiting.remove(older);
            Added::Replaced(replaced)
        });
        self.waiting.push(signal);
        added
    }

    /// Starts to write the collected signals.
    fn start(
        &mut self,
        now: Instant,
        receivers: Vec<FrameReceiver<S>>,
        sender: impl Fn(&Signal) -> Option<SessionKey>,
    ) {
        let batch = SignalBatch::new(std::mem::take(&mut self.waiting), sender);
        self.waiting_bytes = 0;
        (self.active, self.started) = (Some((batch, receivers)), now);
    }

    /// Writes until the budget is used up. Returns whether all receivers are done.
    fn write(&mut self, budget: &mut usize, turn: &mut SignalTurn) -> bool {
        let Some((batch, receivers)) = &mut self.active else { return true };
        // A channel without receivers takes part of the turn, too.
        loop {
            *budget = budget.saturating_sub(WRITE_COST);
            let Some(receiver) = receivers.pop() else { break };
            batch.send(&receiver, turn);
            if *budget == 0 {
                break;
            }
        }
        let is_done = receivers.is_empty();
        if is_done {
            turn.released_bytes += batch.queued_bytes();
            self.active = None;
        }
        is_done
    }
}

/// Whether a signal has the same sender as an older one.
fn replaces(signal: &Signal, older: &Signal) -> bool {
    signal.session() == older.session() && signal.user() == older.user()
}
