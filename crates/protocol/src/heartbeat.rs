//! The heartbeat of one session: when the gateway sends op 10, and when a silent client times out.

use std::time::{Duration, Instant};

/// The settings of the heartbeat, shared by all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatRules {
    /// Time between two heartbeats of the gateway.
    pub interval: Duration,
    /// How long a client may be silent beyond the interval.
    pub grace: Duration,
}

/// The state of one session's heartbeat. Methods take the rules as an argument: all sessions share them, and a copy in
/// each session would cost memory.
#[derive(Debug)]
pub struct Heartbeat {
    last_seen: Instant,
    next_beat: Instant,
}

/// The action at a heartbeat deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Send op 10.
    Beat,
    /// Close with 4002: the client was silent for the interval and the grace.
    TimedOut,
}

impl Heartbeat {
    /// Starts the heartbeat of a new connection. `jitter`, from 0 to 1, delays the first beat by that fraction of the
    /// interval, so that sessions that start together do not beat together.
    pub fn start(rules: &HeartbeatRules, jitter: f64, now: Instant) -> Self {
        Self { last_seen: now, next_beat: now + rules.interval.mul_f64(jitter.clamp(0.0, 1.0)) }
    }

    /// Resets the timeout: any frame shows that the client is alive.
    pub fn on_frame(&mut self, now: Instant) {
        self.last_seen = now;
    }

    /// When to call [`Heartbeat::on_deadline`]. A frame may postpone the deadline.
    pub fn next_deadline(&self, rules: &HeartbeatRules) -> Instant {
        self.next_beat.min(self.timeout_at(rules))
    }

    /// The action at `now`. A timeout takes precedence over a beat; an early call returns `None`.
    pub fn on_deadline(&mut self, rules: &HeartbeatRules, now: Instant) -> Option<HeartbeatAction> {
        if self.is_timed_out(rules, now) {
            return Some(HeartbeatAction::TimedOut);
        }
        if self.next_beat > now {
            return None;
        }
        // Counted from now, not from the deadline: after a stall only one beat follows, not one for each missed.
        self.next_beat = now + rules.interval;
        Some(HeartbeatAction::Beat)
    }

    /// Whether [`Heartbeat::on_deadline`] would time the client out.
    pub fn is_timed_out(&self, rules: &HeartbeatRules, now: Instant) -> bool {
        self.timeout_at(rules) <= now
    }

    fn timeout_at(&self, rules: &HeartbeatRules) -> Instant {
        self.last_seen + rules.interval + rules.grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const RULES: HeartbeatRules = HeartbeatRules { interval: SECOND.saturating_mul(45), grace: SECOND };

    #[test]
    fn jitter_places_the_first_beat_within_the_interval() {
        let start = Instant::now();
        for (jitter, first) in [
            (-1.0, Duration::ZERO),
            (0.0, Duration::ZERO),
            (0.1, 4_500 * MS),
            (1.0, 45 * SECOND),
            (7.0, 45 * SECOND),
        ] {
            let heartbeat = Heartbeat::start(&RULES, jitter, start);
            assert_eq!(heartbeat.next_deadline(&RULES), start + first, "jitter {jitter}");
        }
    }

    #[test]
    fn heartbeats_are_one_interval_apart() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(&RULES, 1.0, start);
        for beat in 1..=5 {
            let due = start + beat * RULES.interval;
            heartbeat.on_frame(due - MS);
            assert_eq!(heartbeat.next_deadline(&RULES), due);
            assert_eq!(heartbeat.on_deadline(&RULES, due), Some(HeartbeatAction::Beat));
        }
    }

    #[test]
    fn silence_times_out_after_interval_and_grace() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(&RULES, 1.0, start);
        let (beat, timeout) = (start + RULES.interval, start + RULES.interval + RULES.grace);
        assert_eq!(heartbeat.on_deadline(&RULES, beat), Some(HeartbeatAction::Beat));
        assert_eq!(heartbeat.next_deadline(&RULES), timeout);
        assert_eq!(heartbeat.on_deadline(&RULES, timeout - MS), None);
        assert_eq!(heartbeat.on_deadline(&RULES, timeout), Some(HeartbeatAction::TimedOut));
    }

    #[test]
    fn any_frame_postpones_the_timeout() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(&RULES, 1.0, start);
        heartbeat.on_frame(start + 44 * SECOND);
        assert_eq!(heartbeat.on_deadline(&RULES, start + 46 * SECOND), Some(HeartbeatAction::Beat));
        assert_eq!(heartbeat.next_deadline(&RULES), start + 90 * SECOND);
    }

    #[test]
    fn a_stall_of_several_intervals_leads_to_one_heartbeat() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(&RULES, 0.5, start);
        let late = start + 200 * SECOND;
        heartbeat.on_frame(late);
        assert_eq!(heartbeat.on_deadline(&RULES, late), Some(HeartbeatAction::Beat));
        assert_eq!(heartbeat.on_deadline(&RULES, late), None);
        assert_eq!(heartbeat.next_deadline(&RULES), late + RULES.interval);
    }

    #[test]
    fn a_timeout_takes_precedence_over_an_overdue_heartbeat() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::start(&RULES, 0.5, start);
        assert_eq!(heartbeat.on_deadline(&RULES, start + 200 * SECOND), Some(HeartbeatAction::TimedOut));
    }

    #[test]
    fn a_heartbeat_costs_a_session_two_instants() {
        assert_eq!(size_of::<Heartbeat>(), 2 * size_of::<Instant>());
    }
}
