//! The wire protocol as pure code: parsing, encoding, and the state machine of a session.
//!
//! The crate does no IO, reads no clock, writes no log and depends on no actor. Functions take the time as an argument
//! and return the actions to perform, so tests run in virtual time.
//!
//! # Modules, lowest first
//!
//! - [`close`]: close codes.
//! - [`channel`], [`position`]: channel names, and positions in channel histories.
//! - [`presence`]: whether a user is online.
//! - [`cursor`], [`history`]: how far a reader has followed a channel, and whether a page of its history is complete.
//! - [`deflate`]: compressed messages (RFC 7692).
//! - [`frame`]: the bytes of a WebSocket frame (RFC 6455, section 5.2).
//! - [`event_stream`]: the blocks of server-sent events.
//! - [`payload_limits`], [`publication`]: published messages, validated once and encoded once for each variant.
//! - [`command`], [`event`], [`members`], [`history_page`], [`page_error`], [`client_message`], [`signal`]: frames from
//!   and to a client.
//! - [`signal_payload`]: signals in Redis.
//! - [`namespace_rules`]: what sessions may do on a channel.
//! - [`budget`]: rate limits.
//! - [`heartbeat`]: when to send op 10, and when a silent client times out.
//! - [`conversation`]: the state machine of one session.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests choose their own start time"))]

pub mod budget;
pub mod channel;
pub mod client_message;
pub mod close;
pub mod command;
pub mod conversation;
pub mod cursor;
pub mod deflate;
pub mod event;
pub mod event_stream;
pub mod frame;
pub mod heartbeat;
pub mod history;
pub mod history_page;
pub mod members;
pub mod namespace_rules;
pub mod page_error;
pub mod payload_limits;
pub mod position;
pub mod presence;
pub mod publication;
pub mod signal;
pub mod signal_payload;

#[cfg(test)]
mod properties;

use std::time::Instant;

use serde::{Serialize, Serializer};

/// The current time. The caller reads it once for each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For intervals and deadlines; not affected when the wall clock is set.
    pub monotonic: Instant,
    /// Unix time in milliseconds, for times exchanged with other machines (heartbeats, token expiry).
    pub unix_ms: u64,
}

/// The version of the wire protocol that a session speaks, chosen by the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// E-Magine's deployed clients: ops 0 to 3, 10 and 11, with exactly their fields.
    V1,
    /// `?v=2`: channels, positions, soft errors, refresh.
    V2,
}

/// What a receiver's frames are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// WebSocket frames.
    Plain,
    /// WebSocket frames, of which messages may be compressed: permessage-deflate was negotiated.
    Deflated,
    /// Blocks of server-sent events, of version 2 only.
    EventStream,
}

/// The frames that a receiver needs. Each publication is encoded at most once for each of the five variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The protocol version.
    pub version: Version,
    /// What the frames are.
    pub encoding: Encoding,
}

impl From<Version> for Variant {
    fn from(version: Version) -> Self {
        Self { version, encoding: Encoding::Plain }
    }
}

/// The id of one session: 128 random bits. The session generates it before it registers anywhere, so that it can
/// unregister without waiting for a reply.
///
/// Packed, because the alignment of `u128` would add padding to several structs of each session.
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
