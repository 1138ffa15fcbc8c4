//! Who gets a publication.

use std::sync::Arc;

use super::gate::Passage;
use super::{Line, Registry, Slot, Subscriber};
use protocol::Variant;
use protocol::publication::Publication;

/// What became of one publication.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Frames that were handed to sockets.
    pub delivered: u64,
    /// Subscriptions that hold it back.
    pub held: u64,
    /// Sockets that are closing and took nothing.
    pub unreachable: u64,
}

/// One who is to be reached.
#[derive(Debug)]
pub struct Receiver<L> {
    /// Whose it is.
    pub session: Slot,
    /// Its way out.
    pub line: L,
    /// How it takes its messages.
    pub variant: Variant,
}

impl<L: Line> Registry<L> {
    /// Hands a publication to everyone who is on its channel.
    ///
    /// What comes before the broker has confirmed the channel reaches nobody: it may be the end of an earlier
    /// subscription, behind which messages are missing, and who is not yet told of its own misses nothing.
    pub fn deliver(&mut self, publication: &Arc<Publication>) -> Delivery {
        self.offer(publication, |to| to.line.send(publication.frame(to.variant).clone()))
    }

    /// As [`deliver`](Self::deliver), but names whom it would reach instead of reaching them.
    pub fn deliver_later(&mut self, publication: &Arc<Publication>) -> (Delivery, Vec<Receiver<L>>) {
        let mut receivers = Vec::new();
        let mut delivery = self.offer(publication, |to| {
            receivers.push(to.receiver());
            true
        });
        delivery.delivered = 0;
        (delivery, receivers)
    }

    /// About how many bytes this publication is, over all who are on its channel.
    pub fn weight(&self, publication: &Publication) -> usize {
        let subscribers = self.channels.get(publication.channel()).map_or(0, |entry| entry.subscribers.len());
        subscribers.saturating_mul(publication.message().get().len())
    }

    fn offer(
        &mut self,
        publication: &Arc<Publication>,
        mut reach: impl FnMut(&Subscriber<L>) -> bool,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        let Some(channel) = self.channels.get_mut(publication.channel()) else { return delivery };
        let Some(place) = &mut channel.place else { return delivery };
        if let Some(position) = publication.position() {
            if position.epoch == place.epoch && position.offset <= place.offset {
                // It was on its way while this hub left the channel and came back.
                return delivery;
            }
            *place = position;
            channel.broken = None;
        }
        self.arrivals += 1;
        for subscriber in &mut channel.subscribers {
            let outcome = match &mut subscriber.gate {
                None => Passage::Open,
                Some(gate) => gate.pass(self.arrivals, publication),
            };
            match outcome {
                Passage::Held => delivery.held += 1,
                Passage::Behind => {}
                Passage::Open | Passage::Through => {
                    if outcome == Passage::Open {
                        subscriber.gate = None;
                    }
                    match reach(subscriber) {
                        true => delivery.delivered += 1,
                        false => delivery.unreachable += 1,
                    }
                }
                Passage::Full => {
                    subscriber.line.overflow();
                    delivery.unreachable += 1;
                }
            }
        }
        delivery
    }
}

impl<L: Line> Subscriber<L> {
    pub(super) fn receiver(&self) -> Receiver<L> {
        Receiver { session: self.session, line: self.line.clone(), variant: self.variant }
    }
}
