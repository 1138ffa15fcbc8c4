//! The repair of one channel: reads its history from the cursor to the end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Delivery, Progress, TailRead};
use crate::broker::Cut;
use crate::broker::recovery::SHRINKAGE;
use protocol::cursor::{ChannelCursor, Step};
use protocol::event::GapReason;
use protocol::history::{HistoryLost, Page, Proof, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// The most publications that the ring of one channel holds. A full ring drops its oldest publication: the next page
/// contains it if it is durable.
pub(super) const MAX_RING: usize = 4_096;

/// The repair of one channel.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Distinguishes its reads from those of an earlier repair.
    pub(super) number: u64,
    pub(super) basis: Basis,
    /// Whether hubs were given a position before any history: an older position then comes from a clock that was set
    /// back.
    pub(super) began_without_history: bool,
    /// The epoch of the last history that was lost; 0: none.
    pub(super) left_epoch: u64,
    pub(super) carries_plain: bool,
    /// Whether the link was lost, so that plain messages may be missing.
    pub(super) was_away: bool,
    /// Whether the channel was untracked before; hubs were told of it.
    pub(super) was_untracked: bool,
    pub(super) ring: VecDeque<Arc<Publication>>,
    /// How many publications have arrived since the repair began.
    pub(super) received: u64,
    /// How many of them had arrived before the latest read: the history contains these, or never will.
    pub(super) covered: u64,
    /// Whether the ring has dropped a durable message since the latest read.
    pub(super) has_dropped_durable: bool,
    pub(super) has_dropped_plain: bool,
    /// The last durable message that the ring has dropped since the repair began: the history must contain it.
    pub(super) dropped: Option<Position>,
    /// The maximum number of entries of the next page, from the length of those already read; 0 before the first page.
    pub(super) page_entries: usize,
}

/// The state from which a repair begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// A new channel: it begins at the end of its history.
    New,
    /// Everything up to the cursor has been delivered.
    Cursor(ChannelCursor),
    /// An untracked channel: it is not known what its hubs have received.
    Untracked,
}

/// The approximate limit of one page, in bytes.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// The most entries of one page.
const MAX_PAGE_ENTRIES: usize = 512;
/// The factor by which a page may grow. The first entries show about how long the others are.
const GROWTH: usize = 4;

/// The maximum number of entries of the first page, if every message has the maximum length.
pub(crate) fn first_page_entries(max_payload_bytes: usize) -> usize {
    (MAX_PAGE_BYTES / max_payload_bytes.max(1)).clamp(1, MAX_PAGE_ENTRIES)
}

