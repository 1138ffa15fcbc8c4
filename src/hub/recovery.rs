//! What sessions have missed while they were away: read once they are held at the gate, so that nothing falls
//! between what is read and what comes.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use futures_util::future::join_all;

use super::Hub;
use super::resumption::{Missed, Read, Resumption};
use super::waiting::Request;
use crate::broker::NotRecovered;
use crate::metrics::Metrics;
use crate::protocol::SessionId;

/// The wait for a link is over, for a request that needs to read.
///
/// A message to itself, so that it is handled behind every gap that the link has told before it was proven: what is
/// read then speaks for these.
#[derive(Message)]
#[rtype(result = "()")]
struct Linked {
    session: SessionId,
    request: Request,
    outcome: Result<(), NotRecovered>,
}

impl Hub {
    /// All channels of a request are confirmed: reads what its client has missed, then answers. Most have
    /// missed nothing, which shows without reading. It reads over a link that is proven, if there is one soon, because
    /// then every gap of before is known.
    pub(super) fn recover(&mut self, session: SessionId, request: Request, context: &mut Context<Self>) {
        if self.missed(session, &request).is_empty() {
            return self.recovered(session, &request, Vec::new());
        }
        let (broker, hub) = (self.broker.clone(), context.address());
        let waiting = async move {
            let outcome = broker.linked().await;
            hub.do_send(Linked { session, request, outcome });
        };
        context.spawn(waiting.into_actor(self));
    }

    /// What is to be read for a request.
    fn missed(&self, session: SessionId, request: &Request) -> Vec<Missed> {
        let Some(slot) = self.slot(session) else { return Vec::new() };
        request.wanted.iter().filter_map(|wanted| Missed::of(&self.registry, slot, wanted)).collect()
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

impl Handler<Linked> for Hub {
    type Result = ();

    fn handle(&mut self, Linked { session, request, outcome }: Linked, context: &mut Self::Context) {
        let missed = self.missed(session, &request);
        if let Err(reason) = outcome {
            let reads = missed.into_iter().map(|missed| missed.read(Err(reason))).collect();
            return self.recovered(session, &request, reads);
        }
        let reads = missed.into_iter().map(|missed| self.read(missed)).collect::<Vec<_>>();
        let done = join_all(reads).into_actor(self);
        context.spawn(done.map(move |reads, hub, _| hub.recovered(session, &request, reads)));
    }
}
