//! Delivers a publication to the subscribers of its channel.

use std::sync::Arc;

use super::pending::HoldOutcome;
use super::{ArrivalNumber, ChannelEntry, Coverage, FrameSink, Registry, SessionKey, Subscriber, gaps};
use protocol::Variant;
use protocol::cursor::ChannelCursor;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

/// The outcome of one delivery.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryOutcome {
    /// Frames that were handed to sockets.
    pub delivered: u64,
    /// Subscriptions that hold the publication.
    pub held: u64,
    /// Sockets that are closing and refused the frame.
    pub unreachable: u64,
    /// Whether the cuts of waiting subscriptions have changed, so that their histories must be read.
    pub moved_cuts: bool,
}

/// A session to send to.
#[derive(Debug)]
pub struct FrameReceiver<S> {
    /// The session.
    pub session: SessionKey,
    /// Its sink.
    pub sink: S,
    /// The variant of frames that it receives.
    pub variant: Variant,
}

impl<S: FrameSink> Registry<S> {
    /// Delivers a publication to all subscribers of its channel. If `should_defer` says so for the size of the fan-out, in bytes,
    /// the receivers are returned instead, to be written in turns.
    pub fn deliver(
        &mut self,
        publication: &Arc<Publication>,
        should_defer: impl FnOnce(usize) -> bool,
    ) -> (DeliveryOutcome, Option<Vec<FrameReceiver<S>>>) {
        let mut delivery = DeliveryOutcome::default();
        let Some(channel) = self.channels.get_mut(publication.channel()) else { return (delivery, None) };
        if !channel.advance(publication) {
            return (delivery, None);
        }
        self.arrivals += 1;
        let total_bytes = channel.subscribers.len().saturating_mul(publication.message().get().len());
        let mut receivers = should_defer(total_bytes).then(Vec::new);
        let cut = channel.cut();
        for subscriber in &mut channel.subscribers {
            if subscriber.pending.is_some() {
                subscriber.hold(self.arrivals, publication, cut, self.max_held, &mut delivery);
                continue;
            }
            match &mut receivers {
                Some(receivers) => receivers.push(subscriber.to_receiver()),
                None if subscriber.sink.send(publication.frame(subscriber.variant).clone()) => {
                    delivery.delivered += 1
                }
                None => delivery.unreachable += 1,
            }
        }
        (delivery, receivers)
    }
}

impl<S> ChannelEntry<S> {
    /// Whether to deliver this publication. Advances the cursor to it.
    fn advance(&mut self, publication: &Publication) -> bool {
        match (&mut self.coverage, publication.position()) {
            (Coverage::Unconfirmed, _) => return false,
            (_, None) => {}
            // It was sent before this hub unsubscribed and subscribed again.
            (Coverage::From(cursor), Some(position)) if cursor.covers(position) => return false,
            (Coverage::From(cursor), Some(position)) => cursor.advance(position),
            // From here on the position is known.
            (coverage @ Coverage::Unknown, Some(position)) => {
                *coverage = Coverage::From(ChannelCursor::at(position));
            }
        }
        true
    }
}

impl<S: FrameSink> Subscriber<S> {
    /// Holds the publication for a subscription that is not live. If there is no room, the subscription drops what it holds
    /// and moves to `cut`, which is after this publication.
    fn hold(
        &mut self,
        arrival: ArrivalNumber,
        publication: &Arc<Publication>,
        cut: Option<Position>,
        max_held: usize,
        delivery: &mut DeliveryOutcome,
    ) {
        let Some(pending) = &mut self.pending else { return };
        if let Some(cut) = cut.filter(|_| pending.is_unresolved() && pending.cut().is_none()) {
            // The position was unknown until now: the subscription begins after this publication.
            pending.set_cut(cut, false);
            delivery.moved_cuts = true;
            return;
        }
        match pending.hold(arrival, publication, max_held) {
            HoldOutcome::Held => delivery.held += 1,
            HoldOutcome::Full if pending.is_unresolved() => {
                if pending.move_cut(cut) || publication.position().is_none() {
                    pending.hold_gap(arrival, &gaps::gap_frame(publication.channel(), GapReason::Overflow));
                }
                delivery.moved_cuts = true;
            }
            HoldOutcome::Full => {
                self.sink.close_too_slow();
                delivery.unreachable += 1;
            }
        }
    }

    pub(super) fn to_receiver(&self) -> FrameReceiver<S> {
        FrameReceiver { session: self.session, sink: self.sink.clone(), variant: self.variant }
    }
}
