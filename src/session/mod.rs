//! The session of one WebSocket, from the request that opens it to its end.
//!
//! # Layout
//!
//! - [`admission`]: which requests become sessions.
//! - [`limits`]: how many sessions there may be.
//! - [`actor`]: the actor. It feeds the pure conversation and carries out what the conversation answers.
//! - `drive`: carries out what a conversation asks for.
//! - `authenticate`: the check of a token.
//! - [`heartbeat`]: the interval and grace of the heartbeat, and the actor's one timer.
//! - `clock`: where a session reads the time.
//! - `services`: what all sessions of a worker thread share.

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
