//! Fan-outs that would take long, written a part at a time, so that other channels need not wait for them.
//!
//! The receivers are settled when a publication comes, as with any other. Only the writing is spread. What comes on the
//! same channel meanwhile waits behind it, so a channel keeps its order.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::registry::{Delivery, FrameSink, Receiver, SessionKey};
use protocol::channel::ChannelName;
use protocol::publication::Publication;

/// Bytes written in one turn: about a millisecond. 64 KiB to 10 000 sockets, written at once, kept another channel's
/// messages waiting for a third of a second.
pub(super) const TURN_BYTES: usize = 2 << 20;

/// The fan-outs that are under way.
#[derive(Debug)]
pub(super) struct FanoutScheduler<S> {
    turn_bytes: usize,
    /// The channel whose turn it is comes first. Each has at least one fan-out.
    channels: VecDeque<(ChannelName, VecDeque<Fanout<S>>)>,
}

/// One frame on its way to many.
#[derive(Debug)]
struct Fanout<S> {
    content: Content,
    /// Those still to be reached, from the end.
    receivers: Vec<Receiver<S>>,
    /// What is to be given back to the inbox when all are reached.
    held_bytes: usize,
}

#[derive(Debug)]
enum Content {
    Publication(Arc<Publication>),
    Gap(Bytes),
}

/// What one turn has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TurnTaken {
    pub(super) delivery: Delivery,
    /// Bytes of fan-outs that have ended.
    pub(super) released_bytes: usize,
}

impl<S: FrameSink> FanoutScheduler<S> {
    pub(super) fn new(turn_bytes: usize) -> Self {
        Self { turn_bytes, channels: VecDeque::new() }
    }

    /// Whether a fan-out of so many bytes on this channel is to be written in turns.
    pub(super) fn should_defer(&self, channel: &ChannelName, weight: usize) -> bool {
        weight > self.turn_bytes || (!self.is_empty() && self.is_busy(channel))
    }

    /// Whether something on this channel is under way.
    pub(super) fn is_busy(&self, channel: &ChannelName) -> bool {
        self.channels.iter().any(|(busy, _)| busy == channel)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Adds a publication, of which the inbox counts `held_bytes` until it has reached all.
    pub(super) fn add(
        &mut self,
        publication: Arc<Publication>,
        receivers: Vec<Receiver<S>>,
        held_bytes: usize,
    ) {
        let channel = publication.channel().clone();
        self.push(channel, Fanout { content: Content::Publication(publication), receivers, held_bytes });
    }

    /// Adds the news that something may be missing.
    pub(super) fn add_gap(&mut self, channel: ChannelName, frame: Bytes, receivers: Vec<Receiver<S>>) {
        self.push(channel, Fanout { content: Content::Gap(frame), receivers, held_bytes: 0 });
    }

    fn push(&mut self, channel: ChannelName, fanout: Fanout<S>) {
        match self.channels.iter_mut().find(|(busy, _)| *busy == channel) {
            Some((_, fanouts)) => fanouts.push_back(fanout),
            None => self.channels.push_back((channel, VecDeque::from([fanout]))),
        }
    }

    /// Writes a turn's worth of the next channel, which then goes to the end of the queue.
    pub(super) fn next(&mut self) -> TurnTaken {
        let mut taken = TurnTaken::default();
        let Some((channel, mut fanouts)) = self.channels.pop_front() else { return taken };
        let mut budget = self.turn_bytes;
        while let Some(fanout) = fanouts.front_mut() {
            fanout.write(&mut budget, &mut taken.delivery);
            if !fanout.receivers.is_empty() {
                break;
            }
            taken.released_bytes += fanout.held_bytes;
            fanouts.pop_front();
        }
        if !fanouts.is_empty() {
            self.channels.push_back((channel, fanouts));
        }
        taken
    }

    /// Brings one session up to date on a channel, out of turn: it is about to leave the channel, and nothing may
    /// come behind the answer.
    pub(super) fn flush(&mut self, session: SessionKey, channel: &ChannelName) -> Delivery {
        let mut delivery = Delivery::default();
        let Some((_, fanouts)) = self.channels.iter_mut().find(|(busy, _)| busy == channel) else {
            return delivery;
        };
        for fanout in fanouts {
            if let Some(at) = fanout.receivers.iter().position(|receiver| receiver.session == session) {
                let receiver = fanout.receivers.swap_remove(at);
                fanout.content.send(&receiver, &mut delivery);
            }
        }
        delivery
    }

    /// A session is gone: its key may become another's.
    pub(super) fn remove(&mut self, session: SessionKey) {
        for fanout in self.channels.iter_mut().flat_map(|(_, fanouts)| fanouts) {
            fanout.receivers.retain(|receiver| receiver.session != session);
        }
    }
}

impl<S: FrameSink> Fanout<S> {
    fn write(&mut self, budget: &mut usize, delivery: &mut Delivery) {
        while *budget > 0 {
            let Some(receiver) = self.receivers.pop() else { break };
            let bytes = self.content.send(&receiver, delivery);
            *budget = budget.saturating_sub(bytes);
        }
    }
}

impl Content {
    /// Returns how many bytes that were.
    fn send<S: FrameSink>(&self, receiver: &Receiver<S>, delivery: &mut Delivery) -> usize {
        let frame = match self {
            Self::Publication(publication) => publication.frame(receiver.variant),
            Self::Gap(frame) => frame,
        };
        let (is_sent, is_message) = (receiver.sink.send(frame.clone()), matches!(self, Self::Publication(_)));
        match (is_message, is_sent) {
            (true, true) => delivery.delivered += 1,
            (true, false) => delivery.unreachable += 1,
            (false, _) => {}
        }
        frame.len()
    }
}

#[cfg(test)]
mod tests;
