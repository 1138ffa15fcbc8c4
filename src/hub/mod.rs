//! Routes publications to sessions. Each worker thread has its own hub, so a delivery never crosses threads.
//!
//! # Layout, lowest first
//!
//! - [`messages`]: the messages that a hub receives, and those it sends to sessions.
//! - [`frame_group`]: several frames for one write.
//! - [`registry`]: stores sessions and subscriptions, and finds the receivers of a publication.
//! - `fanout`: writes long fan-outs in turns.
//! - `signals`: collects signals, and writes those of one channel together.
//! - [`inbox`]: the byte budget of the publications in the hub's mailbox.
//! - [`core`]: decides what a hub does, including the recovery of missed messages.
//! - [`actor`]: performs the decisions of the core.
//! - `drain`: schedules the closing of sessions during a drain.
//! - `connected`: the part of a session that only the actor needs.
//! - [`session_events`]: the events for the sessions of the thread, until their actors take them.
//! - [`admin`]: the hubs of the process; lists sessions. [`control`]: applies the backend's commands to sessions.
//! - `recorder`: a frame sink for tests.

pub mod actor;
pub mod admin;
mod connected;
pub mod control;
pub mod core;
mod drain;
mod fanout;
pub mod frame_group;
pub mod inbox;
pub mod messages;
#[cfg(test)]
mod recorder;
pub mod registry;
pub mod session_events;
mod signals;

pub use self::actor::{Hub, HubLimits};
pub use self::admin::{HubTimeout, Hubs};
