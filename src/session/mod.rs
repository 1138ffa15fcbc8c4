//! The session of one WebSocket, from the request that opens it to its end.

pub mod actor;
pub mod admission;
mod clock;
pub mod limits;
mod services;

pub use self::services::Services;

/// The `target` of every log line about a session, whichever file writes it. Operators filter by it.
const LOG_TARGET: &str = "emagine_gateway::session";
