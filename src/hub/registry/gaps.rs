//! Telling sessions that something may be missing.

use bytes::Bytes;

use super::{Line, Receiver, Registry, Subscriber};
use protocol::Version;
use protocol::channel::ChannelName;
use protocol::event::{Event, GapReason};
use protocol::position::Position;

/// The frame that says so; version 1 has none.
pub(super) fn frame(channel: &ChannelName, reason: GapReason) -> Bytes {
    Event::Gap { channel: channel.clone(), reason }.to_frame(Version::V2)
}

impl<L: Line> Registry<L> {
    /// Tells everyone who is on a channel, and speaks of such things, that something may be missing here. From
    /// now on everything behind `place` is delivered, if it is known.
    pub fn announce_gap(&mut self, channel: &ChannelName, reason: GapReason, place: Option<Position>) {
        // Whoever cannot be reached any more is about to leave.
        self.offer_gap(channel, reason, place, |to, frame| {
            to.line.send(frame.clone());
        });
    }

    /// As [`announce_gap`](Self::announce_gap), but names whom it would reach instead of reaching them.
    pub fn announce_gap_later(
        &mut self,
        channel: &ChannelName,
        reason: GapReason,
        place: Option<Position>,
    ) -> Option<(Bytes, Vec<Receiver<L>>)> {
        let mut receivers = Vec::new();
        let frame = self.offer_gap(channel, reason, place, |to, _| receivers.push(to.receiver()))?;
        Some((frame, receivers))
    }

    fn offer_gap(
        &mut self,
        channel: &ChannelName,
        reason: GapReason,
        place: Option<Position>,
        mut reach: impl FnMut(&Subscriber<L>, &Bytes),
    ) -> Option<Bytes> {
        let entry = self.channels.get_mut(channel)?;
        if entry.place.is_none() {
            // Nobody here has been promised anything yet. But an inbox that is full drops whatever comes until its gap
            // has been told, so also what comes behind the place that is about to be confirmed.
            entry.broken = Some(reason).filter(|reason| *reason == GapReason::Overflow).or(entry.broken);
            return None;
        }
        // Who comes later has not been told, and must not take a place for one that all follows. (What was lost with
        // the link was not durable where no other place is given: the history has been proven to go on.)
        if place.is_some() {
            (entry.place, entry.broken) = (place, None);
        } else if reason != GapReason::LinkLost {
            entry.broken = Some(reason);
        }
        let frame = frame(channel, reason);
        self.arrivals += 1;
        // Where the history goes on, what a client was given ahead still does not come again.
        let goes_on = matches!(reason, GapReason::LinkLost | GapReason::Overflow);
        for subscriber in entry.subscribers.iter_mut().filter(|one| one.variant.version == Version::V2) {
            let gate = subscriber.gate.as_mut();
            let is_held = gate.is_some_and(|gate| gate.hold_gap(self.arrivals, &frame, goes_on));
            if !is_held {
                reach(subscriber, &frame);
            }
        }
        Some(frame)
    }
}
