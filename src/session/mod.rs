//! The session of one WebSocket, from the request that opens it to its end.
//!
//! # Layout
//!
//! - [`admission`]: decides which requests become sessions.
//! - [`limits`]: limits the number of sessions.
//! - [`actor`]: the actor, which drives the pure conversation.
//! - `drive`: performs the actions of a conversation.
//! - `authenticate`: verifies tokens.
//! - [`heartbeat`]: the interval and grace of the heartbeat, and the actor's one timer.
//! - `clock`: reads the clocks for a session.
//! - `services`: shared by all sessions of a worker thread.

pub mod actor;
pub mod admission;
mod authenticate;
mod clock;
pub(crate) mod drive;
pub mod heartbeat;
pub mod limits;
mod services;

pub use self::services::Services;

/// The `target` of every log line about a session, whichever file writes it. Operators filter by it.
const LOG_TARGET: &str = "emagine_gateway::session";
