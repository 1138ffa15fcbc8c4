//! Delivers a publication to the subscribers of its channel.

use std::sync::Arc;

use super::pending::HoldOutcome;
use super::{ArrivalNumber, ChannelEntry, Coverage, FrameSink, Registry, SessionKey, Subscriber, gaps};
use protocol::cursor::ChannelCursor;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::publication::Publication;
use protocol::{Variant, Version};

/// The outcome of one fan-out, or of one turn of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FanoutOutcome {
    /// The number of frames queued on sockets.
    pub delivered: u64,
    /// The number of subscriptions that hold the publication.
    pub held: u64,
    /// The number of closing sockets, which refused the frame.
    pub unreachable: u64,
    /// Whether a pending subscription has a new cut, so that its history must be read.
    pub moved_cuts: bool,
}

/// A session that receives a publication or a gap.
#[derive(Debug)]
pub struct FrameReceiver<S> {
    /// The session that receives the frame.
    pub session: SessionKey,
    /// Sends frames to the session.
    pub sink: S,
    /// The variant of frames that the session receives.
    pub variant: Variant,
}

impl<S: FrameSink> Registry<S> {
    /// Delivers a publication to the subscribers of its channel, of version `from` or later. `should_defer` receives the
    /// size of the fan-out in bytes; if it returns `true`, the receivers are returned, to be written in turns.
    pub fn deliver(
        &mut self,
        publication: &Arc<Publication>,
        from: Version,
        should_defer: impl FnOnce(usize) -> bool,
    ) -> (FanoutOutcome, Option<Vec<FrameReceiver<S>>>) {
        let mut outcome = FanoutOutcome::default();
        let Some(channel) = self.channels.get_mut(publication.channel()) else { return (outcome, None) };
        if !channel.advance(publication) {
            return (outcome, None);
        }
        self.arrivals += 1;
        let total_bytes = channel.subscribers.len().saturating_mul(publication.message().get().len());
        let mut receivers = should_defer(total_bytes).then(Vec::new);
        let position = channel.position();
        for subscriber in channel.subscribers.iter_mut().filter(|one| one.variant.version >= from) {
            if subscriber.pending.is_some() {
                subscriber.hold(self.arrivals, publication, position, self.max_held, &mut outcome);
                continue;
            }
            match &mut receivers {
                Some(receivers) => receivers.push(subscriber.to_receiver()),
                None if subscriber.sink.send(publication.frame(subscriber.variant).clone()) => {
                    outcome.delivered += 1
                }
                None => outcome.unreachable += 1,
            }
        }
        (outcome, receivers)
    }
}

impl<S> ChannelEntry<S> {
    /// Whether to deliver this publication. Advances the cursor to it.
    fn advance(&mut self, publication: &Publication) -> bool {
        match (&mut self.coverage, publication.position()) {
            (Coverage::Unconfirmed, _) => return false,
            (_, None) => {}
            // The broker sent it before this hub unsubscribed and subscribed again.
            (Coverage::From(cursor), Some(position)) if cursor.covers(position) => return false,
            (Coverage::From(cursor), Some(position)) => cursor.advance(position),
            // A durable publication makes the position known.
            (coverage @ Coverage::Unknown, Some(position)) => {
                *coverage = Coverage::From(ChannelCursor::at(position));
            }
        }
        true
    }
}

impl<S: FrameSink> Subscriber<S> {
    /// Holds the publication for a pending subscription. If there is no room, the subscription drops all held items and
    /// moves to `cut`, which covers this publication.
    fn hold(
        &mut self,
        arrival: ArrivalNumber,
        publication: &Arc<Publication>,
        cut: Option<Position>,
        max_held: usize,
        outcome: &mut FanoutOutcome,
    ) {
        let Some(pending) = &mut self.pending else { return };
        if let Some(cut) = cut.filter(|_| pending.is_unresolved() && pending.cut().is_none()) {
            // The channel's position was unknown before this publication, so the subscription begins after it.
            pending.set_cut(cut, false);
            outcome.moved_cuts = true;
            return;
        }
        match pending.hold(arrival, publication, max_held) {
            HoldOutcome::Held => outcome.held += 1,
            HoldOutcome::Full if pending.is_unresolved() => {
                let has_dropped = pending.move_cut(cut);
                if has_dropped || publication.position().is_none() {
                    pending.hold_gap(arrival, &gaps::gap_frames(publication.channel(), GapReason::Overflow));
                }
                outcome.moved_cuts = true;
            }
            HoldOutcome::Full => {
                self.sink.close_too_slow();
                outcome.unreachable += 1;
            }
        }
    }

    pub(super) fn to_receiver(&self) -> FrameReceiver<S> {
        FrameReceiver { session: self.session, sink: self.sink.clone(), variant: self.variant }
    }
}
