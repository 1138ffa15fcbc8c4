//! Writes long fan-outs in turns, so that other channels need not wait for them.
//!
//! The receivers are fixed when a publication arrives; only the writes are spread over time. Later publications on the
//! same channel wait, so a channel keeps its order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::registry::{FanoutOutcome, FrameReceiver, FrameSink, SessionKey};
use protocol::channel::ChannelName;
use protocol::event::EventFrames;
use protocol::publication::Publication;

/// The number of bytes written in one turn, which takes about a millisecond. Without turns, a message of 64 KiB to
/// 10 000 sockets delays other channels by a third of a second.
pub(super) const TURN_BYTES: usize = 2 << 20;

/// The part of a turn that one op 14 takes. The write of such a short frame takes longer than its bytes.
pub(super) const ROOM_FRAME_COST: usize = 4 << 10;

/// The fan-outs in progress.
#[derive(Debug)]
pub(super) struct FanoutScheduler<S> {
    turn_bytes: usize,
    /// The channels in the order of their turns. Each channel has at least one fan-out.
    channels: VecDeque<(ChannelName, VecDeque<Fanout<S>>)>,
}

/// One publication, gap or op 14, and its remaining receivers.
#[derive(Debug)]
struct Fanout<S> {
    content: FanoutContent,
    /// The remaining receivers, taken from the end.
    receivers: Vec<FrameReceiver<S>>,
    /// The bytes to release from the inbox when the fan-out ends.
    held_bytes: usize,
    is_started: bool,
}

/// The frames of one op 14.
#[derive(Debug)]
pub(super) struct RoomFrames {
    /// With the users that have joined and left.
    pub(super) full: EventFrames,
    /// With the count only.
    pub(super) count: EventFrames,
}

#[derive(Debug)]
enum FanoutContent {
    Publication(Arc<Publication>),
    Gap(EventFrames),
    /// Op 14, the number of subscribers.
    Room(EventFrames),
}

/// The result of one turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TurnOutcome {
    pub(super) fanout: FanoutOutcome,
    /// The bytes to release from the inbox for ended fan-outs.
    pub(super) released_bytes: usize,
    /// The arrival times of the publications whose fan-outs have ended.
    pub(super) received: Vec<Instant>,
}

impl<S: FrameSink> FanoutScheduler<S> {
    pub(super) fn new(turn_bytes: usize) -> Self {
        Self { turn_bytes, channels: VecDeque::new() }
    }

    /// Whether a fan-out of `total_bytes` on this channel must be written in turns.
    pub(super) fn should_defer(&self, channel: &ChannelName, total_bytes: usize) -> bool {
        total_bytes > self.turn_bytes || (!self.is_empty() && self.is_busy(channel))
    }

