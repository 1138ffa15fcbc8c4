//! A subscription that is not live yet: what is published behind its cut is held for it.

use std::sync::Arc;

use bytes::Bytes;

use super::Arrival;
use crate::broker::{ReadId, RequestId};
use protocol::conversation::Since;
use protocol::position::Position;
use protocol::publication::Publication;

/// How many publications a subscription may hold. One that is reading its history moves its cut when more come: the
/// history has what is durable. Any other waits for one round trip at most, and is closed as too slow.
pub const MAX_HELD: usize = 4_096;

/// A subscription between its cut and its first delivery.
#[derive(Debug)]
pub struct PendingSubscription {
    /// When it was made: tells it from an earlier one of the same session to the same channel.
    number: Arrival,
    request: RequestId,
    since: Option<Since>,
    /// Everything behind this position is held. `None` until the broker has said it.
    cut: Option<Position>,
    /// The read of its history that is under way.
    read: Option<ReadId>,
    /// Whether the channel was compared with its history for this subscription.
    is_verified: bool,
    stage: Stage,
    /// What its client has missed, up to the cut.
    missed: Arc<[Arc<Publication>]>,
    held: Vec<(Arrival, Held)>,
}

/// How far the subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not known whether something is missing.
    Waiting,
    /// It is known.
    Settled,
    /// Its session has been told with the other channels of its request.
    ToldTogether,
    /// Its session has been told of this channel alone.
    ToldAlone,
}

/// Something that is held.
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
    /// It would have to be held, but there is no room.
    Full,
}

impl PendingSubscription {
    pub(super) fn new(
        number: Arrival,
        request: RequestId,
        since: Option<Since>,
        cut: Option<Position>,
    ) -> Self {
        Self {
            number,
            request,
            since,
            cut,
            read: None,
            is_verified: false,
            stage: Stage::Waiting,
            missed: Arc::new([]),
            held: Vec::new(),
        }
    }

    /// Tells this subscription from any other.
    pub fn number(&self) -> Arrival {
        self.number
    }

    /// The session's request that it belongs to.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Where the client left the channel, if it says so.
    pub fn since(&self) -> Option<Since> {
        self.since
    }

    /// Everything behind this position is held.
    pub fn cut(&self) -> Option<Position> {
        self.cut
    }

    /// The read that is under way, with the positions that it is about.
    pub fn read(&self) -> Option<(ReadId, Position, Position)> {
        match (self.read, self.since, self.cut) {
            (Some(read), Some(Since::Position(since)), Some(cut)) => Some((read, since, cut)),
            _ => None,
        }
    }

    /// Whether it is still to be found out what is missing.
    pub fn is_waiting(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether the channel was compared with its history for this subscription.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// The broker has said where the channel is. A cut that was known moves: what is durable and was held is not behind it.
    pub fn set_cut(&mut self, cut: Position, is_verified: bool) {
        self.is_verified |= is_verified;
        self.cut = Some(cut);
        self.held.retain(|(_, item)| match item {
            Held::Publication(publication) => publication.position().is_none(),
            Held::Gap(_) => true,
        });
    }

    /// Its history is being read.
    pub fn reading(&mut self, read: ReadId) {
        self.read = Some(read);
    }

    /// It is known what its client has missed.
    pub fn settle(&mut self, missed: Arc<[Arc<Publication>]>) {
        self.stage = Stage::Settled;
        self.read = None;
        self.missed = missed;
    }

    /// Its session is being told, with the other channels of its request or of this channel alone.
    pub fn tell(&mut self, is_alone: bool) {
        if self.stage == Stage::Settled {
            self.stage = if is_alone { Stage::ToldAlone } else { Stage::ToldTogether };
        }
    }

    /// Whether its session has been told with the other channels of its request.
    pub(super) fn is_told_together(&self) -> bool {
        self.stage == Stage::ToldTogether
    }

    /// Whether its session has been told.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.stage, Stage::ToldTogether | Stage::ToldAlone)
    }

    pub(super) fn hold(&mut self, arrival: Arrival, publication: &Arc<Publication>, max_held: usize) -> Hold {
        if self.held.len() >= max_held {
            return Hold::Full;
        }
        self.held.push((arrival, Held::Publication(Arc::clone(publication))));
        Hold::Held
    }

    /// Keeps a gap in its position among the publications; they are few, one for each incident.
    pub(super) fn hold_gap(&mut self, arrival: Arrival, frame: &Bytes) {
        self.held.push((arrival, Held::Gap(frame.clone())));
    }

    /// Gives up what it holds, for the sake of room: it begins at a later cut. Returns whether that lost plain messages,
    /// which no history has. The caller reads anew.
    pub(super) fn move_cut(&mut self, cut: Option<Position>) -> bool {
        let has_plain = |(_, item): &(Arrival, Held)| match item {
            Held::Publication(publication) => publication.position().is_none(),
            Held::Gap(_) => true,
        };
        let lost = self.held.iter().any(has_plain);
        self.held = Vec::new();
        (self.cut, self.read) = (cut, None);
        lost
    }

    /// What its client is to be given, in order.
    pub(super) fn open(self) -> Vec<(Arrival, Held)> {
        let missed =
            self.missed.iter().map(|publication| (self.number, Held::Publication(Arc::clone(publication))));
        missed.chain(self.held).collect()
    }
}
