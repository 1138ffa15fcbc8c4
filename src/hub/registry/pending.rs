//! A subscription that is not live yet: publications after its cut are held for it.

use std::sync::Arc;

use bytes::Bytes;

use super::ArrivalNumber;
use crate::broker::{ReadId, RequestId};
use protocol::conversation::Since;
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
    arrival: ArrivalNumber,
    request: RequestId,
    since: Option<Since>,
    /// Everything after this position is held. `None` until the broker has confirmed the channel.
    cut: Option<Position>,
    /// The read of its history in progress.
    read: Option<ReadId>,
    /// Whether the channel was compared with its history for this subscription.
    is_verified: bool,
    state: PendingState,
    /// The messages that its client has missed, up to the cut.
    missed: Arc<[Arc<Publication>]>,
    held: Vec<(ArrivalNumber, HeldItem)>,
}

/// The progress of a pending subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingState {
    /// It is not known what its client has missed.
    Unresolved,
    /// It is known what its client has missed.
    Resolved,
    /// The session has been told, together with the other channels of its request.
    AnsweredWithRequest,
    /// The session has been told of this channel alone.
    AnsweredAlone,
}

/// A held publication or gap.
#[derive(Debug, Clone)]
pub(super) enum HeldItem {
    Publication(Arc<Publication>),
    /// The frame that says that something may be missing.
    Gap(Bytes),
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldOutcome {
    Held,
    /// There is no room.
    Full,
}

impl PendingSubscription {
    pub(super) fn new(
        arrival: ArrivalNumber,
        request: RequestId,
        since: Option<Since>,
        cut: Option<Position>,
    ) -> Self {
        Self {
            arrival,
            request,
            since,
            cut,
            read: None,
            is_verified: false,
            state: PendingState::Unresolved,
            missed: Arc::new([]),
            held: Vec::new(),
        }
    }

    /// The session's request to which it belongs.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The position to continue from, if the client names one.
    pub fn since(&self) -> Option<Since> {
        self.since
    }

    /// Everything after this position is held.
    pub fn cut(&self) -> Option<Position> {
        self.cut
    }

    /// The read in progress, with its `since` and cut.
    pub fn active_read(&self) -> Option<(ReadId, Position, Position)> {
        match (self.read, self.since, self.cut) {
            (Some(read), Some(Since::Position(since)), Some(cut)) => Some((read, since, cut)),
            _ => None,
        }
    }

    /// Whether it is not known yet what its client has missed.
    pub fn is_unresolved(&self) -> bool {
        self.state == PendingState::Unresolved
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
            HeldItem::Publication(publication) => publication.position().is_none(),
            HeldItem::Gap(_) => true,
        });
    }

    /// Notes that its history is being read.
    pub fn start_read(&mut self, read: ReadId) {
        self.read = Some(read);
    }

    /// Sets what its client has missed.
    pub fn resolve(&mut self, missed: Arc<[Arc<Publication>]>) {
        self.state = PendingState::Resolved;
        self.read = None;
        self.missed = missed;
    }

    /// Notes that the session is being told, of this channel alone or together with the others of its request.
    pub fn mark_answered(&mut self, is_alone: bool) {
        if self.state == PendingState::Resolved {
            self.state =
                if is_alone { PendingState::AnsweredAlone } else { PendingState::AnsweredWithRequest };
        }
    }

    /// Whether its session has been told with the other channels of its request.
    pub(super) fn is_answered_with_request(&self) -> bool {
        self.state == PendingState::AnsweredWithRequest
    }

    /// Whether its session has been told.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, PendingState::AnsweredWithRequest | PendingState::AnsweredAlone)
    }

    pub(super) fn hold(
        &mut self,
        arrival: ArrivalNumber,
        publication: &Arc<Publication>,
        max_held: usize,
    ) -> HoldOutcome {
        if self.held.len() >= max_held {
            return HoldOutcome::Full;
        }
        self.held.push((arrival, HeldItem::Publication(Arc::clone(publication))));
        HoldOutcome::Held
    }

    /// Holds a gap in order with the publications. Gaps do not count against the limit: they are few.
    pub(super) fn hold_gap(&mut self, arrival: ArrivalNumber, frame: &Bytes) {
        self.held.push((arrival, HeldItem::Gap(frame.clone())));
    }

    /// Drops what it holds and begins at a later cut; the caller starts a new read. Returns whether plain messages or gaps
    /// were dropped, which no history contains.
    pub(super) fn move_cut(&mut self, cut: Option<Position>) -> bool {
        let has_plain = |(_, item): &(ArrivalNumber, HeldItem)| match item {
            HeldItem::Publication(publication) => publication.position().is_none(),
            HeldItem::Gap(_) => true,
        };
        let lost = self.held.iter().any(has_plain);
        self.held = Vec::new();
        (self.cut, self.read) = (cut, None);
        lost
    }

    /// The recovered and held items for its client, in order.
    pub(super) fn into_items(self) -> Vec<(ArrivalNumber, HeldItem)> {
        let missed = self
            .missed
            .iter()
            .map(|publication| (self.arrival, HeldItem::Publication(Arc::clone(publication))));
        missed.chain(self.held).collect()
    }
}
