//! E-Magine's real-time gateway: WebSocket sessions on actix actors, message events over Redis.
//!
//! # Layout, in the order of dependency, lowest first
//!
//! Leaves: [`settings`], [`auth`], [`metrics`], [`backoff`], [`timeout`].
//!
//! - [`protocol`]: commands, events, close codes, and the conversation of one session. Pure.
//! - [`broker`]: carries publications between replicas, in memory or over Redis.
//! - [`socket`]: the taken-over WebSocket: guard, outbox, driver.
//! - [`hub`]: who is here on this worker thread.
//! - [`session`]: the actor of one WebSocket.
//! - [`http`]: the admin port.
//! - [`gateway`]: the composition.
//! - [`cli`]: the command line.
//!
//! For tests only: `simulation`, which plays all that is between the pure parts.

pub mod auth;
pub mod backoff;
pub mod broker;
pub mod cli;
pub mod gateway;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod session;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod socket;
pub mod timeout;
