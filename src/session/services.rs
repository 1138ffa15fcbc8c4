//! The services that all sessions of a worker thread share.

use std::sync::Arc;

use actix::Addr;

use super::staleness::Staleness;
use crate::auth::ReloadableAuthenticator;
use crate::broker::Broker;
use crate::hub::Hub;
use crate::metrics::Metrics;
use protocol::conversation::Rules;

/// The services that all sessions of a worker thread share.
#[derive(Debug)]
pub struct Services {
    /// The rules of every conversation, from the settings.
    pub rules: Arc<Rules>,
    /// The most bytes of a page of a history.
    pub max_history_bytes: usize,
    /// Verifies tokens.
    pub tokens: ReloadableAuthenticator,
    /// Reads the members and histories of channels, and knows the revoked tokens.
    pub broker: Broker,
    /// Decides whether revocations may be unknown.
    pub staleness: Staleness,
    /// The hub of the same thread.
    pub hub: Addr<Hub>,
    /// The metrics of the process.
    pub metrics: Metrics,
}
