//! The sessions of one worker thread: one hub for each, so that a delivery never crosses threads.
//!
//! # Layout, lowest first
//!
//! - [`messages`]: what a hub is told, and what it tells sessions.
//! - [`registry`]: sessions and subscriptions; who gets a publication.
//! - `fanout`: fan-outs that take long, a part at a time.
//! - [`inbox`]: the broker's way to the hub, bounded in bytes.
//! - [`core`]: what a hub decides; also how sessions continue where their clients left.
//! - [`actor`]: carries it out.
//! - `drain`: who is sent away when; `opened`: the ages of sessions.
//! - [`admin`]: the sessions that are here, for operators, and ending them, one or all.

pub mod actor;
pub mod admin;
pub mod core;
mod drain;
mod fanout;
pub mod inbox;
pub mod messages;
mod opened;
#[cfg(test)]
mod recorder;
pub mod registry;

pub use self::actor::{Hub, HubLimits};
pub use self::admin::{HubTimeout, Hubs};
