//! Drains a hub: closes its sessions spread over time, so that clients do not all reconnect at once.

use std::time::Duration;

use rand::seq::SliceRandom as _;

use super::messages::SessionEvent;
use protocol::SessionId;

/// The time between two batches: short enough to spread sessions evenly, long enough to cost little.
pub(super) const STEP: Duration = Duration::from_millis(50);
/// A client is told to reconnect after a random time in this range, in milliseconds: long enough to spread thousands of
/// clients, short enough that users hardly notice.
const RECONNECT_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=3_000;

/// The sessions that are not drained yet.
#[derive(Debug)]
pub(super) struct Draining {
    waiting: Vec<SessionId>,
    /// How many sessions there were at the start.
    total: usize,
    /// The number of steps in the window.
    steps: usize,
    /// How many steps are done.
    done: usize,
}

impl Draining {
    /// Drains these sessions in random order.
    pub(super) fn new(mut sessions: Vec<SessionId>, window: Duration) -> Self {
        sessions.shuffle(&mut rand::rng());
        let steps = (window.as_millis() / STEP.as_millis()).max(1) as usize;
        Self { total: sessions.len(), waiting: sessions, steps, done: 0 }
    }

    /// The sessions of the next step. The drained share of the sessions equals the elapsed share of the window.
    pub(super) fn next_batch(&mut self) -> Vec<SessionId> {
        self.done = (self.done + 1).min(self.steps);
        let gone = (self.total * self.done).div_ceil(self.steps);
        self.waiting.split_off(self.total.saturating_sub(gone).min(self.waiting.len()))
    }

    /// The event that drains a session.
    pub(super) fn event() -> SessionEvent {
        SessionEvent::Drain { after_ms: rand::random_range(RECONNECT_AFTER_MS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_sent_away_once_and_evenly() {
        let mut draining = Draining::new((0..100).map(SessionId).collect(), Duration::from_secs(1));
        let batches: Vec<_> =
            std::iter::from_fn(|| Some(draining.next_batch()).filter(|batch| !batch.is_empty())).collect();
        assert_eq!(batches.len(), 20, "a second has twenty steps");
        assert!(batches.iter().all(|batch| batch.len() == 5));
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).map(SessionId).collect::<Vec<_>>());
    }

    #[test]
    fn a_few_are_spread_over_the_whole_window() {
        let mut draining = Draining::new((0..4).map(SessionId).collect(), Duration::from_secs(2));
        let batches: Vec<_> = std::iter::repeat_with(|| draining.next_batch().len()).take(45).collect();
        let steps: Vec<_> =
            batches.iter().enumerate().filter(|(_, size)| **size > 0).map(|(step, _)| step).collect();
        assert_eq!(steps, [0, 10, 20, 30], "of forty steps");
        assert_eq!(batches.iter().sum::<usize>(), 4);
    }

    #[test]
    fn a_window_of_nothing_is_one_batch() {
        let mut draining = Draining::new((0..7).map(SessionId).collect(), Duration::ZERO);
        assert_eq!(draining.next_batch().len(), 7);
        assert!(draining.next_batch().is_empty());
    }
}
