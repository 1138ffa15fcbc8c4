//! The connection on which the claims of opaque tokens are read.

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};

/// The connection for tokens.
pub(super) struct TokenConnection {
    pub(super) current: watch::Sender<Option<MultiplexedConnection>>,
    /// Notified when a read finds the connection broken.
    pub(super) lost: Notify,
}

impl Default for TokenConnection {
    fn default() -> Self {
        Self { current: watch::Sender::new(None), lost: Notify::new() }
    }
}

/// Removes the connection when it is lost, or when the link is.
pub(super) struct Connected<'a>(pub(super) &'a TokenConnection);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.current.send_replace(None);
    }
}
