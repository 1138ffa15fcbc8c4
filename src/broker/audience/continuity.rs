//! Whether one channel has been followed without a hole: plain data, without lock, clock or task.
//!
//! While the link is up, Redis sends what is published in order and once, so each durable message is the
//! next one. After the channel was away from the link, or when a place is skipped, it *catches up*: what comes
//! is held back while the history is read, then both are put together by their places. What cannot be proven
//! to be everything is a gap, and said.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::event::GapReason;
use protocol::history::{Hole, Page, Tail};
use protocol::position::Position;
use protocol::publication::Publication;

/// Publications of one channel that may be held back; it catches up within a few round trips.
const MAX_HELD: usize = 4_096;
/// How often a channel reads before its history counts as unreadable: each time something came that was
/// neither in the history nor behind it, which nothing but a history that is edited by hand explains.
const MAX_READS: u8 = 16;

/// How far one channel has been followed.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    /// Everything up to here was handed over, or came before anybody was there. `None` until it is known.
    place: Option<Position>,
    /// Why something behind `place` may never come, of which those who were here have been told.
    broken: Option<GapReason>,
    catching_up: Option<Box<CatchingUp>>,
    /// Whether a message without a place was seen: then others may have been missed while away.
    carries_plain: bool,
}

#[derive(Debug)]
struct CatchingUp {
    /// Whether the channel was away from the link, so that what has no place may be missing.
    was_away: bool,
    held: VecDeque<Arc<Publication>>,
    held_bytes: usize,
    /// Something that came meanwhile was dropped, `Some(true)` if it had no place.
    dropped: Option<bool>,
    reads: u8,
}

/// What is to be done with a publication that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Hand it over.
    Deliver,
    /// It was handed over already.
    Duplicate,
    /// Hold it back; `begins` when the channel has to catch up just because of it.
    Hold { begins: bool },
}

/// How a step of catching up went. What is to be handed over comes in this order.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Something may be missing before the publications.
    pub(crate) gap: Option<GapReason>,
    /// Where the history goes on behind the gap, if that is known: then the publications follow this place.
    pub(crate) continues_at: Option<Position>,
    pub(crate) publications: Vec<Arc<Publication>>,
    /// How many of them were read from the history.
    pub(crate) repaired: u64,
    /// The place behind which to read next; `None` when the channel has caught up.
    pub(crate) read: Option<Position>,
}

impl Continuity {
    /// Everything behind this place is going to be handed over. If it is not known yet, it is from here on.
    pub(crate) fn place_or_else(&mut self, now: impl FnOnce() -> Position) -> Position {
        *self.place.get_or_insert_with(now)
    }

    /// Why that may not be everything: whoever begins at the place is to be told of a gap behind it.
    pub(crate) fn broken(&self) -> Option<GapReason> {
        self.broken
    }

    /// A publication has come from a history that cannot be interrupted.
    pub(crate) fn pass(&mut self, position: Position) {
        self.stand_at(position);
    }

    /// Everything behind this place is going to be handed over.
    fn stand_at(&mut self, place: Position) {
        (self.place, self.broken) = (Some(place), None);
    }

    /// The history that led to the place is gone, and `tail` is the end of what there is now. What was handed over up to
    /// the place, or is older than a gap before it, is not to come any more.
    fn begin_anew_at(&mut self, tail: Position, progress: &mut Progress) {
        let before = self.place.filter(|place| !place.is_beginning());
        if let (Some(catching_up), Some(before)) = (&mut self.catching_up, before) {
            let is_new = |position: Position| position > before;
            catching_up.held.retain(|publication| publication.position().is_none_or(is_new));
        }
        self.stand_at(tail);
        progress.continues_at = self.place;
    }

    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    /// About to be subscribed: what comes is held back until the history's end is known.
    pub(crate) fn begin(&mut self) {
        self.catching_up = Some(CatchingUp::new(self.place.is_some()));
    }

    /// To be compared with its history, if that is not being done anyway.
    pub(crate) fn verify(&mut self) {
        self.catching_up.get_or_insert_with(|| CatchingUp::new(false));
    }

    /// The link is lost. What was held back is either in the history or lost with the rest.
    pub(crate) fn link_lost(&mut self) {
        self.catching_up = None;
    }

    /// Nobody wants it any longer, and the link no longer carries it.
    pub(crate) fn left(&mut self) {
        *self = Self::default();
    }

