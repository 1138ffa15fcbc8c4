//! Reads the clocks for a session.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::Now;

/// The current time. Read once for each input, so that one input has one time.
pub(super) fn now() -> Now {
    Now { monotonic: Instant::now(), unix_ms: unix_ms(SystemTime::now()) }
}

/// Unix time in milliseconds; 0 for times before 1970.
pub(super) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
