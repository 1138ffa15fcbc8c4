//! Follows the history of one channel: plain data, without lock, clock or task.
//!
//! While the link is up, Redis sends publications in order and once, so each durable message is the next one: the
//! channel is *live*. After the loss of the link, or when a message is skipped, the channel is *repairing*: publications
//! are held in a ring while the history is read from the cursor on. A channel whose history cannot be read is
//! *untracked*: publications are delivered without any claim of completeness.

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

/// The state of a channel between repairs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RetainedState {
    /// The epoch of the last history that was lost; 0: none.
    left_epoch: u64,
    /// Whether a plain message was seen: then plain messages may be missing after the loss of the link.
    carries_plain: bool,
}

/// How to handle a publication that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Deliver,
    /// Deliver it after a gap: messages before it are missing and cannot be read.
    DeliverAfterGap,
    Duplicate,
    /// Put it into the ring.
    Hold,
    /// Messages before it are missing: begin a repair, then put it into the ring.
    Hole,
}

/// A gap or a publication for the hubs, in order.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    Gap {
        reason: GapReason,
        /// The position after which delivery continues, if it is known.
        position: Option<Position>,
    },
    Publication(Arc<Publication>),
}

/// The stream tail of one channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TailRead {
    pub(crate) tail: Tail,
    /// The server's clock before the read, in Unix milliseconds.
    pub(crate) now_ms: u64,
    /// Since when the data has been whole, in Unix milliseconds.
    pub(crate) whole_since_ms: u64,
}

impl Delivery {
    /// The missing messages are in no history.
    pub(super) const LOST: Self = Self::Gap { reason: GapReason::HistoryLost, position: None };
    /// The missing messages cannot be read.
    pub(super) const UNREADABLE: Self = Self::Gap { reason: GapReason::HistoryUnreadable, position: None };
}

/// The result of one step of a repair.
#[derive(Debug, Default)]
pub(crate) struct RepairProgress {
    /// The cut of a new channel: hubs learn it before anything is delivered.
    pub(crate) cut: Option<Cut>,
    pub(crate) deliveries: Vec<Delivery>,
    /// How many of the deliveries were read from the history.
    pub(crate) repaired: u64,
    /// Whether the repair needs another read; otherwise it has ended.
    pub(crate) needs_read: bool,
}

impl Follower {
    /// A channel that a hub has just subscribed to.
    pub(crate) fn new(number: u64) -> Self {
        Self::Repairing(Box::new(Repair::new(number, None)))
    }

    /// The position after which everything is delivered or reported as a gap; `None` while it is not known.
    pub(crate) fn position(&self) -> Option<Position> {
        match self {
            Self::Live { cursor, .. } => Some(cursor.position()),
            Self::Repairing(repair) => repair.reads_from(),
            Self::Untracked { .. } => None,
        }
    }

    /// The repair with this number, if it has not ended.
    pub(crate) fn repair(&mut self, number: u64) -> Option<&mut Repair> {
        match self {
            Self::Repairing(repair) if repair.number == number => Some(repair),
            _ => None,
        }
    }

    pub(crate) const fn is_repairing(&self) -> bool {
        matches!(self, Self::Repairing(_))
    }

    /// How many bytes its ring holds.
    pub(crate) fn ring_bytes(&self) -> usize {
        match self {
            Self::Repairing(repair) => repair.ring.bytes(),
            Self::Live { .. } | Self::Untracked { .. } => 0,
        }
    }

    /// The link is lost. The ring is dropped: its durable messages are read from the history again.
    pub(crate) fn link_lost(&mut self, number: u64) {
        let mut next = self.begin(number);
        next.link_was_lost = !next.is_new();
        *self = Self::Repairing(Box::new(next));
    }

    /// Starts comparing the channel with its history. Returns `false` if a repair is already running.
    pub(crate) fn verify(&mut self, number: u64) -> bool {
        let begins = !self.is_repairing();
        if begins {
            *self = Self::Repairing(Box::new(self.begin(number)));
        }
        begins
    }

    /// A new repair that starts from the current state.
    fn begin(&self, number: u64) -> Repair {
        match self {
            Self::Live { cursor, retained } => {
                Repair { retained: *retained, ..Repair::new(number, Some(*cursor)) }
            }
            Self::Repairing(repair) => {
                let carries_plain = repair.retained.carries_plain || repair.ring.carries_plain();
                Repair {
                    retained: RetainedState { carries_plain, ..repair.retained },
                    was_untracked: repair.was_untracked,
                    ..Repair::new(number, repair.cursor)
                }
            }
            Self::Untracked { last } => Repair {
                retained: RetainedState { carries_plain: true, left_epoch: 0 },
                was_untracked: true,
                ..Repair::new(number, last.map(ChannelCursor::at))
            },
        }
    }

    /// A publication has arrived; `position` is its position if it is durable.
    pub(crate) fn arrive(&mut self, position: Option<Position>) -> Arrival {
        match (self, position) {
            (Self::Live { retained, .. }, None) => {
                retained.carries_plain = true;
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

    /// Holds a publication in the ring. A full ring drops its oldest publications. Returns how many were dropped.
    pub(crate) fn hold(&mut self, publication: Arc<Publication>, budget_bytes: &mut usize) -> u64 {
        match self {
            Self::Repairing(repair) => repair.ring.push(publication, budget_bytes),
            Self::Live { .. } | Self::Untracked { .. } => 0,
        }
    }

    /// The stream tail was read.
    pub(crate) fn on_stream_tail(&mut self, number: u64, read: TailRead) -> RepairProgress {
        self.step(number, |repair, progress| repair.on_stream_tail(read, progress))
    }

    /// The page after the cursor was read.
    pub(crate) fn on_page(&mut self, number: u64, page: &Page) -> RepairProgress {
        self.step(number, |repair, progress| repair.on_page(page, progress))
    }

    /// The history cannot be read because of its own data.
    pub(crate) fn on_unreadable(&mut self, number: u64) -> RepairProgress {
        let Some(repair) = self.repair(number) else { return RepairProgress::default() };
        let mut progress = RepairProgress::default();
        let last = repair.give_up(&mut progress);
        *self = Self::Untracked { last };
        progress
    }

    /// Advances the repair. Once the history has been read to its end, delivers the ring, as far as it continues from there.
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
