//! What comes from the broker for the sessions of this thread: at once, or in turns where that would take long.

use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use actix_rt::task::yield_now;

use super::Hub;
use super::registry::{Delivery, Receiver};
use crate::metrics::Metrics;
use crate::socket::outbox::Outbox;
use protocol::channel::ChannelName;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

impl Hub {
    pub(super) fn on_publication(&mut self, publication: Arc<Publication>, context: &mut Context<Self>) {
        let bytes = publication.queued_bytes();
        if !self.turns.must_wait(publication.channel(), self.registry.weight(&publication)) {
            let delivery = self.registry.deliver(&publication);
            self.count(delivery);
            return self.inbox.release(bytes);
        }
        let (delivery, receivers) = self.registry.deliver_later(&publication);
        self.count(delivery);
        // The list of receivers is held as well, and counts against the same bound.
        let list_bytes = receivers.len() * size_of::<Receiver<Outbox>>();
        self.inbox.hold(list_bytes);
        self.turns.add(publication, receivers, bytes + list_bytes);
        self.schedule_turn(context);
    }

    pub(super) fn on_gap(&mut self, channel: ChannelName, reason: GapReason, place: Option<Position>) {
        self.inbox.gap_told(&channel);
        if !self.turns.is_busy(&channel) {
            self.registry.announce_gap(&channel, reason, place);
        } else if let Some((frame, receivers)) = self.registry.announce_gap_later(&channel, reason, place) {
            self.turns.add_gap(channel, frame, receivers);
        }
    }

    /// Has the next part written after everybody else on this thread had a chance.
    fn schedule_turn(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.turn_is_due, true) {
            return;
        }
        let turn = yield_now().into_actor(self).map(|(), hub, context| {
            hub.turn_is_due = false;
            hub.take_turn(context);
        });
        context.spawn(turn);
    }

    fn take_turn(&mut self, context: &mut Context<Self>) {
        let taken = self.turns.take();
        self.count(taken.delivery);
        self.inbox.release(taken.released_bytes);
        if !self.turns.is_empty() {
            self.schedule_turn(context);
        }
    }

    pub(super) fn count(&self, delivery: Delivery) {
        self.metrics.publications_delivered.inc_by(delivery.delivered);
        if delivery.unreachable > 0 {
            let dropped = &self.metrics.publications_dropped;
            Metrics::count_many(dropped, "socket_closing", delivery.unreachable);
        }
    }
}
