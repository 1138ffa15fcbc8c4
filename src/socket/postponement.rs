//! Postpones a deadline while there is unread data.
//!
//! When the process or the machine resumes after a pause, all deadlines are overdue at once, while data from peers is
//! still unread. This file does no IO: the caller says whether there is unread data.

use std::time::Duration;

/// How long a deadline is postponed at a time. The runtime polls a thousand sockets in less time.
const STEP: Duration = Duration::from_millis(10);
/// How often a deadline is postponed in a row: one second in total for a peer that never stops sending.
const MAX_STEPS: u8 = 100;

/// The postponements of one deadline.
#[derive(Debug, Default)]
pub(super) struct Postponement {
    steps: u8,
}

impl Postponement {
    /// Call when the deadline has passed. Returns for how long it is postponed, or `None` if it takes effect.
    pub(super) fn postpone(&mut self, has_unread: bool) -> Option<Duration> {
        if !has_unread || self.steps == MAX_STEPS {
            self.reset();
            return None;
        }
        self.steps += 1;
        Some(STEP)
    }

    /// Call when data was read and the deadline moved.
    pub(super) fn reset(&mut self) {
        self.steps = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_takes_effect_when_everything_was_read() {
        let mut postponement = Postponement::default();
        assert_eq!(postponement.postpone(false), None);
        assert_eq!(postponement.postpone(true), Some(STEP));
        assert_eq!(postponement.postpone(false), None);
    }

    #[test]
    fn a_peer_that_never_stops_sending_gains_a_second() {
        let mut postponement = Postponement::default();
        for _ in 0..2 {
            let gained: Duration = std::iter::from_fn(|| postponement.postpone(true)).sum();
            assert_eq!(gained, Duration::from_secs(1));
        }
    }
}
