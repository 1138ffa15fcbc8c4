//! The connection for commands, and whether it is known to be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;

/// A connection for commands. Its driver runs on the link's thread; a clone only sends to it, from any thread.
#[derive(Clone)]
pub(super) struct Commands {
    connection: MultiplexedConnection,
    is_closed: Arc<AtomicBool>,
}

impl Commands {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, is_closed: Arc::default() }
    }

    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    pub(super) fn is_same_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.is_closed, &other.is_closed)
    }

    /// Marks the connection as closed: its driver ended, so no later command can be sent on it.
    pub(super) fn mark_closed(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}
