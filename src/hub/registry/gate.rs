//! What stands between a channel and a subscription that is not live yet.

use std::sync::Arc;

use bytes::Bytes;

use super::{Arrival, Beginning};
use protocol::position::Position;
use protocol::publication::Publication;

/// How many publications a subscription may hold back. It does so for one Redis round trip at most (or until
/// its history is read); a client for whom more arrive in that time is closed as too slow.
pub(super) const MAX_HELD: usize = 4_096;

/// Holds back, puts what was missed before it, and lets nothing through twice.
#[derive(Debug)]
pub(super) struct Gate {
    /// When the subscription was made: its name among those of the same session to the same channel.
    number: u64,
    /// Everything behind this place is held back, once the channel is confirmed.
    begins_at: Option<Position>,
    /// The last place of what its client was given from the history: up to here nothing comes again.
    restored_to: Option<Position>,
    /// Whether nothing behind `begins_at` was lost before there was this gate.
    is_whole: bool,
    /// When another history may have begun last. If that was behind what was restored, only what has the epoch of
    /// `restored_to` is behind it.
    other_history_at: Option<Arrival>,
    /// `None` once open: then only what was restored is still kept away.
    held: Option<Vec<(Arrival, Item)>>,
}

/// What is held back.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Publication(Arc<Publication>),
    /// The frame that says that something may be missing.
    Gap(Bytes),
}

/// What a gate does with a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// It is held back.
    Held,
    /// Its client has it already.
    Behind,
    /// It goes through, and the gate stays.
    Through,
    /// It goes through, and so does all that follows: the gate is needed no more.
    Open,
    /// It would have to be held back, but there is no room.
    Full,
}

impl Gate {
    pub(super) fn new(number: u64, begins_at: Option<Position>) -> Self {
        Self {
            number,
            begins_at,
            restored_to: None,
            is_whole: true,
            other_history_at: None,
            held: Some(Vec::new()),
        }
    }

    /// Something behind its place may never come, of which others have been told by this frame.
    pub(super) fn begin_with_gap(&mut self, frame: Bytes) {
        self.is_whole = false;
        self.held = Some(vec![(self.number, Item::Gap(frame))]);
    }

    /// The channel is delivered from here on.
    pub(super) fn confirm(&mut self, place: Position) {
        self.begins_at.get_or_insert(place);
    }

    /// Where the subscription begins, while it is not live.
    pub(super) fn beginning(&self) -> Option<Beginning> {
        self.held.as_ref()?;
        Some(Beginning { place: self.begins_at?, number: self.number, is_whole: self.is_whole })
    }

    /// Puts what its client has missed, up to `last`, first. What was read after `read_at` speaks for all that came
    /// before: gaps, and durable publications, which it has unless they were lost with an older history.
    pub(super) fn restore(
        &mut self,
        number: u64,
        missed: Vec<Arc<Publication>>,
        last: Position,
        read_at: Arrival,
    ) {
        let Some(held) = self.held.as_mut().filter(|_| self.number == number) else { return };
        self.other_history_at = self.other_history_at.filter(|arrival| *arrival > read_at);
        let is_other_history = self.other_history_at.is_some();
        held.retain(|(arrival, item)| match item {
            Item::Publication(publication) if publication.position().is_none() => true,
            Item::Publication(publication) => {
                *arrival > read_at && !is_behind(publication, last, is_other_history)
            }
            Item::Gap(_) => *arrival > read_at,
        });
        // The number of the subscription: before all that came since.
        held.splice(..0, missed.into_iter().map(|publication| (number, Item::Publication(publication))));
        // At a beginning nothing stands that could come again.
        self.restored_to = Some(last).filter(|last| !last.is_beginning());
    }

    /// Its client does not continue, but has what its epoch has up to `since`: that does not come again, wherever the
    /// channel stands.
    pub(super) fn begin_anew(&mut self, number: u64, since: Position) {
        let Some(held) = self.held.as_mut().filter(|_| self.number == number) else { return };
        held.retain(|(_, item)| match item {
            Item::Publication(publication) => !is_behind(publication, since, true),
            Item::Gap(_) => true,
        });
        self.restored_to = Some(since).filter(|since| !since.is_beginning());
        // Nothing is known of other epochs.
        self.other_history_at = Some(number);
    }

    /// Its client has been told: returns what was held back. `place` is where the channel is.
    pub(super) fn open(&mut self, place: Option<Position>) -> Vec<(Arrival, Item)> {
        // What was restored may be ahead of what has come to this thread so far. A beginning says nothing of how far that
        // is: the history was not found, or could not be read, when the place was told.
        let may_be_ahead = |last: &Position| place.is_some_and(|place| place < *last || place.is_beginning());
        self.restored_to = self.restored_to.filter(may_be_ahead);
        self.held.take().unwrap_or_default()
    }

    /// Whether an open gate still keeps something away.
    pub(super) fn is_needed(&self) -> bool {
        self.restored_to.is_some()
    }

    pub(super) fn pass(&mut self, arrival: Arrival, publication: &Arc<Publication>) -> Passage {
        let is_behind = self
            .restored_to
            .is_some_and(|last| is_behind(publication, last, self.other_history_at.is_some()));
        match &mut self.held {
            _ if is_behind => Passage::Behind,
            Some(held) if held.len() < MAX_HELD => {
                held.push((arrival, Item::Publication(Arc::clone(publication))));
                Passage::Held
            }
            Some(_) => Passage::Full,
            // Says nothing of how far the channel is.
            None if publication.position().is_none() => Passage::Through,
            None => Passage::Open,
        }
    }

    /// Keeps a gap in its place among the publications; they are few, one for each incident. An open gate
    /// keeps none: `false`. Unless the history goes on, what follows may have older epochs and yet be new.
    pub(super) fn hold_gap(&mut self, arrival: Arrival, frame: &Bytes, goes_on: bool) -> bool {
        if !goes_on {
            self.other_history_at = Some(arrival);
        }
        let Some(held) = &mut self.held else { return false };
        held.push((arrival, Item::Gap(frame.clone())));
        true
    }
}

/// Whether a durable publication stands at `last` or before.
fn is_behind(publication: &Publication, last: Position, is_other_history: bool) -> bool {
    publication
        .position()
        .is_some_and(|position| position <= last && (position.epoch == last.epoch || !is_other_history))
}