fn next_page_entries(page: &Page) -> usize {
    let read = page.entries.iter().filter_map(|entry| entry.publication.as_ref());
    let bytes: usize = read.map(|publication| publication.queued_bytes()).sum();
    let fitting = MAX_PAGE_BYTES * page.entries.len() / bytes.max(1);
    fitting.min(GROWTH * page.entries.len()).clamp(1, MAX_PAGE_ENTRIES)
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

    /// From now on the answers to earlier reads are ignored.
    pub(crate) const fn renumber(&mut self, number: u64) {
        self.number = number;
    }

    /// The position after which to read the history; `None`: read its tail first.
    pub(crate) fn reads_from(&self) -> Option<Position> {
        match self.basis {
            Basis::Cursor(cursor) => Some(cursor.position()),
            Basis::New | Basis::Untracked => None,
        }
    }

    /// The maximum number of entries of the next page; `first` before the first page.
    pub(crate) fn page_entries(&self, first: usize) -> usize {
        if self.page_entries == 0 { first } else { self.page_entries }
    }

    /// A page of so many entries did not come: the next one is shorter.
    pub(crate) fn shrink_page(&mut self, entries: usize) {
        self.page_entries = (entries / SHRINKAGE).max(1);
    }

    /// A read begins: the history contains everything that has arrived until now, or never will.
    pub(crate) fn ask(&mut self) {
        self.covered = self.received;
        self.has_dropped_durable = false;
    }

    /// Whether the loss of the link needs a gap. A channel with only durable messages has missed nothing if its history is
    /// proven. A channel with plain messages may have.
    pub(crate) fn needs_gap(&self) -> bool {
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

    /// Returns whether to settle the ring; otherwise the repair needs another read.
    pub(super) fn on_stream_tail(&mut self, read: TailRead, progress: &mut Progress) -> bool {
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
                progress.needs_read = true;
                return false;
            }
            // In any other case nothing was missed when the history expired.
            (Basis::Cursor(cursor), Tail::Nothing)
                if self.was_away || self.was_untracked || self.lacks_dropped(cursor) =>
            {
                // While the data is whole, no history was created and removed since a beginning.
                let is_whole = whole_since_ms <= cursor.position().epoch && !self.lacks_dropped(cursor);
                if cursor.has_history() || !is_whole {
                    self.announce_moved(GapReason::HistoryLost, end, progress);
                } else {
                    self.announce_downtime(progress);
                }
            }
            (Basis::Cursor(_), _) => self.announce_downtime(progress),
        }
        true
    }

    /// The history of an untracked channel can be read again. It is not known what the hubs have received, so the channel
    /// is followed from the ring on.
    fn track(&mut self, tail: Tail, end: Position, progress: &mut Progress) -> bool {
        // The channel is followed from after the dropped messages, so no read returns them.
        let has_dropped = self.dropped.take().is_some() | std::mem::take(&mut self.has_dropped_plain);
        let holds_durable = self.ring.iter().any(|publication| publication.position().is_some());
        if let Tail::At(end) = tail
            && !holds_durable
        {
            // Messages that Redis has sent but we have not received may be part of the history.
            self.announce_moved(GapReason::HistoryUnreadable, end, progress);
            return true;
        }
        if has_dropped && !self.needs_gap() {
            progress.deliveries.push(Delivery::Gap { reason: GapReason::Overflow, position: None });
        }
        self.announce_downtime(progress);
        let last = self.deliver_ring(progress);
        self.basis = Basis::Cursor(ChannelCursor::at(last.unwrap_or(end)));
        progress.needs_read = last.is_some_and(|last| tail != Tail::At(last));
        !progress.needs_read
    }

    /// Returns whether to settle the ring; otherwise the repair needs another read.
    pub(super) fn on_page(&mut self, page: &Page, progress: &mut Progress) -> bool {
        let Basis::Cursor(mut cursor) = self.basis else { return true };
        let proof = page.prove(cursor.position(), page.tail);
        if proof == Err(HistoryLost) {
            self.announce_lost(page.tail, progress);
            return true;
        }
        self.announce_downtime(progress);
        self.page_entries = next_page_entries(page);
        for entry in &page.entries {
            cursor.advance(entry.position);
            if let Some(publication) = &entry.publication {
                progress.repaired += 1;
                progress.deliveries.push(Delivery::Publication(Arc::clone(publication)));
            }
        }
        self.basis = Basis::Cursor(cursor);
        progress.needs_read = proof != Ok(Proof::Complete);
        !progress.needs_read
    }

    /// The history no longer contains the cursor. `tail` is the end of the present history.
    fn announce_lost(&mut self, tail: Position, progress: &mut Progress) {
        let position = self.ring_start(tail);
        self.announce_moved(GapReason::HistoryLost, position, progress);
    }

    fn announce_moved(&mut self, reason: GapReason, position: Position, progress: &mut Progress) {
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

    /// The position after which the ring holds everything up to `tail`, none of which was delivered.
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

    fn announce_downtime(&mut self, progress: &mut Progress) {
        if self.needs_gap() {
            progress.deliveries.push(Delivery::Gap { reason: GapReason::LinkLost, position: None });
        }
        self.was_away = false;
    }

    /// Whether the ring has dropped a message after the cursor that a later read did not return.
    fn lacks_dropped(&self, cursor: ChannelCursor) -> bool {
        !self.has_dropped_durable && self.dropped.is_some_and(|dropped| dropped > cursor.position())
    }

    /// Whether a message that is older than a beginning can be of a history that began after it. A late message of the
    /// lost history was delivered, or is covered by the gap.
    fn may_be_older(&self, position: Position) -> bool {
        self.began_without_history && position.epoch != self.left_epoch
    }

    /// Delivers the ring after the cursor. Returns the new cursor; `None`: the repair needs another read.
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
                // The history was read up to the cursor, and positions grow unless a clock is set back.
                let is_older = position <= cursor.position();
                if is_older && (cursor.has_history() || !self.may_be_older(position)) {
                    continue;
                }
                match cursor.step(position) {
                    Step::Next => {}
                    Step::Past => continue,
                    // The history was read after this message had arrived, and does not contain it.
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

    /// Ends the repair because the history cannot be read: announces a gap if needed and delivers the ring. Returns the
    /// last durable position.
    pub(super) fn give_up(&mut self, progress: &mut Progress) -> Option<Position> {
        // Messages dropped before the latest read count too, because that read did not return them.
        let has_dropped = self.dropped.is_some() || self.has_dropped_plain;
        let reason = match self.basis {
            Basis::New => None,
            Basis::Cursor(_) if !self.was_untracked => Some(GapReason::HistoryUnreadable),
            // Not `LinkLost`, which implies that the history is complete.
            _ if self.was_away => Some(GapReason::HistoryUnreadable),
            _ => has_dropped.then_some(GapReason::Overflow),
        };
        if self.basis == Basis::New {
            progress.cut = Some(Cut::Untracked);
        }
        progress.deliveries.extend(reason.map(|reason| Delivery::Gap { reason, position: None }));
        self.deliver_ring(progress)
    }

    /// Delivers the ring without duplicates, with a gap in each hole. Returns the last durable position.
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
