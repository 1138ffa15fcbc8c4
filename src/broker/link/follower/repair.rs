//! A channel that is brought to the end of its history.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Delivery, Progress, TailRead};
use crate::broker::Cut;
use protocol::cursor::{ChannelCursor, Step};
use protocol::event::GapReason;
use protocol::history::{HistoryLost, Page, Proof, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// Publications of one channel that a ring holds; a repair takes a few round trips. An older durable one is dropped for a
/// newer one, since the next page covers it.
pub(super) const MAX_RING: usize = 4_096;

/// A channel that is brought to the end of its history.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Tells its reads from those of an earlier repair.
    pub(super) number: u64,
    pub(super) basis: Basis,
    /// Whether readers were told a position before any history: what is older than that was published under another
    /// clock.
    pub(super) began_without_history: bool,
    /// The epoch of the last history whose end was not found; 0: none.
    pub(super) left_epoch: u64,
    pub(super) carries_plain: bool,
    /// Whether the channel was away from the link, so that plain messages may be missing.
    pub(super) was_away: bool,
    /// Whether its history could not be read before; that was told.
    pub(super) was_untracked: bool,
    pub(super) ring: VecDeque<Arc<Publication>>,
    /// How many publications have come since it began.
    pub(super) received: u64,
    /// How many of them had come when the history was last asked for: it has these, or never will.
    pub(super) covered: u64,
    /// Since the history was last asked for, the ring has dropped something durable.
    pub(super) has_dropped_durable: bool,
    pub(super) has_dropped_plain: bool,
    /// The last durable message that the ring has dropped since the repair began: the history has to have it.
    pub(super) dropped: Option<Position>,
    /// How many entries the next page may have, by the length of those that were read; 0 before the first.
    pub(super) page_entries: usize,
}

/// What is known when a repair begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// Nothing, and nobody was promised anything: the channel begins at the end of its history.
    New,
    /// Everything up to the cursor was delivered.
    Cursor(ChannelCursor),
    /// Readers are there, but nobody knows what they have had.
    Untracked,
}

/// Bytes that one page may have, about.
const PAGE_BYTES: usize = 1 << 20;
/// Messages of one page, if they are short.
const PAGE_ENTRIES: usize = 512;
/// By how much a page may grow: the first entries say how long the others are, about.
const GROWTH: usize = 4;

/// How many messages the first page may have, if every one is as long as it may be.
pub(crate) fn first_page_entries(max_payload_bytes: usize) -> usize {
    (PAGE_BYTES / max_payload_bytes.max(1)).clamp(1, PAGE_ENTRIES)
}

fn next_page_entries(page: &Page) -> usize {
    let read = page.entries.iter().filter_map(|entry| entry.publication.as_ref());
    let bytes: usize = read.map(|publication| publication.queued_bytes()).sum();
    let fitting = PAGE_BYTES * page.entries.len() / bytes.max(1);
    fitting.min(GROWTH * page.entries.len()).clamp(1, PAGE_ENTRIES)
}

