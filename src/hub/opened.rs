//! When a session was opened.

use std::time::{Duration, Instant};

/// When a session was opened, in tenths of a second since its hub was started: four bytes hold 13 years, and an
/// `Instant` for each session would take more memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened(u32);

impl Opened {
    const TENTH: Duration = Duration::from_millis(100);

    pub(super) fn new(at: Instant, started: Instant) -> Self {
        let tenths = at.saturating_duration_since(started).as_millis() / Self::TENTH.as_millis();
        Self(u32::try_from(tenths).unwrap_or(u32::MAX))
    }

    pub(super) fn age(self, started: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(started).saturating_sub(Self::TENTH * self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_true_to_a_tenth_of_a_second() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        for (opened, now, age) in [(0, 0, 0), (1_250, 1_250, 50), (1_250, 61_200, 60_000), (500, 400, 0)] {
            assert_eq!(Opened::new(at(opened), started).age(started, at(now)).as_millis(), age);
        }
    }
}
