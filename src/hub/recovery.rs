//! What sessions have missed while they were away: read once they are held at the gate, so that nothing falls
//! between what is read and what comes.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::future::join_all;

use super::Hub;
use super::registry::{Beginning, Slot};
use super::waiting::Request;
use crate::broker::{NotRecovered, Recovered};
use crate::metrics::Metrics;
use crate::protocol::SessionId;
use crate::protocol::channel::ChannelName;
use crate::protocol::conversation::{Since, Standing, Wanted};
use crate::protocol::position::Position;

/// What was read for one subscription.
struct Read {
    channel: ChannelName,
    /// Of the subscription, which may be another one by now.
    number: u64,
    outcome: Result<Recovered, NotRecovered>,
}

impl Hub {
    /// All channels of a request are confirmed: reads what its client has missed, then answers. Most have
    /// missed nothing, which shows without reading.
    pub(super) fn recover(&mut self, session: SessionId, request: Request, context: &mut Context<Self>) {
        let Some(slot) = self.slot(session) else { return };
        let reads: Vec<_> =
            request.wanted.iter().filter_map(|wanted| self.read_missed(slot, wanted)).collect();
        if reads.is_empty() {
            return self.recovered(session, &request, Vec::new());
        }
        let done = join_all(reads)
            .into_actor(self)
            .map(move |reads, hub, _| hub.recovered(session, &request, reads));
        context.spawn(done);
    }

    /// Begins to read what is missing, if anything may be.
    fn read_missed(&self, slot: Slot, wanted: &Wanted) -> Option<impl Future<Output = Read> + use<>> {
        let Some(Since::Place(since)) = wanted.since else { return None };
        let Beginning { place, number } = self.registry.beginning(slot, &wanted.channel)?;
        if place == since {
            return None;
        }
        let (broker, channel, limits) = (self.broker.clone(), wanted.channel.clone(), self.recovery);
        Some(async move {
            let outcome = broker.recover(&channel, since, limits).await;
            Read { channel, number, outcome }
        })
    }

    fn recovered(&mut self, session: SessionId, request: &Request, mut reads: Vec<Read>) {
        // It may have left meanwhile.
        let Some(slot) = self.slot(session) else { return };
        let mut budget = self.recovery.bytes;
        let mut standing = |wanted: &Wanted| {
            let read = reads.iter().position(|read| read.channel == wanted.channel);
            self.standing(slot, wanted, read.map(|index| reads.swap_remove(index)), &mut budget)
        };
        let standings = request.wanted.iter().map(&mut standing).collect();
        self.answer(session, request.kind, standings);
    }

    /// How a channel stands for a session, which is given what it has missed, within its byte budget.
    fn standing(&mut self, slot: Slot, wanted: &Wanted, read: Option<Read>, budget: &mut usize) -> Standing {
        let beginning = self.registry.beginning(slot, &wanted.channel);
        // Without a beginning it has left the channel again, and nobody reads this.
        let position = beginning.map_or_else(|| self.broker.position_now(), |beginning| beginning.place);
        let Some(since) = wanted.since else { return Standing { position, recovered: None } };
        let outcome = match (since, read) {
            (Since::Place(since), None) if since == position => Ok(since),
            (Since::Place(since), Some(read)) => {
                self.restore(slot, since, read, position, budget).map_err(NotRecovered::label)
            }
            (Since::Place(_), None) => Err("left"),
            (Since::Unreadable, _) => Err("unreadable_position"),
        };
        Metrics::count(&self.metrics.recoveries, outcome.err().unwrap_or("recovered"));
        match outcome {
            Ok(since) => Standing { position: since, recovered: Some(true) },
            Err(_) => Standing { position, recovered: Some(false) },
        }
    }

    fn restore(
        &mut self,
        slot: Slot,
        since: Position,
        read: Read,
        place: Position,
        budget: &mut usize,
    ) -> Result<Position, NotRecovered> {
        let Read { channel, number, outcome } = read;
        let within_budget = outcome.and_then(|recovered| {
            // All of them go through one outbox at once.
            *budget = budget.checked_sub(recovered.bytes).ok_or(NotRecovered::TooMuch)?;
            Ok((recovered.publications, recovered.position))
        });
        let (missed, last) = match within_budget {
            Err(reason) if reason != NotRecovered::Lost && is_ahead(since, place) => (Vec::new(), since),
            within_budget => within_budget?,
        };
        self.registry.restore(slot, &channel, number, missed, last);
        Ok(since)
    }
}

/// Whether a client comes from a replica that is ahead of this one. It has missed nothing, even if nothing can be
/// read: all that follows `place` is still to come here, or a gap instead. Only what it has of that must not come to
/// it again.
fn is_ahead(since: Position, place: Position) -> bool {
    since.epoch == place.epoch && since > place
}