    /// A publication has come; `position` is its place if it is durable.
    pub(crate) fn arrive(&mut self, position: Option<Position>) -> Arrival {
        if self.catching_up.is_some() {
            return Arrival::Hold { begins: false };
        }
        let Some(position) = position else {
            self.carries_plain = true;
            return Arrival::Deliver;
        };
        match order(self.place, position) {
            Order::Next => {
                self.stand_at(position);
                Arrival::Deliver
            }
            Order::Past => Arrival::Duplicate,
            Order::Elsewhere => {
                self.verify();
                Arrival::Hold { begins: true }
            }
        }
    }

    /// Holds a publication back. Returns whether there was room.
    pub(crate) fn hold(&mut self, publication: Arc<Publication>, budget: &mut usize) -> bool {
        let Some(catching_up) = &mut self.catching_up else { return true };
        let bytes = publication.queued_bytes();
        if catching_up.held.len() < MAX_HELD && bytes <= *budget {
            *budget -= bytes;
            catching_up.held_bytes += bytes;
            catching_up.held.push_back(publication);
            return true;
        }
        let is_plain = publication.position().is_none();
        catching_up.dropped = Some(catching_up.dropped.unwrap_or(false) || is_plain);
        false
    }

    /// How many bytes are held back.
    pub(crate) fn held_bytes(&self) -> usize {
        self.catching_up.as_ref().map_or(0, |catching_up| catching_up.held_bytes)
    }

    /// The history ends at `tail`. `now_ms` is what the clock of who keeps it showed then, or is known to be later.
    pub(crate) fn on_tail(&mut self, tail: Tail, now_ms: u64) -> Progress {
        let Some(catching_up) = &self.catching_up else { return Progress::default() };
        let was_away = catching_up.was_away;
        let mut progress = Progress::default();
        match (self.place, tail) {
            (_, Tail::Unreadable) => return self.on_unknown_tail(Position::before(now_ms)),
            (None, Tail::At(tail)) => self.stand_at(tail),
            (None, Tail::Nothing) => self.stand_at(Position::before(now_ms)),
            (Some(place), Tail::At(tail)) if place == tail => self.stand_at(tail),
            (Some(place), Tail::At(_)) => {
                progress.read = Some(place);
                return progress;
            }
            // What came meanwhile proves by itself that nothing is missing.
            (Some(place), Tail::Nothing) if !was_away && catching_up.begins_with_next_of(place) => {}
            (Some(place), Tail::Nothing) => {
                // It has expired, if nobody was away; else nothing is known.
                if was_away && !place.is_beginning() {
                    self.note_gap(&mut progress, GapReason::HistoryLost);
                }
                self.begin_anew_at(Position::before(now_ms), &mut progress);
            }
        }
        self.settle(progress, Holes::AreRead)
    }

    /// Nobody says where the history ends. Then its place stays what it was: if nothing hints at a hole there is none,
    /// and else what is missing cannot be read.
    fn on_unknown_tail(&mut self, now: Position) -> Progress {
        let is_followed = self.catching_up.as_ref().is_none_or(|catching_up| {
            let CatchingUp { was_away, dropped, .. } = **catching_up;
            !was_away && dropped.is_none() && self.place.is_some_and(|place| catching_up.follows(place))
        });
        if is_followed {
            self.settle(Progress::default(), Holes::FirstIsTold)
        } else {
            self.on_unreadable(now)
        }
    }

    /// What stands in the history behind the place that was to be read.
    pub(crate) fn on_page(&mut self, page: &Page) -> Progress {
        let Some(place) = self.place else { return self.on_tail(Tail::At(page.tail), page.tail.epoch) };
        let mut progress = Progress::default();
        let proof = page.prove(place);
        if proof == Err(Hole::Lost) {
            self.note_gap(&mut progress, GapReason::HistoryLost);
            self.begin_anew_at(page.tail, &mut progress);
            return self.settle(progress, Holes::AreRead);
        }
        self.stand_at(page.entries.last().map_or(page.tail, |entry| entry.position));
        progress.publications = page.entries.iter().filter_map(|entry| entry.publication.clone()).collect();
        progress.repaired = progress.publications.len() as u64;
        if proof == Err(Hole::TooMuch) {
            self.note_absence(&mut progress);
            progress.read = self.place;
            return progress;
        }
        self.settle(progress, Holes::AreRead)
    }

    /// The history cannot be read. `now` stands for its end if even that is not known.
    pub(crate) fn on_unreadable(&mut self, now: Position) -> Progress {
        let mut progress = Progress::default();
        if self.place.is_some() {
            self.note_gap(&mut progress, GapReason::HistoryUnreadable);
            self.broken = Some(GapReason::HistoryUnreadable);
        }
        self.place.get_or_insert(now);
        self.settle(progress, Holes::FirstIsTold)
    }

