//! The part of a session that only the actor of its hub needs.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A session whose socket is open.
#[derive(Debug)]
pub(super) struct ConnectedSession {
    pub(super) opened: OpenedAt,
    pub(super) token: TokenMark,
}

/// The time at which a session was opened, in nanoseconds since its hub started, plus 1. An `Instant` takes more memory
/// per session, and zero lets an `Option` take none.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenedAt(NonZeroU64);

impl OpenedAt {
    pub(super) fn new(at: Instant, started: Instant) -> Self {
        let nanos = u64::try_from(at.saturating_duration_since(started).as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    pub(super) fn age(self, started: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(started).saturating_sub(Duration::from_nanos(self.0.get() - 1))
    }

    /// Whether the session was opened at `time` or before.
    pub(super) fn is_by(self, time: Instant, started: Instant) -> bool {
        Self::new(time, started).0 >= self.0
    }
}

/// The token that a session uses, as far as revocations need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenMark {
    /// A hash of the token's id, which is shorter than the id; 0: the token has no id.
    id: u64,
    /// When the token was issued, in Unix milliseconds. 0: unknown. [`u64::MAX`]: the session has no token yet.
    issued_at_ms: u64,
}

impl TokenMark {
    /// The mark of a session without a token.
    pub(super) const NONE: Self = Self { id: 0, issued_at_ms: u64::MAX };

    pub(super) fn new(id: Option<u64>, issued_at_ms: Option<u64>) -> Self {
        let id = id.map_or(0, |id| id.max(1));
        Self { id, issued_at_ms: issued_at_ms.unwrap_or(0).min(u64::MAX - 1) }
    }

    /// Whether this is the token with the id that has this hash.
    pub(super) fn has_id(self, id: u64) -> bool {
        self.id == id.max(1)
    }

    /// Whether the token was issued before a time. A token that does not say when counts as issued before.
    pub(super) fn is_issued_before(self, time_ms: u64) -> bool {
        self.issued_at_ms != u64::MAX && (self.issued_at_ms == 0 || self.issued_at_ms < time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle connection has one.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn the_actors_part_of_a_session_fits_into_24_bytes() {
        assert_eq!(size_of::<Option<ConnectedSession>>(), 24);
    }

    #[test]
    fn the_time_of_opening_is_exact() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        for (opened, now, age) in [(0, 0, 0), (1_250, 1_250, 0), (1_250, 61_250, 60_000), (500, 400, 0)] {
            assert_eq!(OpenedAt::new(at(opened), started).age(started, at(now)).as_millis(), age);
        }
        let opened = OpenedAt::new(at(1_250), started);
        let nanosecond = Duration::from_nanos(1);
        assert!(opened.is_by(at(1_250), started) && opened.is_by(at(1_251), started));
        assert!(!opened.is_by(at(1_250) - nanosecond, started));
    }

    #[test]
    fn a_token_without_an_issue_time_counts_as_issued_before() {
        assert!(TokenMark::new(None, None).is_issued_before(0));
        assert!(TokenMark::new(None, Some(999)).is_issued_before(1_000));
        assert!(!TokenMark::new(None, Some(1_000)).is_issued_before(1_000));
        assert!(!TokenMark::NONE.is_issued_before(u64::MAX));
    }

    #[test]
    fn a_token_without_an_id_has_no_id() {
        assert!(TokenMark::new(Some(0), None).has_id(0));
        assert!(!TokenMark::new(None, None).has_id(0));
        assert!(!TokenMark::new(Some(7), None).has_id(8));
    }
}
