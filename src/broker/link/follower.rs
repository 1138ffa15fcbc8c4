//! Follows the history of one channel. Plain data, without lock, clock or tasks.
//!
//! - A *live* channel delivers each message at once. While the link is up, Redis sends publications in order and once,
//!   so each durable message has the next position.
//! - A *repairing* channel holds publications in a ring while its history is read from the cursor on. A repair begins
//!   after the loss of the link, or when a position is skipped.
//! - An *untracked* channel has a history that cannot be read. It delivers publications without a claim of
//!   completeness.
//!
//! Files:
//!
//! - `repair`: reads the history from the cursor to the tail.
//! - `ring`: holds the publications that arrive during a repair.

mod repair;
mod ring;

use std::sync::Arc;

use self::repair::Repair;
use crate::broker::Cut;
use protocol::cursor::{ChannelCursor, CursorStep};
use protocol::event::GapReason;
use protocol::history::{Page, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// How far one channel has been followed.
#[derive(Debug)]
pub(crate) enum Follower {
    Live {
        cursor: ChannelCursor,
        retained: RetainedState,
    },
    Repairing(Box<Repair>),
    Untracked {
        /// The last durable message that was delivered.
        last: Option<Position>,
    },
}

/// The state that a channel retains from one repair to the next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RetainedState {
    /// The epoch of the last history that was lost; 0: none was lost.
    left_epoch: u64,
    /// Whether a plain message was seen. Then plain messages may be missing after the loss of the link.
    has_plain: bool,
}

/// How to handle a publication that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Deliver,
    /// Announce a gap and deliver it: messages before it are missing and cannot be read.
    DeliverAfterGap,
    Duplicate,
    /// Put it into the ring of the running repair.
    Hold,
    /// Messages before it are missing: begin a repair and put it into the ring.
    Hole,
}

/// A gap or a publication for the hubs.
#[derive(Debug, Clone)]
pub(crate) enum FollowerOutput {
    Gap {
        reason: GapReason,
        /// The position after which delivery continues; `None`: not known.
        position: Option<Position>,
    },
    Publication(Arc<Publication>),
}

/// The tail of one channel, as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailRead {
    pub(crate) tail: Tail,
    /// The server's clock before the read, in Unix milliseconds.
    pub(crate) now_ms: u64,
    /// Since when no history can have been removed unnoticed, in Unix milliseconds by the server's clock.
    pub(crate) whole_since_ms: u64,
}

impl FollowerOutput {
    /// The missing messages are in no history.
    pub(super) const LOST: Self = Self::Gap { reason: GapReason::HistoryLost, position: None };
    /// The missing messages cannot be read.
    pub(super) const UNREADABLE: Self = Self::Gap { reason: GapReason::HistoryUnreadable, position: None };
}

/// The result of one step of a repair.
#[derive(Debug, Default)]
pub(crate) struct RepairProgress {
    /// The cut of a new channel. Hubs must learn it before the outputs.
    pub(crate) cut: Option<Cut>,
    pub(crate) outputs: Vec<FollowerOutput>,
    /// How many publications in `outputs` were read from the history.
    pub(crate) repaired: u64,
    /// Whether the repair needs another read; otherwise it ended.
    pub(crate) needs_read: bool,
}

impl Follower {
    /// The state of a channel that a hub has just subscribed to. It begins as a repair, although nothing is missing: the
    /// first read finds the tail, at which the channel begins. A channel that Redis refuses stays in this state.
    pub(crate) fn new(number: u64) -> Self {
        Self::Repairing(Box::new(Repair::new(number, None)))
    }

