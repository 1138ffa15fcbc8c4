//! The session of one WebSocket, from its upgrade request to its end.
//!
//! # Files
//!
//! - [`admission`]: decides which requests become sessions.
//! - `event_request`: what a request for an event stream asks for.
//! - [`limits`]: limits the sessions and tokens of users and addresses.
//! - [`actor`]: the actor of a session.
//! - `drive`: performs the actions of a conversation.
//! - `authenticate`: verifies tokens.
//! - `members`: reads the members of channels. `history`: reads pages of their histories.
//! - `sends`: sends messages to the inbox, in their order.
//! - [`staleness`]: whether revocations may be unknown.
//! - [`heartbeat`]: the interval, the grace and the deadline of a session.
//! - `clock`: reads the clocks for a session.
//! - `services`: the services that all sessions of a worker thread share.

pub mod actor;
pub mod admission;
mod authenticate;
mod clock;
pub(crate) mod drive;
mod event_request;
pub mod heartbeat;
mod history;
pub mod limits;
mod members;
pub(crate) mod sends;
mod services;
pub mod staleness;

pub use self::sends::SendQueues;
pub use self::services::Services;

/// The `target` of every log line about a session, in every file. Operators filter by it.
const LOG_TARGET: &str = "emagine_gateway::session";
