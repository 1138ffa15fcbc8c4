//! The services shared by all sessions of a worker thread.

use std::sync::Arc;

use actix::Addr;

use crate::auth::ReloadableAuthenticator;
use crate::hub::Hub;
use crate::metrics::Metrics;
use protocol::conversation::Rules;

/// The services shared by all sessions of a worker thread.
#[derive(Debug)]
pub struct Services {
    /// The settings of every conversation.
    pub rules: Arc<Rules>,
    /// Checks the tokens of clients.
    pub tokens: ReloadableAuthenticator,
    /// The hub of this thread.
    pub hub: Addr<Hub>,
    /// The counters of the process.
    pub metrics: Metrics,
}