    /// Whether a fan-out on this channel is in progress.
    pub(super) fn is_busy(&self, channel: &ChannelName) -> bool {
        self.channels.iter().any(|(busy, _)| busy == channel)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Adds a publication. The inbox counts `held_bytes` for it until the fan-out ends.
    pub(super) fn add(
        &mut self,
        publication: Arc<Publication>,
        receivers: Vec<FrameReceiver<S>>,
        held_bytes: usize,
    ) {
        let channel = publication.channel().clone();
        self.push(channel, Fanout::new(FanoutContent::Publication(publication), receivers, held_bytes));
    }

    /// Adds a gap. It counts no bytes in the inbox.
    pub(super) fn add_gap(
        &mut self,
        channel: ChannelName,
        frames: EventFrames,
        receivers: Vec<FrameReceiver<S>>,
    ) {
        self.push(channel, Fanout::new(FanoutContent::Gap(frames), receivers, 0));
    }

    /// Adds op 14. It counts no bytes in the inbox. It replaces an op 14 of the channel that waits, so at most one
    /// waits.
    pub(super) fn add_room(
        &mut self,
        channel: ChannelName,
        room: RoomFrames,
        receivers: Vec<FrameReceiver<S>>,
    ) {
        let queue = self.channels.iter_mut().find(|(busy, _)| *busy == channel);
        let waiting = queue.and_then(|(_, fanouts)| {
            let at = fanouts.iter().position(Fanout::is_waiting_room)?;
            fanouts.remove(at)
        });
        // The joins and leaves of the replaced op 14 are lost, so this one cannot have any.
        let frames = if waiting.is_some() { room.count } else { room.full };
        self.push(channel, Fanout::new(FanoutContent::Room(frames), receivers, 0));
    }

    fn push(&mut self, channel: ChannelName, fanout: Fanout<S>) {
        match self.channels.iter_mut().find(|(busy, _)| *busy == channel) {
            Some((_, fanouts)) => fanouts.push_back(fanout),
            None => self.channels.push_back((channel, VecDeque::from([fanout]))),
        }
    }

    /// Writes one turn of the first channel, which then moves to the end of the queue.
    pub(super) fn run_turn(&mut self) -> TurnOutcome {
        let mut outcome = TurnOutcome::default();
        let Some((channel, mut fanouts)) = self.channels.pop_front() else { return outcome };
        let mut budget = self.turn_bytes;
        while let Some(fanout) = fanouts.front_mut() {
            fanout.write(&mut budget, &mut outcome.fanout);
            if !fanout.receivers.is_empty() {
                break;
            }
            outcome.released_bytes += fanout.held_bytes;
            outcome.received.extend(fanout.content.received());
            fanouts.pop_front();
        }
        if !fanouts.is_empty() {
            self.channels.push_back((channel, fanouts));
        }
        outcome
    }

    /// Sends one session its share of the remaining fan-outs of a channel. The session unsubscribes, and no message may
    /// follow the answer.
    pub(super) fn flush(&mut self, session: SessionKey, channel: &ChannelName) -> FanoutOutcome {
        let mut outcome = FanoutOutcome::default();
        let Some((_, fanouts)) = self.channels.iter_mut().find(|(busy, _)| busy == channel) else {
            return outcome;
        };
        for fanout in fanouts {
            if let Some(index) = fanout.receivers.iter().position(|receiver| receiver.session == session) {
                let receiver = fanout.receivers.swap_remove(index);
                fanout.content.send(&receiver, &mut outcome);
            }
        }
        outcome
    }

    /// Removes a session that has left, because its key may be reused.
    pub(super) fn remove(&mut self, session: SessionKey) {
        for fanout in self.channels.iter_mut().flat_map(|(_, fanouts)| fanouts) {
            fanout.receivers.retain(|receiver| receiver.session != session);
        }
    }
}

impl<S: FrameSink> Fanout<S> {
    fn new(content: FanoutContent, receivers: Vec<FrameReceiver<S>>, held_bytes: usize) -> Self {
        Self { content, receivers, held_bytes, is_started: false }
    }

    /// Whether this is an op 14 that no session has received.
    fn is_waiting_room(&self) -> bool {
        !self.is_started && matches!(self.content, FanoutContent::Room(_))
    }

    fn write(&mut self, budget: &mut usize, outcome: &mut FanoutOutcome) {
        self.is_started = true;
        while *budget > 0 {
            let Some(receiver) = self.receivers.pop() else { break };
            let bytes = self.content.send(&receiver, outcome);
            *budget = budget.saturating_sub(bytes);
        }
    }
}

impl FanoutContent {
    fn received(&self) -> Option<Instant> {
        match self {
            Self::Publication(publication) => publication.received(),
            Self::Gap(_) | Self::Room(_) => None,
        }
    }

    /// Returns the part of a turn that the frame takes, in bytes.
    fn send<S: FrameSink>(&self, receiver: &FrameReceiver<S>, outcome: &mut FanoutOutcome) -> usize {
        let frame = match self {
            Self::Publication(publication) => publication.frame(receiver.variant),
            Self::Gap(frames) | Self::Room(frames) => frames.of(receiver.variant),
        };
        let (is_sent, is_message) = (receiver.sink.send(frame.clone()), matches!(self, Self::Publication(_)));
        match (is_message, is_sent) {
            (true, true) => outcome.delivered += 1,
            (true, false) => outcome.unreachable += 1,
            (false, _) => {}
        }
        match self {
            Self::Publication(_) | Self::Gap(_) => frame.len(),
            Self::Room(_) => frame.len().max(ROOM_FRAME_COST),
        }
    }
}

#[cfg(test)]
mod tests;
