//! A subscription that is not live yet. It holds the publications after its cut.

use std::sync::Arc;

use super::{ArrivalNumber, HubRequestId};
use crate::broker::ReadId;
use protocol::conversation::WantedHistory;
use protocol::event::{EventFrames, SubscriptionState};
use protocol::position::Position;
use protocol::publication::Publication;

/// The maximum number of publications that a subscription holds. When an unresolved subscription is full, its cut
/// moves, because the history contains the durable messages. No history is read for a resolved subscription, so a full
/// one closes its session as too slow.
pub const MAX_HELD: usize = 4_096;

/// A subscription from Subscribe (or Join) to GoLive.
#[derive(Debug)]
pub struct PendingSubscription {
    /// The arrival number at creation. It sorts missed messages before held ones.
    arrival: ArrivalNumber,
    request: HubRequestId,
    history: WantedHistory,
    /// Publications after this position are held. `None` until the position of the channel is known.
    cut: Option<Position>,
    /// The read of the history in progress.
    read: Option<ReadId>,
    /// Whether the broker compared the channel with its history for this subscription.
    is_verified: bool,
    state: PendingState,
    /// The messages up to the cut that are delivered first.
    missed: Arc<[Arc<Publication>]>,
    held: Vec<(ArrivalNumber, HeldItem)>,
    /// The state to answer with, once the read of the user's presence with this number or a later one is answered.
    awaited: Option<(ReadId, SubscriptionState)>,
}

/// The progress of a pending subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingState {
    /// The missed messages are not known.
    Unresolved,
    /// The missed messages are known.
    Resolved,
    /// The session has the answer for all channels of the request.
    AnsweredWithRequest,
    /// The session has an answer for this channel alone.
    AnsweredAlone,
}

/// A held publication or gap.
#[derive(Debug, Clone)]
pub(super) enum HeldItem {
    Publication(Arc<Publication>),
    /// The frames of the gap.
    Gap(EventFrames),
}

/// The result of holding a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldOutcome {
    Held,
    /// There is no room.
    Full,
}

impl PendingSubscription {
    pub(super) fn new(
        arrival: ArrivalNumber,
        request: HubRequestId,
        history: WantedHistory,
        cut: Option<Position>,
    ) -> Self {
        Self {
            arrival,
            request,
            history,
            cut,
            read: None,
            is_verified: false,
            state: PendingState::Unresolved,
            missed: Arc::new([]),
            held: Vec::new(),
            awaited: None,
        }
    }

    /// The session's request that is answered with this subscription, as the hub numbers it.
    pub fn request(&self) -> HubRequestId {
        self.request
    }

    /// What the client wants from the history.
    pub fn history(&self) -> WantedHistory {
        self.history
    }

    /// The position after which publications are held. `None` until the position of the channel is known.
    pub fn cut(&self) -> Option<Position> {
        self.cut
    }

    /// The read in progress, which ends at the cut.
    pub fn active_read(&self) -> Option<ReadId> {
        self.read
    }

    /// Whether the messages to deliver first are not known yet.
    pub fn is_unresolved(&self) -> bool {
        self.state == PendingState::Unresolved
    }

    /// Whether the broker compared the channel with its history for this subscription.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Sets the cut. Drops held durable messages, because they are not after the new cut.
    pub fn set_cut(&mut self, cut: Position, is_verified: bool) {
        self.is_verified |= is_verified;
        self.cut = Some(cut);
        self.held.retain(|(_, item)| match item {
            HeldItem::Publication(publication) => publication.position().is_none(),
            HeldItem::Gap(_) => true,
        });
    }

    /// Notes the read of the history as in progress.
    pub fn start_read(&mut self, read: ReadId) {
        self.read = Some(read);
    }

    /// Sets the messages to deliver first.
    pub fn resolve(&mut self, missed: Arc<[Arc<Publication>]>) {
        self.state = PendingState::Resolved;
        self.read = None;
        self.missed = missed;
    }

    /// Drops the messages to deliver first. Returns the cut.
    pub fn drop_missed(&mut self) -> Option<Position> {
        self.missed = Arc::new([]);
        self.cut
    }

    /// Notes that `state` is the answer, once the read of the user's presence with this number or a later one is
    /// answered.
    pub fn await_presence(&mut self, read: ReadId, state: SubscriptionState) {
        self.awaited = Some((read, state));
    }

    /// The state to answer with, if `read` is the awaited read or a later one.
    pub fn take_awaited(&mut self, read: ReadId) -> Option<SubscriptionState> {
        self.awaited.take_if(|(awaited, _)| *awaited <= read).map(|(_, state)| state)
    }

    /// Notes that the session is answered, for this channel alone or for all channels of the request. Does nothing
    /// unless the subscription is resolved and not answered.
    pub fn mark_answered(&mut self, is_alone: bool) {
        if self.state == PendingState::Resolved {
            self.state =
                if is_alone { PendingState::AnsweredAlone } else { PendingState::AnsweredWithRequest };
        }
    }

    /// Whether the session has the answer for all channels of the request.
    pub(super) fn is_answered_with_request(&self) -> bool {
        self.state == PendingState::AnsweredWithRequest
    }

    /// Whether the session has an answer for this channel.
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

    /// Holds a gap in order with the publications, unless the same gap is held since the last publication. So the gaps
    /// after the limit of publications are at most as many as there are reasons.
    pub(super) fn hold_gap(&mut self, arrival: ArrivalNumber, frames: &EventFrames) {
        let mut since_publication = self.held.iter().rev().map_while(|(_, item)| match item {
            HeldItem::Gap(held) => Some(held),
            HeldItem::Publication(_) => None,
        });
        if !since_publication.any(|held| held == frames) {
            self.held.push((arrival, HeldItem::Gap(frames.clone())));
        }
    }

    /// Drops all held items and moves to a later cut. The caller starts a new read. Returns whether plain messages or
    /// gaps were dropped, which no history contains.
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

    /// The missed and held items, in the order of delivery.
    pub(super) fn into_items(self) -> Vec<(ArrivalNumber, HeldItem)> {
        let missed = self
            .missed
            .iter()
            .map(|publication| (self.arrival, HeldItem::Publication(Arc::clone(publication))));
        missed.chain(self.held).collect()
    }
}
