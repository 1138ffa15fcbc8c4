//! The work that waits: for other work of the thread, or for a time.

use std::time::Instant;

use super::{FrameSink, HubAction, HubCore};

impl<S: FrameSink> HubCore<S> {
    /// Whether writes wait for a `HubInput::WriteTurn`, which is due after other work on this thread.
    pub fn has_writes(&self) -> bool {
        !self.fanouts.is_empty() || self.signals.has_turns()
    }

    /// The time at which `HubInput::DeadlinePassed` is due. An early input does nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.requests.next_deadline().into_iter().chain(self.signals.next_deadline()).min()
    }

    /// Writes the next part of a long fan-out, or signals if there is none: signals wait for messages.
    pub(super) fn on_write_turn(&mut self, now: Instant, actions: &mut Vec<HubAction>) {
        if self.fanouts.is_empty() {
            return self.run_signal_turn(now);
        }
        let outcome = self.fanouts.run_turn();
        actions.extend(outcome.received.into_iter().map(|received| HubAction::ObserveLatency { received }));
        self.count_fanout(outcome.fanout);
        self.inbox_budget.release(outcome.released_bytes);
    }
}