impl Repair {
    pub(super) fn new(number: u64, basis: Basis) -> Self {
        Self {
            number,
            basis,
            began_without_history: matches!(basis, Basis::Cursor(cursor) if !cursor.has_history()),
            left_epoch: 0,
            carries_plain: false,
            was_away: false,
            was_untracked: false,
            ring: VecDeque::new(),
            received: 0,
            covered: 0,
            has_dropped_durable: false,
            has_dropped_plain: false,
            dropped: None,
            page_entries: 0,
        }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Where the history is to be read from; `None`: its end is to be asked for.
    pub(crate) fn reads_from(&self) -> Option<Position> {
        match self.basis {
            Basis::Cursor(cursor) => Some(cursor.position()),
            Basis::New | Basis::Untracked => None,
        }
    }

    /// How many entries the next page may have; `first` where nothing is known of their length.
    pub(crate) fn page_entries(&self, first: usize) -> usize {
        self.page_entries.max(first)
    }

    /// The history is being asked for: what has come until now is in it, or never will be.
    pub(crate) fn ask(&mut self) {
        self.covered = self.received;
        self.has_dropped_durable = false;
    }

    /// Whether a gap is to be told for having been away. A channel that carries nothing but durable messages has missed
    /// nothing when its history is proven. Of any other nobody can say.
    pub(crate) fn owes_gap(&self) -> bool {
        let may_miss_plain = match self.basis {
            Basis::New => false,
            Basis::Cursor(cursor) => self.carries_plain || !cursor.has_history(),
            Basis::Untracked => true,
        };
        self.was_away && may_miss_plain
    }

    pub(super) fn hold(&mut self, publication: Arc<Publication>, budget_bytes: &mut usize) -> u64 {
        self.received += 1;
        let bytes = publication.queued_bytes();
        let mut dropped = 0;
        while self.ring.len() >= MAX_RING || bytes > *budget_bytes {
            let Some(oldest) = self.ring.pop_front() else {
                self.note_dropped(&publication);
                return dropped + 1;
            };
            *budget_bytes += oldest.queued_bytes();
            self.note_dropped(&oldest);
            dropped += 1;
        }
        *budget_bytes -= bytes;
        self.ring.push_back(publication);
        dropped
    }

    fn note_dropped(&mut self, publication: &Publication) {
        match publication.position() {
            Some(position) => (self.has_dropped_durable, self.dropped) = (true, Some(position)),
            None => self.has_dropped_plain = true,
        }
    }

    /// Whether the ring can be settled; otherwise the history is to be read on.
    pub(super) fn on_tail(&mut self, read: TailRead, progress: &mut Progress) -> bool {
        let TailRead { tail, now_ms, whole_since_ms } = read;
        let end = match tail {
            Tail::At(position) => position,
            Tail::Nothing => Position::before(now_ms),
        };
        match (self.basis, tail) {
            (Basis::New, _) => {
                self.basis = Basis::Cursor(ChannelCursor::at(end));
                progress.cut = Some(Cut::At(end));
            }
            (Basis::Untracked, _) => return self.track(tail, end, progress),
            (Basis::Cursor(cursor), Tail::At(tail)) if tail != cursor.position() => {
                progress.reads_on = true;
                return false;
            }
            // Otherwise nothing was missed when the history expired.
            (Basis::Cursor(cursor), Tail::Nothing)
                if self.was_away || self.was_untracked || self.lacks_dropped(cursor) =>
            {
                // Where there was no history, none has come and gone unseen while the data was whole.
                let is_whole = whole_since_ms <= cursor.position().epoch && !self.lacks_dropped(cursor);
                if cursor.has_history() || !is_whole {
                    self.tell_moved(GapReason::HistoryLost, end, progress);
                } else {
                    self.tell_absence(progress);
                }
            }
            (Basis::Cursor(_), _) => self.tell_absence(progress),
        }
        true
    }

    /// The history can be read again: readers are there of whom nobody knows what they have had. The channel is followed from
    /// what the ring holds on.
    fn track(&mut self, tail: Tail, end: Position, progress: &mut Progress) -> bool {
        // It begins behind what the ring has dropped: no read makes that good.
        let has_dropped = self.dropped.take().is_some() | std::mem::take(&mut self.has_dropped_plain);
        let holds_durable = self.ring.iter().any(|publication| publication.position().is_some());
        if let Tail::At(end) = tail
            && !holds_durable
        {
            // What is on its way to us may be part of it.
            self.tell_moved(GapReason::HistoryUnreadable, end, progress);
            return true;
        }
        if has_dropped && !self.owes_gap() {
            progress.deliveries.push(Delivery::Gap { reason: GapReason::Overflow, position: None });
        }
        self.tell_absence(progress);
        let last = self.deliver_ring(progress);
        self.basis = Basis::Cursor(ChannelCursor::at(last.unwrap_or(end)));
        progress.reads_on = last.is_some_and(|last| tail != Tail::At(last));
        !progress.reads_on
    }

    /// Whether the ring can be settled; otherwise the history is to be read on.
    pub(super) fn on_page(&mut self, page: &Page, progress: &mut Progress) -> bool {
        let Basis::Cursor(mut cursor) = self.basis else { return true };
        let proof = page.prove(cursor.position(), page.tail);
        if proof == Err(HistoryLost) {
            self.tell_lost(page.tail, progress);
            return true;
        }
        self.tell_absence(progress);
        self.page_entries = next_page_entries(page);
        for entry in &page.entries {
            cursor.advance(entry.position);
            if let Some(publication) = &entry.publication {
                progress.repaired += 1;
                progress.deliveries.push(Delivery::Publication(Arc::clone(publication)));
            }
        }
        self.basis = Basis::Cursor(cursor);
        progress.reads_on = proof != Ok(Proof::Complete);
        !progress.reads_on
    }

    /// The history that led to the cursor is gone, and `tail` is the end of what there is now.
    fn tell_lost(&mut self, tail: Position, progress: &mut Progress) {
        let position = self.ring_start(tail);
        self.tell_moved(GapReason::HistoryLost, position, progress);
    }

    fn tell_moved(&mut self, reason: GapReason, position: Position, progress: &mut Progress) {
        if let Basis::Cursor(cursor) = self.basis
            && cursor.has_history()
        {
            self.left_epoch = cursor.position().epoch;
        }
        self.was_away = false;
        self.began_without_history = false;
        self.basis = Basis::Cursor(ChannelCursor::at(position));
        progress.deliveries.push(Delivery::Gap { reason, position: Some(position) });
    }

    /// The position behind which the ring holds everything up to `tail`: readers have had none of it.
    fn ring_start(&self, tail: Position) -> Position {
        let had = |position| matches!(self.basis, Basis::Cursor(cursor) if cursor.covers(position));
        let mut start = tail;
        for position in self.ring.iter().rev().filter_map(|publication| publication.position()) {
            if position > tail {
                continue;
            } else if position != start || start.is_beginning() || had(position) {
                break;
            }
            start.offset -= 1;
        }
        start
    }

    fn tell_absence(&mut self, progress: &mut Progress) {
        if self.owes_gap() {
            progress.deliveries.push(Delivery::Gap { reason: GapReason::LinkLost, position: None });
        }
        self.was_away = false;
    }

    /// Whether the ring has dropped a message behind the cursor, and the history that was asked for since does not have it.
    fn lacks_dropped(&self, cursor: ChannelCursor) -> bool {
        !self.has_dropped_durable && self.dropped.is_some_and(|dropped| dropped > cursor.position())
    }

    /// Whether a message that is older than a beginning can be of a history that began after it. What comes late from the
    /// history before was delivered, or is missing by the gap that was told.
    fn may_be_older(&self, position: Position) -> bool {
        self.began_without_history && position.epoch != self.left_epoch
    }

    /// Delivers what the ring holds behind the cursor. Returns the cursor then; `None`: the history is to be read again.
    pub(super) fn settle(&mut self, progress: &mut Progress) -> Option<ChannelCursor> {
        let Basis::Cursor(mut cursor) = self.basis else { return None };
        if std::mem::take(&mut self.has_dropped_plain) {
            progress.deliveries.push(Delivery::Gap { reason: GapReason::Overflow, position: None });
        }
        if self.lacks_dropped(cursor) {
            self.dropped = None;
            progress.deliveries.push(Delivery::LOST);
        }
        while !self.has_dropped_durable {
            let number = self.received - self.ring.len() as u64;
            let Some(publication) = self.ring.pop_front() else { return Some(cursor) };
            if let Some(position) = publication.position() {
                // The history was read to the cursor, and positions grow, unless a clock was set back meanwhile.
                let is_older = position <= cursor.position();
                if is_older && (cursor.has_history() || !self.may_be_older(position)) {
                    continue;
                }
                match cursor.step(position) {
                    Step::Next => {}
                    Step::Past => continue,
                    // The history was read after this one had come, and does not have it.
                    Step::Hole if number < self.covered => {
                        progress.deliveries.push(Delivery::LOST);
                    }
                    Step::Hole => {
                        self.ring.push_front(publication);
                        break;
                    }
                }
                cursor.advance(position);
                self.basis = Basis::Cursor(cursor);
            } else {
                self.carries_plain = true;
            }
            progress.deliveries.push(Delivery::Publication(publication));
        }
        None
    }

    /// Delivers what has come and says what may be missing. Returns the last durable message.
    pub(super) fn give_up(&mut self, progress: &mut Progress) -> Option<Position> {
        // What was dropped before the history was asked for counts too: it was to be read.
        let has_dropped = self.dropped.is_some() || self.has_dropped_plain;
        let reason = match self.basis {
            Basis::New => None,
            Basis::Cursor(_) if !self.was_untracked => Some(GapReason::HistoryUnreadable),
            // Not `LinkLost`, which says that the history goes on.
            _ if self.was_away => Some(GapReason::HistoryUnreadable),
            _ => has_dropped.then_some(GapReason::Overflow),
        };
        if self.basis == Basis::New {
            progress.cut = Some(Cut::Untracked);
        }
        progress.deliveries.extend(reason.map(|reason| Delivery::Gap { reason, position: None }));
        self.deliver_ring(progress)
    }

    /// Delivers what the ring holds and readers have not had, with a gap in each hole. Returns the last durable message.
    fn deliver_ring(&mut self, progress: &mut Progress) -> Option<Position> {
        let mut last = match self.basis {
            Basis::Cursor(cursor) => Some(cursor.position()),
            Basis::New | Basis::Untracked => None,
        };
        for publication in self.ring.drain(..) {
            if let Some(position) = publication.position() {
                let is_told = matches!(progress.deliveries.last(), Some(Delivery::Gap { .. }));
                match last.map(|last| ChannelCursor::at(last).step(position)) {
                    Some(Step::Past) => continue,
                    Some(Step::Hole) if last.is_some_and(|last| position < last) => continue,
                    Some(Step::Hole) if !is_told => progress.deliveries.push(Delivery::UNREADABLE),
                    Some(Step::Hole | Step::Next) | None => {}
                }
                last = Some(position);
            }
            progress.deliveries.push(Delivery::Publication(publication));
        }
        last
    }
}
