//! The parameters of a run: the number of replicas, hubs and clients, and which faults may happen.

use std::time::Duration;

use super::rng::SimulationRng;
use crate::broker::RecoveryLimits;

/// A bug planted on purpose, to test the checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlantedBug {
    /// No bug.
    None,
    /// Replicas skip the history that may contain missing messages.
    SkippedRepair,
    /// A channel that moves to another link begins at the tail of its history.
    ForgottenCursor,
    /// Subscriptions go live before their clients are notified.
    EarlyGoLive,
    /// A full inbox drops publications without a gap.
    UnreportedOverflow,
    /// Reads interrupted by the loss of the link fail instead of being repeated.
    AbandonedReads,
    /// A subscription is confirmed one position too early.
    EarlyCut,
    /// The hub does not notify the session when a recovering channel goes live.
    UnreportedRecovery,
    /// The link does not learn which channels the server refused.
    ForgottenRefusal,
    /// The newest of the last messages is not read.
    StaleLast,
    /// A client resumes from an older position than the last one it received.
    StalePosition,
    /// A hub does not report that the last session of a user has left.
    ForgottenReport,
    /// A hub does not report that the last subscriber of a channel has left.
    ForgottenVacancy,
    /// A hub does not report that the last session of a user has left a channel.
    ForgottenMember,
    /// Signals lose the id of their session on the way.
    EchoedSignal,
    /// `gateway_send` does not check whether it has stored the message before.
    ForgottenReceipt,
    /// A session acknowledges a message although Redis did not answer.
    EarlyAcknowledgement,
    /// A session sends the messages that wait behind a failed one.
    OvertakenMessage,
}

/// The kind of messages on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Durable,
    Plain,
    Mixed,
}

/// A fault of the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    LinkCut,
    /// The connection that reads histories breaks.
    ReadsCut,
    /// Time passes, up to more than the longest timeout.
    TimePasses,
    ReplicaRestart,
    /// An ACL change forbids the replicas to subscribe to a channel, or allows it again.
    Permission,
    /// A message is lost on the connection.
    MessageLost,
    /// Redis restarts with all data.
    Restart,
    /// Redis restarts without the latest writes.
    RestartWithLostEnd,
    /// Redis restarts without data.
    RestartEmpty,
    Flush,
    /// One history is deleted.
    Delete,
    ClockForward,
    ClockBack,
    /// A slot begins to migrate: its keys move, and later its subscriptions.
    SlotMigrates,
    /// A slot moves, or ends its migration.
    SlotMoves,
    /// A master fails, and a master with another address takes its slots.
    MasterReplaced,
    /// The replicas read the map, and may get an old one.
    MapRead,
}

/// The parameters of one run.
#[derive(Debug, Clone)]
pub(super) struct SimulationPlan {
    /// Redis loses nothing and no buffer overflows, so no client may get a gap.
    pub(super) is_calm: bool,
    pub(super) replicas: usize,
    /// Whether Redis is a cluster, so that slots move.
    pub(super) is_cluster: bool,
    /// The number of masters in the beginning.
    pub(super) masters: usize,
    pub(super) hubs: usize,
    pub(super) clients: usize,
    pub(super) kinds: [ChannelKind; 4],
    pub(super) disturbances: usize,
    /// How many of the last messages clients ask for; 0: they do not ask.
    pub(super) last: u32,
    /// The percentage of disconnected clients that are replaced by new ones.
    pub(super) replaced_percent: u64,
    /// The average number of steps between two disturbances.
    pub(super) pace: u64,
    pub(super) faults: Vec<Fault>,
    pub(super) history_size: usize,
    pub(super) ttl_ms: u64,
    /// The maximum message size that the link assumes. Larger messages make pages shorter.
    pub(super) payload_bytes: usize,
    /// The capacity of a channel's ring.
    pub(super) ring_bytes: usize,
    /// The maximum number of publications held for a subscription that is not live.
    pub(super) max_held: usize,
    /// Fan-outs of more bytes are written in several turns.
    pub(super) turn_bytes: usize,
    pub(super) max_inbox_bytes: usize,
    pub(super) recovery: RecoveryLimits,
    pub(super) answer_timeout: Duration,
    /// The percentage of reading commands that Redis does not answer.
    pub(super) unanswered_percent: u64,
    /// The percentage of reading commands that Redis refuses.
    pub(super) refused_percent: u64,
    /// The most entries of the inbox.
    pub(super) inbox_size: usize,
    pub(super) planted_bug: PlantedBug,
}

const NO_EXPIRY_MS: u64 = 1 << 40;
/// More messages than any run publishes.
const HISTORY_SIZE: usize = 1_000;

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
            is_cluster: false,
            masters: 1,
            replicas: rng.between(1, 2) as usize,
            hubs: rng.between(1, 2) as usize,
            clients: rng.between(1, 3) as usize,
            kinds,
            disturbances: rng.between(10, 60) as usize,
            last: rng.pick(&[0, 0, 1, 3, 10]),
            replaced_percent: rng.pick(&[0, 20, 50]),
            pace: rng.pick(&[1, 2, 4, 8]),
            faults: vec![Fault::LinkCut, Fault::ReplicaRestart, Fault::ReadsCut, Fault::TimePasses],
            history_size: HISTORY_SIZE,
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
            inbox_size: rng.pick(&[1, 3, 1_000]),
            planted_bug,
        };
        if !is_calm {
            plan.add_faults(rng);
        }
        plan
    }

    /// Makes some runs those of a cluster. `rng` is not the one of the other parameters, so that they stay as they are.
    pub(super) fn draw_cluster(&mut self, rng: &mut SimulationRng) {
        self.is_cluster = rng.percent(40);
        if self.is_cluster {
            self.masters = rng.between(1, 4) as usize;
            let faults = [
                Fault::SlotMigrates,
                Fault::SlotMoves,
                Fault::SlotMoves,
                Fault::MasterReplaced,
                Fault::MapRead,
            ];
            self.faults.extend(faults.into_iter().filter(|_| rng.percent(70)));
        }
    }

    fn add_faults(&mut self, rng: &mut SimulationRng) {
        // A loss that no replica can detect excludes the faults that lose data: a message lost on the connection, and
        // repeated positions after the clock was set back (docs/decisions.md).
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
            // The first message of a history that starts under an older clock replaces the known history. A ring
            // without room for it reports a gap instead, but the checker requires the message.
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

    /// Whether every durable message stays stored and readable.
    pub(super) fn keeps_histories(&self) -> bool {
        let losses =
            [Fault::RestartWithLostEnd, Fault::RestartEmpty, Fault::Flush, Fault::Delete, Fault::ClockBack];
        let loses = losses.into_iter().any(|fault| self.may(fault));
        !loses
            && self.history_size == HISTORY_SIZE
            && self.ttl_ms == NO_EXPIRY_MS
            && self.refused_percent == 0
    }

    pub(super) fn may(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
