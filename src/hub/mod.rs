//! The sessions of one worker thread: one hub for each, so that a delivery never crosses threads.
//!
//! # Layout, lowest first
//!
//! - [`messages`]: the messages to a hub, and from it to sessions.
//! - [`registry`]: sessions and subscriptions; which sessions receive a publication.
//! - `fanout`: writes long fan-outs in parts.
//! - [`inbox`]: the queue from the broker to the hub, bounded in bytes.
//! - [`core`]: the decisions of a hub, including how sessions recover what their clients have missed.
//! - [`actor`]: performs them.
//! - `drain`: when each session is closed during a drain.
//! - [`admin`]: lists and ends sessions for operators.

pub mod actor;
pub mod admin;
pub mod core;
mod drain;
mod fanout;
pub mod inbox;
pub mod messages;
#[cfg(test)]
mod recorder;
pub mod registry;

pub use self::actor::{Hub, HubLimits};
pub use self::admin::{HubTimeout, Hubs};
