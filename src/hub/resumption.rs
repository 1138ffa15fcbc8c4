//! How sessions continue where their clients left: plain decisions, without actor, broker or clock.

use super::registry::{Arrival, Beginning, Line, Registry, Slot};
use crate::broker::{NotRecovered, Recovered};
use protocol::channel::ChannelName;
use protocol::conversation::{Since, Standing, Wanted};
use protocol::position::Position;

/// What a client may have missed of a channel, to be read from its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) channel: ChannelName,
    /// Where its client left it.
    pub(super) since: Position,
    /// Of the subscription, which may be another one when the history has been read.
    number: u64,
    /// What the registry had come across when the reading began.
    read_at: Arrival,
}

/// What was read for one subscription.
pub(super) struct Read {
    missed: Missed,
    outcome: Result<Recovered, NotRecovered>,
}

/// One request of one session, while it is answered.
pub(super) struct Resumption {
    slot: Slot,
    /// What its client may still be given from histories: all of it goes through one outbox at once.
    budget_bytes: usize,
}

/// Why a channel is not continued, in a word for metrics.
type Reason = &'static str;

impl Missed {
    /// What is to be read for a channel that is confirmed; `None` when nothing can be missing.
    pub(super) fn of<L: Line>(registry: &Registry<L>, slot: Slot, wanted: &Wanted) -> Option<Self> {
        let Some(Since::Place(since)) = wanted.since else { return None };
        let Beginning { place, number, is_whole } = registry.beginning(slot, &wanted.channel)?;
        let read_at = registry.arrivals();
        (place != since || !is_whole).then(|| Self {
            channel: wanted.channel.clone(),
            since,
            number,
            read_at,
        })
    }

    pub(super) fn read(self, outcome: Result<Recovered, NotRecovered>) -> Read {
        Read { missed: self, outcome }
    }
}

impl Resumption {
    pub(super) fn new(slot: Slot, budget_bytes: usize) -> Self {
        Self { slot, budget_bytes }
    }

    /// How a channel stands for the session, which is given what it has missed. Says besides, where the client
    /// asked to continue, whether it does or why not. `now` stands for a place that is not known.
    pub(super) fn standing<L: Line>(
        &mut self,
        registry: &mut Registry<L>,
        wanted: &Wanted,
        reads: &mut Vec<Read>,
        now: impl FnOnce() -> Position,
    ) -> (Standing, Option<Result<(), Reason>>) {
        let beginning = registry.beginning(self.slot, &wanted.channel);
        // Without a beginning it has left the channel again, and nobody reads this.
        let position = beginning.map_or_else(now, |beginning| beginning.place);
        let is_whole = beginning.is_some_and(|beginning| beginning.is_whole);
        let Some(since) = wanted.since else { return (Standing { position, recovered: None }, None) };
        let read = reads.iter().position(|read| read.missed.channel == wanted.channel);
        let outcome = match (since, read.map(|index| reads.swap_remove(index))) {
            (Since::Place(since), None) if since == position => Ok(since),
            (Since::Place(since), Some(read)) => {
                self.restore(registry, read, position, is_whole).map(|()| since).map_err(NotRecovered::label)
            }
            (Since::Place(_), None) => Err("left"),
            (Since::Unreadable, _) => Err("unreadable_position"),
        };
        let standing = match outcome {
            Ok(since) => Standing { position: since, recovered: Some(true) },
            Err(_) => Standing { position, recovered: Some(false) },
        };
        (standing, Some(outcome.map(|_| ())))
    }

    fn restore<L: Line>(
        &mut self,
        registry: &mut Registry<L>,
        read: Read,
        place: Position,
        is_whole: bool,
    ) -> Result<(), NotRecovered> {
        let Read { missed: Missed { channel, since, number, read_at }, outcome } = read;
        let within_budget = outcome.and_then(|recovered| {
            let left = self.budget_bytes.checked_sub(recovered.bytes).ok_or(NotRecovered::TooMuch)?;
            self.budget_bytes = left;
            Ok((recovered.publications, recovered.position))
        });
        let (restored, read_at) = match within_budget {
            Ok(restored) => (restored, read_at),
            // Nothing was read, so each gap counts.
            Err(reason) if reason != NotRecovered::Lost && is_whole && is_ahead(since, place) => {
                ((Vec::new(), since), 0)
            }
            Err(reason) => {
                // What is behind the place that its client is told is to come, even if it came before.
                if since < place {
                    registry.begin_anew(self.slot, &channel, number, since);
                }
                return Err(reason);
            }
        };
        registry.restore(self.slot, &channel, number, restored, read_at);
        Ok(())
    }
}

/// Whether a client comes from a replica that is ahead of this one. It has missed nothing, even if nothing can be
/// read: all that follows `place` is still to come here, or a gap instead. Only what it has of that must not come to
/// it again.
fn is_ahead(since: Position, place: Position) -> bool {
    since.epoch == place.epoch && since > place
}
