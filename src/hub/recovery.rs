//! What sessions have missed while they were away: read once they are held at the gate, so that nothing falls
//! between what is read and what comes.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::future::join_all;

use super::Hub;
use super::registry::Slot;
use super::resumption::{Missed, Read, Resumption};
use super::waiting::Request;
use crate::metrics::Metrics;
use crate::protocol::SessionId;

impl Hub {
    /// All channels of a request are confirmed: reads what its client has missed, then answers. Most have
    /// missed nothing, which shows without reading. It reads over a link that is proven, if there is one soon, because
    /// then every gap of before is known.
    pub(super) fn recover(&mut self, session: SessionId, request: Request, context: &mut Context<Self>) {
        let Some(slot) = self.slot(session) else { return };
        if self.reads(slot, &request).is_empty() {
            return self.recovered(session, &request, Vec::new());
        }
        let broker = self.broker.clone();
        let done = async move { broker.linked().await }.into_actor(self).then(move |(), hub, _| {
            let reads = hub.slot(session).map_or_else(Vec::new, |slot| hub.reads(slot, &request));
            join_all(reads).into_actor(hub).map(move |reads, hub, _| hub.recovered(session, &request, reads))
        });
        context.spawn(done);
    }

    /// What is to be read for a request.
    fn reads(&self, slot: Slot, request: &Request) -> Vec<impl Future<Output = Read> + use<>> {
        let missed = request.wanted.iter().filter_map(|wanted| Missed::of(&self.registry, slot, wanted));
        missed.map(|missed| self.read(missed)).collect()
    }

    fn read(&self, missed: Missed) -> impl Future<Output = Read> + use<> {
        let (broker, limits) = (self.broker.clone(), self.recovery);
        async move {
            let outcome = broker.recover(&missed.channel, missed.since, limits).await;
            missed.read(outcome)
        }
    }

    fn recovered(&mut self, session: SessionId, request: &Request, mut reads: Vec<Read>) {
        // It may have left meanwhile.
        let Some(slot) = self.slot(session) else { return };
        let mut resumption = Resumption::new(slot, self.recovery.bytes);
        let mut standings = Vec::with_capacity(request.wanted.len());
        for wanted in &*request.wanted {
            let now = || self.broker.position_now();
            let (standing, outcome) = resumption.standing(&mut self.registry, wanted, &mut reads, now);
            if let Some(outcome) = outcome {
                Metrics::count(&self.metrics.recoveries, outcome.err().unwrap_or("recovered"));
            }
            standings.push(standing);
        }
        self.answer(session, request.kind, standings);
    }
}