    /// Goes live again: hands over what was held back, if it follows.
    fn settle(&mut self, mut progress: Progress, holes: Holes) -> Progress {
        self.note_absence(&mut progress);
        let Some(mut catching_up) = self.catching_up.take() else { return progress };
        if let Some(was_plain) = catching_up.dropped.take() {
            if was_plain {
                progress.gap.get_or_insert(GapReason::Overflow);
            }
            // What was durable among it is in the history.
            if holes == Holes::AreRead {
                return self.read_again(catching_up, progress);
            }
        }
        let mut is_behind_gap = true;
        while let Some(publication) = catching_up.held.pop_front() {
            let Some(position) = publication.position() else {
                self.carries_plain = true;
                progress.publications.push(publication);
                continue;
            };
            match order(self.place, position) {
                Order::Past => continue,
                // There is no history that would have what comes before it.
                Order::Elsewhere if self.place.is_some_and(Position::is_beginning) => {
                    progress.gap.get_or_insert(GapReason::HistoryLost);
                }
                // The history has been read since it came.
                Order::Elsewhere if self.place.is_some_and(|place| position <= place) => continue,
                Order::Next => {}
                Order::Elsewhere if holes == Holes::FirstIsTold && is_behind_gap => {}
                // What comes before the hole is given up: the gap that is told then stands in the hole.
                Order::Elsewhere if holes == Holes::LastIsTold => progress.publications.clear(),
                Order::Elsewhere => {
                    catching_up.held.push_front(publication);
                    return self.read_again(catching_up, progress);
                }
            }
            self.stand_at(position);
            is_behind_gap = false;
            progress.publications.push(publication);
        }
        progress
    }

    fn read_again(&mut self, mut catching_up: Box<CatchingUp>, mut progress: Progress) -> Progress {
        catching_up.reads += 1;
        let exhausted = catching_up.reads > MAX_READS;
        self.catching_up = Some(catching_up);
        if exhausted {
            progress.gap.get_or_insert(GapReason::HistoryUnreadable);
            self.broken = progress.gap;
            return self.settle(progress, Holes::LastIsTold);
        }
        progress.read = self.place;
        progress
    }

    /// Says a gap; nothing more is owed for having been away.
    fn note_gap(&mut self, progress: &mut Progress, reason: GapReason) {
        progress.gap.get_or_insert(reason);
        if let Some(catching_up) = &mut self.catching_up {
            catching_up.was_away = false;
        }
    }

    /// After having been away: a channel that carries nothing but durable messages has missed nothing when
    /// its history is proven. Of any other nobody can say.
    fn note_absence(&mut self, progress: &mut Progress) {
        let Some(catching_up) = &mut self.catching_up else { return };
        if !std::mem::take(&mut catching_up.was_away) {
            return;
        }
        let has_history = self.place.is_some_and(|place| !place.is_beginning());
        if self.carries_plain || !has_history {
            progress.gap.get_or_insert(GapReason::LinkLost);
        }
    }
}

/// What becomes of holes in what was held back. A step tells one gap, and it stands before everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holes {
    /// The history is read once more.
    AreRead,
    /// The gap stands in the first one. Behind what follows it, the next one is read.
    FirstIsTold,
    /// It has been read too often: the gap stands in the last one.
    LastIsTold,
}

impl CatchingUp {
    fn new(was_away: bool) -> Box<Self> {
        Box::new(Self { was_away, held: VecDeque::new(), held_bytes: 0, dropped: None, reads: 0 })
    }

    /// Whether what was held back and is durable follows `place` without a hole.
    fn follows(&self, mut place: Position) -> bool {
        self.held.iter().filter_map(|publication| publication.position()).all(|next| {
            match order(Some(place), next) {
                Order::Next => {
                    place = next;
                    true
                }
                Order::Past => true,
                Order::Elsewhere => false,
            }
        })
    }

    /// Whether the first durable message that was held back is the one behind `place`.
    fn begins_with_next_of(&self, place: Position) -> bool {
        let first = self.held.iter().find_map(|publication| publication.position());
        first.is_some_and(|first| matches!(order(Some(place), first), Order::Next))
    }
}

/// How a place stands to the one before.
enum Order {
    Next,
    Past,
    Elsewhere,
}

fn order(place: Option<Position>, next: Position) -> Order {
    let Some(place) = place else { return Order::Next };
    // On a link that was not interrupted nothing can have come before the first message of a younger epoch.
    let begins_anew = next.offset == 1 && next.epoch > place.epoch;
    if begins_anew || place.is_followed_by(next, None) {
        Order::Next
    } else if next.epoch == place.epoch && next.offset <= place.offset {
        Order::Past
    } else {
        Order::Elsewhere
    }
}

#[cfg(test)]
mod tests;
