//! Reads pending data before a deadline ends a socket.
//!
//! After the process was stopped or the machine paused, all deadlines are noticed late and at once, while data from
//! peers is still unread. Pure: the caller says whether there is unread data.

use std::time::Duration;

/// How long a deadline is postponed at a time. One poll of the runtime covers a thousand sockets and takes less time.
const STEP: Duration = Duration::from_millis(10);
/// How often a deadline is postponed in a row. A peer that never stops sending gains one second.
const MAX_STEPS: u8 = 100;

/// How often a deadline has been postponed.
#[derive(Debug, Default)]
pub(super) struct ReadFirst {
    steps: u8,
}

impl ReadFirst {
    /// A deadline has passed: returns for how long it is postponed, or `None` if it takes effect.
    pub(super) fn put_off(&mut self, has_unread: bool) -> Option<Duration> {
        if !has_unread || self.steps == MAX_STEPS {
            self.heard();
            return None;
        }
        self.steps += 1;
        Some(STEP)
    }

    /// The deadline moved, because data was read.
    pub(super) fn heard(&mut self) {
        self.steps = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_counts_when_everything_was_read() {
        let mut read_first = ReadFirst::default();
        assert_eq!(read_first.put_off(false), None);
        assert_eq!(read_first.put_off(true), Some(STEP));
        assert_eq!(read_first.put_off(false), None);
    }

    #[test]
    fn a_peer_that_never_stops_sending_gains_a_second() {
        let mut read_first = ReadFirst::default();
        for _ in 0..2 {
            let gained: Duration = std::iter::from_fn(|| read_first.put_off(true)).sum();
            assert_eq!(gained, Duration::from_secs(1));
        }
    }
}
