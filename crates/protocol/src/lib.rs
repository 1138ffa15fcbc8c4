//! The protocol, pure: what clients and publishers may say, what is answered, and when.
//!
//! Nothing here does IO, reads a clock, logs or knows an actor: every entry takes the time as an argument
//! and returns what is to be done. So everything that the protocol promises is tested in virtual time.
//!
//! # Layout, lowest first
//!
//! - [`close`]: the table of close codes.
//! - [`channel`], [`position`]: names of channels, positions in their histories.
//! - [`history`], [`cursor`]: what can be proven from a history; how far a reader has followed a channel.
//! - [`deflate`]: compressed messages (RFC 7692).
//! - [`frame`]: the bytes of a WebSocket frame (RFC 6455, section 5.2).
//! - [`publication`]: what a publisher wrote, validated once and encoded once for each kind of receiver.
//! - [`command`], [`event`]: what a client says, what a client is told.
//! - [`budget`]: how much a client may say.
//! - [`heartbeat`]: when op 10 is due, and when a client has been silent for too long.
//! - [`conversation`]: the state machine of one session.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make a time to start from"))]

pub mod budget;
pub mod channel;
pub mod close;
pub mod command;
pub mod conversation;
pub mod cursor;
pub mod deflate;
pub mod event;
pub mod frame;
pub mod heartbeat;
pub mod history;
pub mod payload_limits;
pub mod position;
pub mod publication;

#[cfg(test)]
mod properties;

use std::time::Instant;

use serde::{Serialize, Serializer};

/// The time at which something happens, read once by the caller for a whole step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines: does not jump.
    pub monotonic: Instant,
    /// Unix time in milliseconds, for what other machines read (heartbeats, token expiry).
    pub unix_ms: u64,
}

/// The version of the wire protocol that a session speaks, chosen by the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// E-Magine's deployed clients: ops 0 to 3, 10 and 11, with exactly their fields.
    V1,
    /// `?v=2`: channels, positions, soft errors, refresh.
    V2,
}

/// How a receiver takes its messages: each publication is encoded once for each of the four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The protocol version.
    pub version: Version,
    /// Whether permessage-deflate has been negotiated.
    pub is_deflated: bool,
}

impl From<Version> for Variant {
    fn from(version: Version) -> Self {
        Self { version, is_deflated: false }
    }
}

/// The name of one session: 128 random bits, minted by the session itself before it registers anywhere, so
/// that leaving never depends on a reply.
///
/// Packed to the alignment of its neighbours: sixteen bytes of padding in several places of each session.
#[repr(Rust, packed(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", { self.0 })
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
