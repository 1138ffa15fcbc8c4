//! Who gets a publication.

use std::sync::Arc;

use super::pending::Hold;
use super::{Arrival, Channel, Coverage, FrameSink, Registry, SessionKey, Subscriber, gaps};
use protocol::Variant;
use protocol::cursor::ChannelCursor;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;

/// What became of one publication.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Frames that were handed to sockets.
    pub delivered: u64,
    /// Subscriptions that hold it.
    pub held: u64,
    /// Sockets that are closing and took nothing.
    pub unreachable: u64,
    /// Whether subscriptions that wait have a cut now, or another one: what they have missed is to be read.
    pub moved_cuts: bool,
}

/// A session that is to be reached.
#[derive(Debug)]
pub struct Receiver<S> {
    /// The session.
    pub session: SessionKey,
    /// Its way out.
    pub sink: S,
    /// How it takes its messages.
    pub variant: Variant,
}

impl<S: FrameSink> Registry<S> {
    /// Hands a publication to everyone who is on its channel, unless the fan-out is one that `defers` says to do in turns: then
    /// the receivers are returned instead of being reached.
    pub fn deliver(
        &mut self,
        publication: &Arc<Publication>,
        defers: impl FnOnce(usize) -> bool,
    ) -> (Delivery, Option<Vec<Receiver<S>>>) {
        let mut delivery = Delivery::default();
        let Some(channel) = self.channels.get_mut(publication.channel()) else { return (delivery, None) };
        if !channel.advance(publication) {
            return (delivery, None);
        }
        self.arrivals += 1;
        let weight = channel.subscribers.len().saturating_mul(publication.message().get().len());
        let mut receivers = defers(weight).then(Vec::new);
        let cut = channel.cut();
        for subscriber in &mut channel.subscribers {
            if subscriber.pending.is_some() {
                subscriber.hold(self.arrivals, publication, cut, self.max_held, &mut delivery);
                continue;
            }
            match &mut receivers {
                Some(receivers) => receivers.push(subscriber.receiver()),
                None if subscriber.sink.send(publication.frame(subscriber.variant).clone()) => {
                    delivery.delivered += 1
                }
                None => delivery.unreachable += 1,
            }
        }
        (delivery, receivers)
    }
}

impl<S> Channel<S> {
    /// Whether this publication is to be delivered here. The cursor goes behind it.
    fn advance(&mut self, publication: &Publication) -> bool {
        match (&mut self.coverage, publication.position()) {
            (Coverage::Unconfirmed, _) => return false,
            (_, None) => {}
            // It was on its way while this hub left the channel and came back.
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
    /// It is not live: it keeps the publication, which is the last before `cut` now, or gives up what it keeps.
    fn hold(
        &mut self,
        arrival: Arrival,
        publication: &Arc<Publication>,
        cut: Option<Position>,
        max_held: usize,
        delivery: &mut Delivery,
    ) {
        let Some(pending) = &mut self.pending else { return };
        if let Some(cut) = cut.filter(|_| pending.is_waiting() && pending.cut().is_none()) {
            // The position was unknown until now: it begins behind this publication.
            pending.set_cut(cut, false);
            delivery.moved_cuts = true;
            return;
        }
        match pending.hold(arrival, publication, max_held) {
            Hold::Held => delivery.held += 1,
            Hold::Full if pending.is_waiting() => {
                if pending.move_cut(cut) || publication.position().is_none() {
                    pending.hold_gap(arrival, &gaps::frame(publication.channel(), GapReason::Overflow));
                }
                delivery.moved_cuts = true;
            }
            Hold::Full => {
                self.sink.overflow();
                delivery.unreachable += 1;
            }
        }
    }

    pub(super) fn receiver(&self) -> Receiver<S> {
        Receiver { session: self.session, sink: self.sink.clone(), variant: self.variant }
    }
}
