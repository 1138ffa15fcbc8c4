//! A subscription that is not live yet: publications after its cut are held for it.

use std::sync::Arc;

use bytes::Bytes;

use super::ArrivalNumber;
use crate::broker::{ReadId, RequestId};
use protocol::conversation::ResumePoint;
use protocol::position::Position;
use protocol::publication::Publication;

/// The most publications that a subscription may hold. Beyond it, a subscription whose history is being read moves its
/// cut, because the history contains the durable messages. Any other subscription waits for at most one round trip, and
/// is closed as too slow.
pub const MAX_HELD: usize = 4_096;

/// A subscription between its cut and its first delivery.
#[derive(Debug)]
pub struct PendingSubscription {
    /// The arrival number at its creation: missed messages come before held ones.
    number: ArrivalNumber,
    request: RequestId,
    since: Option<ResumePoint>,
    /// Everything after this position is held. `None` until the broker has confirmed the channel.
    cut: Option<Position>,
    /// The read of its history in progress.
    read: Option<ReadId>,
    /// Whether the channel was compared with its history for this subscription.
    is_verified: bool,
    state: PendingState,
    /// The messages that its client has missed, up to the cut.
    missed: Arc<[Arc<Publication>]>,
    held: Vec<(ArrivalNumber, Held)>,
}

/// The progress of a pending subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingState {
    /// It is not known what its client has missed.
    Waiting,
    /// It is known what its client has missed.
    Settled,
    /// The session has been told, together with the other channels of its request.
    ToldTogether,
    /// The session has been told of this channel alone.
    ToldAlone,
}

/// A held publication or gap.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Publication(Arc<Publication>),
    /// The frame that says that something may be missing.
    Gap(Bytes),
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Held,
    /// There is no room.
    Full,
}

impl PendingSubscription {
    pub(super) fn new(
        number: ArrivalNumber,
        request: RequestId,
        since: Option<ResumePoint>,
        cut: Option<Position>,
    ) -> Self {
        Self {
            number,
            request,
            since,
            cut,
            read: None,
            is_verified: false,
            state: PendingState::Waiting,
            missed: Arc::new([]),
            held: Vec::new(),
        }
    }

    /// The session's request to which it belongs.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The position to continue from, if the client names one.
    pub fn since(&self) -> Option<ResumePoint> {
        self.since
    }

    /// Everything after this position is held.
    pub fn cut(&self) -> Option<Position> {
        self.cut
    }

    /// The read in progress, with its `since` and cut.
    pub fn read(&self) -> Option<(ReadId, Position, Position)> {
        match (self.read, self.since, self.cut) {
            (Some(read), Some(ResumePoint::Position(since)), Some(cut)) => Some((read, since, cut)),
            _ => None,
        }
    }

    /// Whether it is not known yet what its client has missed.
    pub fn is_waiting(&self) -> bool {
        self.state == PendingState::Waiting
    }

    /// Whether the channel was compared with its history for this subscription.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Sets the cut confirmed by the broker. Drops held durable messages, which are not after the new cut.
    pub fn set_cut(&mut self, cut: Position, is_verified: bool) {
        self.is_verified |= is_verified;
        self.cut = Some(cut);
        self.held.retain(|(_, item)| match item {
            Held::Publication(publication) => publication.position().is_none(),
            Held::Gap(_) => true,
        });
    }

    /// Notes that its history is being read.
    pub fn reading(&mut self, read: ReadId) {
        self.read = Some(read);
    }

    /// Sets what its client has missed.
    pub fn settle(&mut self, missed: Arc<[Arc<Publication>]>) {
        self.state = PendingState::Settled;
        self.read = None;
        self.missed = missed;
    }

    /// Notes that the session is being told, of this channel alone or together with the others of its request.
    pub fn mark_told(&mut self, is_alone: bool) {
        if self.state == PendingState::Settled {
            self.state = if is_alone { PendingState::ToldAlone } else { PendingState::ToldTogether };
        }
    }

    /// Whether its session has been told with the other channels of its request.
    pub(super) fn is_told_together(&self) -> bool {
        self.state == PendingState::ToldTogether
    }

    /// Whether its session has been told.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.state, PendingState::ToldTogether | PendingState::ToldAlone)
    }

    pub(super) fn hold(
        &mut self,
        arrival: ArrivalNumber,
        publication: &Arc<Publication>,
        max_held: usize,
    ) -> Hold {
        if self.held.len() >= max_held {
            return Hold::Full;
        }
        self.held.push((arrival, Held::Publication(Arc::clone(publication))));
        Hold::Held
    }

    /// Holds a gap in order with the publications. Gaps do not count against the limit: they are few.
    pub(super) fn hold_gap(&mut self, arrival: ArrivalNumber, frame: &Bytes) {
        self.held.push((arrival, Held::Gap(frame.clone())));
    }

    /// Drops what it holds and begins at a later cut; the caller starts a new read. Returns whether plain messages or gaps
    /// were dropped, which no history contains.
    pub(super) fn move_cut(&mut self, cut: Option<Position>) -> bool {
        let has_plain = |(_, item): &(ArrivalNumber, Held)| match item {
            Held::Publication(publication) => publication.position().is_none(),
            Held::Gap(_) => true,
        };
        let lost = self.held.iter().any(has_plain);
        self.held = Vec::new();
        (self.cut, self.read) = (cut, None);
        lost
    }

    /// The recovered and held items for its client, in order.
    pub(super) fn open(self) -> Vec<(ArrivalNumber, Held)> {
        let missed =
            self.missed.iter().map(|publication| (self.number, Held::Publication(Arc::clone(publication))));
        missed.chain(self.held).collect()
    }
}
