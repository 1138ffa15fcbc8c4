//! What sessions have missed while they were away: read once they are held at the gate, so that nothing falls
//! between what is read and what comes.

use actix::{ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Hub;
use super::resumption::{Missed, Read, Resumption};
use super::waiting::Request;
use crate::broker::{HistoryReader, Interrupted, NotRecovered};
use crate::metrics::Metrics;
use protocol::SessionId;

/// The wait for a link to read over has ended, for one request.
///
/// A message to itself, so that it is handled behind every gap that the link has told before it was proven: what is
/// read then speaks for these.
#[derive(Message)]
#[rtype(result = "()")]
struct Linked {
    session: SessionId,
    request: Request,
    reader: Result<HistoryReader, NotRecovered>,
    deadline: Instant,
}

impl Hub {
    /// All channels of a request are confirmed: reads what its client has missed, then answers. Most have
    /// missed nothing, which shows without reading. It reads over a link that is proven, if there is one soon, because
    /// then every gap of before is known.
    pub(super) fn recover(&mut self, session: SessionId, request: Request, context: &mut Context<Self>) {
        if self.missed(session, &request).is_empty() {
            return self.recovered(session, &request, Vec::new());
        }
        let deadline = Instant::now() + self.broker.patience();
        self.await_link(session, request, deadline, context);
    }

    fn await_link(
        &self,
        session: SessionId,
        request: Request,
        deadline: Instant,
        context: &mut Context<Self>,
    ) {
        let (broker, hub) = (self.broker.clone(), context.address());
        let waiting = async move {
            let reader = broker.reader(deadline).await;
            hub.do_send(Linked { session, request, reader, deadline });
        };
        context.spawn(waiting.into_actor(self));
    }

    /// What is to be read for a request.
    fn missed(&self, session: SessionId, request: &Request) -> Vec<Missed> {
        let Some(slot) = self.slot(session) else { return Vec::new() };
        request.wanted.iter().filter_map(|wanted| Missed::of(&self.registry, slot, wanted)).collect()
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

    fn handle(&mut self, message: Linked, context: &mut Self::Context) {
        let Linked { session, request, reader, deadline } = message;
        let missed = self.missed(session, &request);
        let reader = match reader {
            Ok(reader) => reader,
            Err(reason) => {
                let reads = missed.into_iter().map(|missed| missed.read(Err(reason))).collect();
                return self.recovered(session, &request, reads);
            }
        };
        let limits = self.recovery;
        let read = |missed: Missed| {
            let reader = reader.clone();
            async move {
                let outcome = reader.recover(&missed.channel, missed.since, limits, deadline).await?;
                Ok(missed.read(outcome))
            }
        };
        let reads = join_all(missed.into_iter().map(read)).into_actor(self);
        context.spawn(reads.map(move |reads, hub, context| {
            match reads.into_iter().collect::<Result<Vec<_>, Interrupted>>() {
                Ok(reads) => hub.recovered(session, &request, reads),
                // All of it once more, because the gaps of the next link come first.
                Err(Interrupted) => hub.await_link(session, request, deadline, context),
            }
        }));
    }
}
