//! The ticks to which the deadlines of actors are rounded up.

use std::time::Duration;

/// The time between two ticks: short beside the shortest useful heartbeat, and long enough that the heartbeats of
/// thousands of sockets share a tick.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The number of a tick of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub(super) u32);

impl Tick {
    /// The tick of a socket without a deadline.
    pub(super) const NEVER: Self = Self(u32::MAX);
}
