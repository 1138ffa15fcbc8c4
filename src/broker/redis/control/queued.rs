//! A command or a question between the reader and the one that applies it.

use std::time::Instant;

use super::super::super::ControlCommand;
use super::super::super::control::StreamId;

/// A command that is to be applied.
pub(super) struct QueuedCommand {
    pub(super) id: StreamId,
    pub(super) command: ControlCommand,
    pub(super) issued: Instant,
    /// It was read after the link had been down.
    pub(super) is_replayed: bool,
}
