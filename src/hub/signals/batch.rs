//! The signals that are written together.

use std::sync::Arc;

use super::SignalTurn;
use crate::hub::frame_group::FrameGroup;
use crate::hub::registry::{FrameReceiver, FrameSink, Offered, SessionKey};
use protocol::Variant;
use protocol::signal::Signal;

/// The signals of a channel that are written together.
#[derive(Debug)]
pub(super) struct SignalBatch {
    signals: Vec<Arc<Signal>>,
    /// The local sessions that have sent a signal, sorted, each with the index of its signal.
    senders: Vec<(SessionKey, usize)>,
    /// All frames in each encoding, joined when the first receiver needs them.
    groups: [Option<FrameGroup>; 3],
}

impl SignalBatch {
    pub(super) fn new(signals: Vec<Arc<Signal>>, sender: impl Fn(&Signal) -> Option<SessionKey>) -> Self {
        let senders = signals.iter().enumerate();
        let mut senders: Vec<_> =
            senders.filter_map(|(index, signal)| Some((sender(signal)?, index))).collect();
        senders.sort_unstable();
        Self { signals, senders, groups: [const { None }; 3] }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.signals.iter().map(|signal| signal.queued_bytes()).sum()
    }

    /// Sends a receiver all signals except its own.
    pub(super) fn send<S: FrameSink>(&mut self, receiver: &FrameReceiver<S>, turn: &mut SignalTurn) {
        let variant = receiver.variant;
        let own = self.senders.binary_search_by_key(&receiver.session, |(session, _)| *session);
        let others;
        let frames = match own {
            Ok(_) => {
                others = self.join_others(receiver.session, variant);
                &others
            }
            Err(_) => self.group(variant),
        };
        let all = frames.ends().len();
        if all == 0 {
            return;
        }
        match receiver.sink.offer(frames) {
            Offered::Sent(sent) => {
                turn.delivered += sent as u64;
                turn.slow += all.saturating_sub(sent) as u64;
            }
            Offered::Closed => turn.closing += all as u64,
        }
    }

    fn group(&mut self, variant: Variant) -> &FrameGroup {
        let frames = self.signals.iter().map(|signal| signal.frame(variant));
        self.groups[variant.encoding as usize].get_or_insert_with(|| FrameGroup::join(frames))
    }

    /// The signals that a session has not sent. A payload of a backend may name any user, so a session may have several
    /// signals.
    fn join_others(&self, session: SessionKey, variant: Variant) -> FrameGroup {
        let is_other = |index: usize| self.senders.binary_search(&(session, index)).is_err();
        let others = self.signals.iter().enumerate().filter(|(index, _)| is_other(*index));
        FrameGroup::join(others.map(|(_, signal)| signal.frame(variant)))
    }
}
