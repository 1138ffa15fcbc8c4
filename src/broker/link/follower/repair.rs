//! The repair of one channel: reads its history from the cursor to the tail.

use std::sync::Arc;

use super::ring::Ring;
use super::{FollowerOutput, RepairProgress, RetainedState, TailRead};
use crate::broker::Cut;
use crate::broker::page_size::PageSize;
use protocol::cursor::{ChannelCursor, CursorStep};
use protocol::event::GapReason;
use protocol::history::{HistoryLost, Page, Proof, Tail};
use protocol::position::Position;

/// The repair of one channel.
#[derive(Debug)]
pub(crate) struct Repair {
    /// Distinguishes the reads of this repair from the reads of an earlier one.
    pub(super) number: u64,
    /// Every message up to the cursor was delivered or announced as a gap. `None`: the channel is new and begins at the
    /// tail of its history, or it was untracked and delivered no durable message.
    pub(super) cursor: Option<ChannelCursor>,
    /// Whether the repair began at a position before any history. Then a message with an older position may be of a
    /// history that began after the clock was set back. Example: the cursor is `5000-0`, Redis restarts with its clock
    /// set back, and the first message gets the position `4000-1`.
    pub(super) began_without_history: bool,
    pub(super) retained: RetainedState,
    /// Whether the link was lost, so that plain messages may be missing.
    pub(super) link_was_lost: bool,
    /// Whether the history has messages after the cursor, as a read of this repair has shown.
    pub(super) is_behind: bool,
    /// Whether the channel was untracked before the repair, which its hubs know. A page that was read ends this.
    pub(super) was_untracked: bool,
    pub(super) ring: Ring,
    pub(super) page_size: PageSize,
}

/// The approximate limit on one page, in bytes.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// The most entries of one page.
const MAX_PAGE_ENTRIES: usize = 512;