    /// The position after which every message is delivered or announced as a gap; `None`: not known.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Live { cursor, .. } => Some(cursor.position()),
            Self::Repairing(repair) => repair.reads_from(),
            Self::Untracked { .. } => None,
        }
    }

    /// The repair with this number; `None`: it ended.
    pub(crate) fn repair(&mut self, number: u64) -> Option<&mut Repair> {
        match self {
            Self::Repairing(repair) if repair.number == number => Some(repair),
            _ => None,
        }
    }

    /// Whether plain messages may be missing after the loss of the link that carries them. A new channel misses none: no
    /// hub was answered yet.
    pub(crate) fn may_miss_plain(&self) -> bool {
        match self {
            Self::Live { cursor, retained } => retained.has_plain || !cursor.has_history(),
            Self::Repairing(repair) => repair.may_miss_plain(),
            Self::Untracked { .. } => true,
        }
    }

    /// Plain messages may be missing, and no gap was announced. The next repair after a lost link announces one.
    pub(crate) fn note_missing_plain(&mut self) {
        match self {
            Self::Live { retained, .. } => retained.has_plain = true,
            Self::Repairing(repair) => repair.retained.has_plain = true,
            Self::Untracked { .. } => {}
        }
    }

    pub(crate) const fn is_repairing(&self) -> bool {
        matches!(self, Self::Repairing(_))
    }

    /// The bytes of the publications in the ring.
    pub(crate) fn ring_bytes(&self) -> usize {
        match self {
            Self::Repairing(repair) => repair.ring.bytes(),
            Self::Live { .. } | Self::Untracked { .. } => 0,
        }
    }

    /// The link is lost. Drops the ring: the next repair reads its durable messages from the history.
    pub(crate) fn link_lost(&mut self, number: u64) {
        let mut next = self.begin(number);
        next.link_was_lost = !next.is_new();
        *self = Self::Repairing(Box::new(next));
    }

    /// Starts to compare the channel with its history. Returns `false` if a repair is already running.
    pub(crate) fn verify(&mut self, number: u64) -> bool {
        let begins = !self.is_repairing();
        if begins {
            *self = Self::Repairing(Box::new(self.begin(number)));
        }
        begins
    }

    /// A new repair, from the current state.
    fn begin(&self, number: u64) -> Repair {
        match self {
            Self::Live { cursor, retained } => {
                Repair { retained: *retained, ..Repair::new(number, Some(*cursor)) }
            }
            Self::Repairing(repair) => {
                let has_plain = repair.retained.has_plain || repair.ring.has_plain();
                Repair {
                    retained: RetainedState { has_plain, ..repair.retained },
                    was_untracked: repair.was_untracked,
                    ..Repair::new(number, repair.cursor)
                }
            }
            Self::Untracked { last } => Repair {
                retained: RetainedState { has_plain: true, left_epoch: 0 },
                was_untracked: true,
                ..Repair::new(number, last.map(ChannelCursor::at))
            },
        }
    }

    /// Accounts for a publication that arrived, and decides how to handle it. `position` is `None` for a plain message.
    pub(crate) fn arrive(&mut self, position: Option<Position>) -> Arrival {
        match (self, position) {
            (Self::Live { retained, .. }, None) => {
                retained.has_plain = true;
                Arrival::Deliver
            }
            (Self::Live { cursor, .. }, Some(position)) => match cursor.step(position) {
                CursorStep::Next => {
                    cursor.advance(position);
                    Arrival::Deliver
                }
                CursorStep::Past => Arrival::Duplicate,
                CursorStep::Hole => Arrival::Hole,
            },
            (Self::Repairing(_), _) => Arrival::Hold,
            (Self::Untracked { .. }, None) => Arrival::Deliver,
            (Self::Untracked { last }, Some(position)) => {
                let step = last.map_or(CursorStep::Next, |last| ChannelCursor::at(last).step(position));
                match step {
                    CursorStep::Past => return Arrival::Duplicate,
                    CursorStep::Next | CursorStep::Hole => *last = Some(position),
                }
                if step == CursorStep::Hole { Arrival::DeliverAfterGap } else { Arrival::Deliver }
            }
        }
    }

    /// Puts a publication into the ring. A full ring drops its oldest publications. Returns how many were dropped.
    pub(crate) fn hold(&mut self, publication: Arc<Publication>, budget_bytes: &mut usize) -> u64 {
        match self {
            Self::Repairing(repair) => repair.ring.push(publication, budget_bytes),
            Self::Live { .. } | Self::Untracked { .. } => 0,
        }
    }

    /// Applies the tail that was read for a repair.
    pub(crate) fn on_stream_tail(&mut self, number: u64, read: TailRead) -> RepairProgress {
        self.step(number, |repair, progress| repair.on_stream_tail(read, progress))
    }

    /// Applies the page that was read after the cursor.
    pub(crate) fn on_page(&mut self, number: u64, page: &Page) -> RepairProgress {
        self.step(number, |repair, progress| repair.on_page(page, progress))
    }

    /// The history's data cannot be read: ends the repair, and the channel becomes untracked.
    pub(crate) fn on_unreadable(&mut self, number: u64) -> RepairProgress {
        let Some(repair) = self.repair(number) else { return RepairProgress::default() };
        let mut progress = RepairProgress::default();
        let last = repair.give_up(&mut progress);
        *self = Self::Untracked { last };
        progress
    }

    /// Advances the repair. Once the history is read to its tail, delivers the ring as far as it continues from there.
    fn step(&mut self, number: u64, step: impl FnOnce(&mut Repair, &mut RepairProgress)) -> RepairProgress {
        let mut progress = RepairProgress::default();
        let Some(repair) = self.repair(number) else { return progress };
        step(repair, &mut progress);
        if !progress.needs_read {
            match repair.settle(&mut progress) {
                Some(cursor) => *self = Self::Live { cursor, retained: repair.retained },
                None => progress.needs_read = true,
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests;
