//! E-Magine's real-time gateway: WebSocket sessions on actix actors, message events over Redis.
//!
//! # Modules, lowest first
//!
//! - [`protocol`]: commands, events, close codes, and the conversation of one session. A crate that does no IO.
//! - [`backoff`]: exponential back-off with jitter.
//! - [`timeout`]: timeouts that do not count a pause of the process.
//! - [`settings`]: loads and checks the settings.
//! - `shrink`: decides when a table gives unused memory back.
//! - `tls`: the TLS configuration of the gateway's own clients.
//! - `http_client`: requests over HTTP and HTTPS.
//! - [`auth`]: verifies tokens.
//! - [`metrics`]: counters, gauges and histograms.
//! - [`broker`]: delivers publications between replicas, in memory or over Redis.
//! - [`socket`]: the public WebSocket port: handshakes, reading, writing, deadlines.
//! - [`hub`]: the sessions and subscriptions of one worker thread.
//! - [`session`]: the actor of one WebSocket.
//! - [`http`]: the admin port.
//! - [`gateway`]: assembles all parts and runs them.
//! - [`cli`]: the command line.
//! - `simulation`: tests the broker's link, the hub and sessions together, without IO. Compiled for tests only.

pub mod auth;
pub mod backoff;
pub mod broker;
pub mod cli;
pub mod gateway;
pub mod http;
mod http_client;
pub mod hub;
pub mod metrics;
pub mod session;
pub mod settings;
mod shrink;
#[cfg(test)]
mod simulation;
pub mod socket;
pub mod timeout;
mod tls;
