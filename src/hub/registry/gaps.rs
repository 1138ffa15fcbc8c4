//! Announces gaps, so that clients know where messages may be missing.

use super::{Coverage, FrameReceiver, FrameSink, Registry};
use protocol::Version;
use protocol::channel::ChannelName;
use protocol::cursor::ChannelCursor;
use protocol::event::{Event, EventFrames, GapReason};
use protocol::position::Position;

/// The frames of a gap. Only version 2 has gaps.
pub(super) fn gap_frames(channel: &ChannelName, reason: GapReason) -> EventFrames {
    Event::Gap { channel: channel.clone(), reason }.to_frames()
}

impl<S: FrameSink> Registry<S> {
    /// Announces a gap to all subscribers of version 2. The channel continues after `position`; `None` leaves it
    /// unknown, except after `LinkLost`. With `is_deferred` the live receivers are returned, to be written in turns.
    pub fn announce_gap(
        &mut self,
        channel: &ChannelName,
        reason: GapReason,
        position: Option<Position>,
        is_deferred: bool,
    ) -> Option<(EventFrames, Vec<FrameReceiver<S>>)> {
        let entry = self.channels.get_mut(channel)?;
        if entry.coverage == Coverage::Unconfirmed {
            // Unconfirmed subscriptions have no position, so they miss nothing.
            return None;
        }
        // Later subscribers did not see this gap, so the position no longer counts as gap-free. `LinkLost` affects only
        // plain messages: the durable messages up to the cursor are complete.
        match position {
            Some(position) => entry.coverage = Coverage::From(ChannelCursor::at(position)),
            None if reason != GapReason::LinkLost => entry.coverage = Coverage::Unknown,
            None => {}
        }
        let frames = gap_frames(channel, reason);
        self.arrivals += 1;
        let mut receivers = Vec::new();
        for subscriber in entry.subscribers.iter_mut().filter(|one| one.variant.version == Version::V2) {
            match &mut subscriber.pending {
                Some(pending) => pending.hold_gap(self.arrivals, &frames),
                None if is_deferred => receivers.push(subscriber.to_receiver()),
                // A closing session is about to leave, so the result of `send` does not matter.
                None => {
                    subscriber.sink.send(frames.of(subscriber.variant).clone());
                }
            }
        }
        is_deferred.then_some((frames, receivers))
    }
}