impl Repair {
    pub(super) fn new(number: u64, cursor: Option<ChannelCursor>) -> Self {
        Self {
            number,
            cursor,
            began_without_history: cursor.is_some_and(|cursor| !cursor.has_history()),
            retained: RetainedState::default(),
            link_was_lost: false,
            is_behind: false,
            was_untracked: false,
            ring: Ring::default(),
            page_size: PageSize::new(),
        }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Gives the repair another number, so the answers to earlier reads are ignored.
    pub(crate) const fn renumber(&mut self, number: u64) {
        self.number = number;
    }

    /// The position after which to read the history; `None`: the tail must be read first.
    pub(crate) fn reads_from(&self) -> Option<Position> {
        self.cursor.map(|cursor| cursor.position())
    }

    /// Whether no hub has been answered for the channel yet.
    pub(super) const fn is_new(&self) -> bool {
        self.cursor.is_none() && !self.was_untracked
    }

    /// The most entries of the next page.
    pub(crate) fn page_entries(&self, max_payload_bytes: usize) -> usize {
        self.page_size.entries(MAX_PAGE_BYTES, max_payload_bytes).min(MAX_PAGE_ENTRIES)
    }

    /// A page of this many entries timed out: the next one is shorter.
    pub(crate) fn shrink_page(&mut self, entries: usize) {
        self.page_size.shrink(entries);
    }

    /// A read begins: if it does not return a message of the ring, the history does not contain that message.
    pub(crate) fn begin_read(&mut self) {
        self.ring.begin_read();
    }

    /// Whether the loss of the link needs a gap. A channel with only durable messages missed none if its history is
    /// proven to be complete; a channel with plain messages may have missed some.
    pub(crate) fn needs_gap(&self) -> bool {
        self.link_was_lost && self.may_miss_plain()
    }

    /// Whether the channel may have plain messages.
    pub(super) fn may_miss_plain(&self) -> bool {
        match self.cursor {
            Some(cursor) => self.retained.has_plain || !cursor.has_history(),
            None => self.was_untracked,
        }
    }

    pub(super) fn on_stream_tail(&mut self, read: TailRead, progress: &mut RepairProgress) {
        let TailRead { tail, now_ms, whole_since_ms } = read;
        let end = match tail {
            Tail::At(position) => position,
            Tail::Nothing => Position::before(now_ms),
        };
        match (self.cursor, tail) {
            (None, _) if self.was_untracked => self.track(tail, end, progress),
            (None, _) => {
                self.cursor = Some(ChannelCursor::at(end));
                progress.cut = Some(Cut::At(end));
            }
            (Some(cursor), Tail::At(tail)) if tail != cursor.position() => {
                self.is_behind = true;
                progress.needs_read = true;
            }
            (Some(cursor), Tail::Nothing)
                if self.link_was_lost || self.is_behind || self.was_untracked || self.ring.lacks(cursor) =>
            {
                // While the data is whole, no history was created and removed after the cursor.
                let is_missing = self.is_behind || self.ring.lacks(cursor);
                let is_whole = whole_since_ms <= cursor.position().epoch && !is_missing;
                if cursor.has_history() || !is_whole {
                    self.continue_after_gap(GapReason::HistoryLost, end, progress);
                } else {
                    self.announce_downtime(progress);
                }
            }
            // The cursor is the tail, or the history expired while the link was up: no durable message is missing.
            (Some(_), _) => self.announce_downtime(progress),
        }
    }

    /// The history of an untracked channel can be read again. It is not known which messages the hubs received, so the
    /// channel is followed from the ring on.
    fn track(&mut self, tail: Tail, end: Position, progress: &mut RepairProgress) {
        // The channel is followed from a position after the dropped messages, so no read returns them.
        let has_dropped_durable = self.ring.dropped.take().is_some();
        let has_dropped_plain = std::mem::take(&mut self.ring.has_dropped_plain);
        if let Tail::At(end) = tail
            && self.ring.positions().next().is_none()
        {
            // The history may contain messages that Redis sent and the link has not received yet.
            self.continue_after_gap(GapReason::HistoryUnreadable, end, progress);
            return;
        }
        if (has_dropped_durable || has_dropped_plain) && !self.needs_gap() {
            progress.outputs.push(FollowerOutput::Gap { reason: GapReason::Overflow, position: None });
        }
        self.announce_downtime(progress);
        let last = self.deliver_ring(progress);
        self.cursor = Some(ChannelCursor::at(last.unwrap_or(end)));
        progress.needs_read = last.is_some_and(|last| tail != Tail::At(last));
    }

    pub(super) fn on_page(&mut self, page: &Page, progress: &mut RepairProgress) {
        let Some(mut cursor) = self.cursor else { return };
        let proof = page.prove(cursor.position(), page.tail);
        if proof == Err(HistoryLost) {
            let position = self.ring_start(page.tail);
            return self.continue_after_gap(GapReason::HistoryLost, position, progress);
        }
        self.announce_downtime(progress);
        // The channel is tracked again. If the rest of the history cannot be read, a gap must follow.
        self.was_untracked = false;
        let read = page.entries.iter().filter_map(|entry| entry.publication.as_ref());
        self.page_size.grow(page.entries.len(), read.map(|publication| publication.queued_bytes()).sum());
        for entry in &page.entries {
            cursor.advance(entry.position);
            if let Some(publication) = &entry.publication {
                progress.repaired += 1;
                progress.outputs.push(FollowerOutput::Publication(Arc::clone(publication)));
            }
        }
        self.cursor = Some(cursor);
        self.is_behind = proof != Ok(Proof::Complete);
        progress.needs_read = self.is_behind;
    }

    /// Announces a gap, and continues after `position`.
    fn continue_after_gap(&mut self, reason: GapReason, position: Position, progress: &mut RepairProgress) {
        if let Some(cursor) = self.cursor
            && cursor.has_history()
        {
            self.retained.left_epoch = cursor.position().epoch;
        }
        (self.link_was_lost, self.is_behind) = (false, false);
        self.began_without_history = false;
        self.cursor = Some(ChannelCursor::at(position));
        progress.outputs.push(FollowerOutput::Gap { reason, position: Some(position) });
    }

    /// The position after which the ring holds every message up to `tail`, none of them delivered before.
    fn ring_start(&self, tail: Position) -> Position {
        let was_delivered = |position| self.cursor.is_some_and(|cursor| cursor.covers(position));
        let mut start = tail;
        for position in self.ring.positions() {
            if position > tail {
                continue;
            } else if position != start || start.is_beginning() || was_delivered(position) {
                break;
            }
            start.offset -= 1;
        }
        start
    }

    /// Announces the loss of the link, if it needs a gap.
    fn announce_downtime(&mut self, progress: &mut RepairProgress) {
        if self.needs_gap() {
            progress.outputs.push(FollowerOutput::Gap { reason: GapReason::LinkLost, position: None });
        }
        self.link_was_lost = false;
    }

    /// Whether a message with an older position than the cursor can be of a new history. A late message of the lost
    /// history was delivered before, or the gap covers it.
    fn may_be_older(&self, position: Position) -> bool {
        self.began_without_history && position.epoch != self.retained.left_epoch
    }

    /// Delivers the messages of the ring after the cursor. Returns the new cursor; `None`: the repair needs another
    /// read.
    pub(super) fn settle(&mut self, progress: &mut RepairProgress) -> Option<ChannelCursor> {
        let mut cursor = self.cursor?;
        if std::mem::take(&mut self.ring.has_dropped_plain) {
            progress.outputs.push(FollowerOutput::Gap { reason: GapReason::Overflow, position: None });
        }
        if self.ring.lacks(cursor) {
            self.ring.dropped = None;
            progress.outputs.push(FollowerOutput::LOST);
        }
        while !self.ring.has_dropped_durable {
            let is_covered = self.ring.covered > 0;
            let Some(publication) = self.ring.pop() else { return Some(cursor) };
            if let Some(position) = publication.position() {
                // The history was read up to the cursor, and positions grow unless a clock is set back.
                let is_older = position <= cursor.position();
                if is_older && (cursor.has_history() || !self.may_be_older(position)) {
                    continue;
                }
                match cursor.step(position) {
                    CursorStep::Next => {}
                    CursorStep::Past => continue,
                    // No history has this message, and it is older than a history that was lost: it is late, and may have been
                    // delivered before. The gap covers it if not.
                    CursorStep::Hole
                        if is_covered && is_older && position.epoch < self.retained.left_epoch =>
                    {
                        progress.outputs.push(FollowerOutput::LOST);
                        continue;
                    }
                    // The history was read after this message arrived, and lacks the messages before it.
                    CursorStep::Hole if is_covered => {
                        progress.outputs.push(FollowerOutput::LOST);
                    }
                    CursorStep::Hole => {
                        self.ring.held.push_front(publication);
                        break;
                    }
                }
                cursor.advance(position);
                self.cursor = Some(cursor);
            } else {
                self.retained.has_plain = true;
            }
            progress.outputs.push(FollowerOutput::Publication(publication));
        }
        None
    }

    /// Ends the repair because the history cannot be read: announces a gap if one is needed, and delivers the ring.
    /// Returns the last durable position.
    pub(super) fn give_up(&mut self, progress: &mut RepairProgress) -> Option<Position> {
        // Messages dropped before the latest read count as well, because that read did not return them.
        let has_dropped = self.ring.dropped.is_some() || self.ring.has_dropped_plain;
        let reason = match self.cursor {
            _ if self.is_new() => None,
            Some(_) if !self.was_untracked => Some(GapReason::HistoryUnreadable),
            // Not `LinkLost`, which claims that no durable message is missing.
            _ if self.link_was_lost => Some(GapReason::HistoryUnreadable),
            _ => has_dropped.then_some(GapReason::Overflow),
        };
        if self.is_new() {
            progress.cut = Some(Cut::Untracked);
        }
        progress.outputs.extend(reason.map(|reason| FollowerOutput::Gap { reason, position: None }));
        self.deliver_ring(progress)
    }

    /// Delivers the ring without duplicates, with a gap in each hole. Returns the last durable position.
    fn deliver_ring(&mut self, progress: &mut RepairProgress) -> Option<Position> {
        let mut last = self.reads_from();
        while let Some(publication) = self.ring.pop() {
            if let Some(position) = publication.position() {
                let is_announced = matches!(progress.outputs.last(), Some(FollowerOutput::Gap { .. }));
                match last.map(|last| ChannelCursor::at(last).step(position)) {
                    Some(CursorStep::Past) => continue,
                    Some(CursorStep::Hole) if last.is_some_and(|last| position < last) => continue,
                    Some(CursorStep::Hole) if !is_announced => {
                        progress.outputs.push(FollowerOutput::UNREADABLE)
                    }
                    Some(CursorStep::Hole | CursorStep::Next) | None => {}
                }
                last = Some(position);
            }
            progress.outputs.push(FollowerOutput::Publication(publication));
        }
        last
    }
}
