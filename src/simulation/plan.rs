//! What kind of run a seed makes: how many of everything, and which faults may happen.

use std::time::Duration;

use super::rng::SimulationRng;
use crate::broker::RecoveryLimits;

/// A bug that is planted on purpose, to test that the checker finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlantedBug {
    /// The code runs as written.
    None,
    /// Replicas skip the history that may contain missing messages.
    SkippedRepair,
    /// Subscriptions go live before their clients are notified.
    EarlyGoLive,
    /// A full inbox drops publications without a gap.
    UnreportedOverflow,
    /// Reads interrupted by the loss of the link fail instead of being repeated.
    AbandonedReads,
    /// A subscription is confirmed one position too early.
    EarlyCut,
    /// The hub does not tell the session when a recovering channel goes live.
    UnreportedRecovery,
    /// The link is not told which channels the server has refused.
    ForgottenRefusal,
    /// A client resumes from an older position than the last one it received.
    StalePosition,
}

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Durable,
    Plain,
    Mixed,
}

/// Something that breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    LinkCut,
    /// The connection for histories breaks.
    ReadsCut,
    /// Longer than anybody waits for an answer.
    TimePasses,
    ReplicaRestart,
    /// Replicas may not subscribe to a channel any more, or may again: an ACL has changed.
    Permission,
    /// A message on the wire is lost without a trace.
    MessageLost,
    /// Redis is started again and has everything.
    Restart,
    /// It has not what was written last.
    RestartWithLostEnd,
    /// It has nothing.
    RestartEmpty,
    Flush,
    /// Somebody deletes one history.
    Delete,
    ClockForward,
    ClockBack,
}

/// One run, before it begins.
#[derive(Debug, Clone)]
pub(super) struct SimulationPlan {
    /// Nothing is lost at Redis, and nothing overflows: then nobody may be told of a gap.
    pub(super) is_calm: bool,
    pub(super) replicas: usize,
    pub(super) hubs: usize,
    pub(super) clients: usize,
    pub(super) kinds: [ChannelKind; 4],
    pub(super) disturbances: usize,
    /// What happens between two disturbances, in steps, about.
    pub(super) pace: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) history_size: usize,
    pub(super) ttl_ms: u64,
    /// The longest message, as far as the link knows: the longer, the shorter are pages.
    pub(super) payload_bytes: usize,
    /// What rings may hold.
    pub(super) ring_bytes: usize,
    /// How many publications a subscription may hold that is not live.
    pub(super) max_held: usize,
    /// Fan-outs of more bytes are written in turns.
    pub(super) turn_bytes: usize,
    pub(super) max_inbox_bytes: usize,
    pub(super) recovery: RecoveryLimits,
    pub(super) answer_timeout: Duration,
    /// How many of a hundred reading commands Redis does not answer now.
    pub(super) unanswered_percent: u64,
    /// How many of a hundred reading commands Redis refuses.
    pub(super) refused_percent: u64,
    pub(super) planted_bug: PlantedBug,
}

const NO_EXPIRY_MS: u64 = 1 << 40;

impl SimulationPlan {
    pub(super) fn draw(rng: &mut SimulationRng, planted_bug: PlantedBug) -> Self {
        let is_calm = rng.percent(25);
        let kinds = match is_calm {
            true => [ChannelKind::Durable; 4],
            false => [(); 4].map(|()| {
                rng.pick(&[
                    ChannelKind::Durable,
                    ChannelKind::Durable,
                    ChannelKind::Plain,
                    ChannelKind::Mixed,
                ])
            }),
        };
        let mut plan = Self {
            is_calm,
            replicas: rng.between(1, 2) as usize,
            hubs: rng.between(1, 2) as usize,
            clients: rng.between(1, 3) as usize,
            kinds,
            disturbances: rng.between(10, 60) as usize,
            pace: rng.pick(&[1, 2, 4, 8]),
            faults: vec![Fault::LinkCut, Fault::ReplicaRestart, Fault::ReadsCut, Fault::TimePasses],
            history_size: 1_000,
            ttl_ms: NO_EXPIRY_MS,
            payload_bytes: rng.pick(&[1 << 20, 1 << 19, 1 << 18, 100]),
            ring_bytes: rng.pick(&[0, 400, 1_500, usize::MAX >> 1]),
            max_held: rng.pick(&[1, 3, 1_000, 1_000]),
            turn_bytes: rng.pick(&[1, 3, 1 << 20]),
            max_inbox_bytes: usize::MAX,
            recovery: RecoveryLimits { messages: 1_000, bytes: 1 << 30 },
            answer_timeout: Duration::from_millis(rng.pick(&[1, 50, 2_000])),
            unanswered_percent: rng.pick(&[0, 0, 5, 30]),
            refused_percent: 0,
            planted_bug,
        };
        if !is_calm {
            plan.add_faults(rng);
        }
        plan
    }

    fn add_faults(&mut self, rng: &mut SimulationRng) {
        // What nobody has seen and Redis no longer has cannot be missed; and where the clock is set back over the
        // life of a history that is lost, positions repeat themselves (docs/decisions.md).
        let has_clock_set_back = rng.percent(20);
        let loses_on_the_wire = !has_clock_set_back && rng.percent(30);
        let keeps_data = has_clock_set_back || loses_on_the_wire;
        if loses_on_the_wire {
            self.faults.push(Fault::MessageLost);
        }
        for fault in [Fault::Restart, Fault::ClockForward, Fault::Permission] {
            if rng.percent(40) {
                self.faults.push(fault);
            }
        }
        for fault in [Fault::RestartWithLostEnd, Fault::RestartEmpty, Fault::Flush, Fault::Delete] {
            if !keeps_data && rng.percent(30) {
                self.faults.push(fault);
            }
        }
        if has_clock_set_back {
            self.faults.push(Fault::ClockBack);
            // The first message of a history that begins under an older clock replaces the history that its readers
            // know. A ring without room for it tells a gap instead of it, and the checker waits for the message.
            self.ring_bytes = usize::MAX >> 1;
        }
        if rng.percent(30) {
            self.history_size = rng.between(1, 6) as usize;
        }
        if rng.percent(20) && !keeps_data {
            self.ttl_ms = rng.between(5, 300);
        }
        if rng.percent(25) {
            self.max_inbox_bytes = rng.between(200, 1_000) as usize;
        }
        if rng.percent(25) {
            self.recovery.messages = rng.between(1, 6) as usize;
        }
        if rng.percent(15) {
            self.refused_percent = rng.between(1, 20);
        }
    }

    pub(super) fn may(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
