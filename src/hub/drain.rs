//! Drains a hub: closes its sessions spread over time, so that clients do not all reconnect at once.

use std::time::Duration;

use rand::seq::SliceRandom as _;

use super::messages::SessionEvent;
use protocol::SessionId;

/// The interval between two batches: short enough to spread sessions evenly, long enough to cost little.
pub(super) const STEP_INTERVAL: Duration = Duration::from_millis(50);
/// The range of the random delay before a client reconnects, in milliseconds: long enough to spread thousands of
/// clients, short enough that users hardly notice.
const RECONNECT_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=3_000;

/// Divides the sessions of a hub among the steps of a drain window.
#[derive(Debug)]
pub(super) struct DrainSchedule {
    /// The sessions that are not drained yet, in random order.
    remaining: Vec<SessionId>,
    /// The number of sessions at the start.
    total: usize,
    /// The number of steps in the window, at least 1.
    step_count: usize,
    steps_done: usize,
}

impl DrainSchedule {
    /// Drains these sessions in random order.
    pub(super) fn new(mut sessions: Vec<SessionId>, window: Duration) -> Self {
        sessions.shuffle(&mut rand::rng());
        let step_count = (window.as_millis() / STEP_INTERVAL.as_millis()).max(1) as usize;
        Self { total: sessions.len(), remaining: sessions, step_count, steps_done: 0 }
    }

    /// Takes the sessions of the next step. The drained share of the sessions equals the elapsed share of the window.
    pub(super) fn next_batch(&mut self) -> Vec<SessionId> {
        self.steps_done = (self.steps_done + 1).min(self.step_count);
        let drained = (self.total * self.steps_done).div_ceil(self.step_count);
        self.remaining.split_off(self.total.saturating_sub(drained).min(self.remaining.len()))
    }

    /// The event that drains one session.
    pub(super) fn event() -> SessionEvent {
        SessionEvent::Drain { after_ms: rand::random_range(RECONNECT_AFTER_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_session_is_drained_once_and_evenly() {
        let mut draining = DrainSchedule::new((0..100).map(SessionId).collect(), Duration::from_secs(1));
        let batches: Vec<_> =
            std::iter::from_fn(|| Some(draining.next_batch()).filter(|batch| !batch.is_empty())).collect();
        assert_eq!(batches.len(), 20, "a second has twenty steps");
        assert!(batches.iter().all(|batch| batch.len() == 5));
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).map(SessionId).collect::<Vec<_>>());
    }

    #[test]
    fn few_sessions_are_spread_over_the_whole_window() {
        let mut draining = DrainSchedule::new((0..4).map(SessionId).collect(), Duration::from_secs(2));
        let batches: Vec<_> = std::iter::repeat_with(|| draining.next_batch().len()).take(45).collect();
        let steps: Vec<_> =
            batches.iter().enumerate().filter(|(_, size)| **size > 0).map(|(step, _)| step).collect();
        assert_eq!(steps, [0, 10, 20, 30], "of forty steps");
        assert_eq!(batches.iter().sum::<usize>(), 4);
    }

    #[test]
    fn a_window_of_zero_is_one_batch() {
        let mut draining = DrainSchedule::new((0..7).map(SessionId).collect(), Duration::ZERO);
        assert_eq!(draining.next_batch().len(), 7);
        assert!(draining.next_batch().is_empty());
    }
}
