//! The settings of heartbeats.
//!
//! Each session has its own heartbeat: an interval, a grace, and a deadline. [`protocol::heartbeat`] decides when a
//! heartbeat is due and when a client has been silent for too long. An actor has one deadline for everything, including
//! the identify timeout and the expiry of its token; [`crate::socket::deadlines`] times it.

use crate::settings::SessionSettings;
use protocol::heartbeat::HeartbeatRules;

/// The interval and the grace of every session's heartbeat, from `[session]`.
pub fn rules(settings: &SessionSettings) -> HeartbeatRules {
    HeartbeatRules { interval: settings.heartbeat_interval, grace: settings.heartbeat_grace }
}
