//! The services that all sessions of a worker thread share.

use std::sync::Arc;
use std::time::SystemTime;

use actix::Addr;

use super::sends::SendQueues;
use super::staleness::Staleness;
use crate::auth::opaque::OpaqueTokens;
use crate::auth::{ReloadableAuthenticator, Verification};
use crate::broker::Broker;
use crate::hub::Hub;
use crate::metrics::Metrics;
use protocol::Encoding;
use protocol::conversation::Rules;

/// The services that all sessions of a worker thread share.
#[derive(Debug)]
pub struct Services {
    /// The rules of every conversation, from the settings.
    pub rules: Arc<Rules>,
    /// The rules of event streams, whose clients cannot answer heartbeats.
    pub event_stream_rules: Arc<Rules>,
    /// The most bytes of a page of a history.
    pub max_history_bytes: usize,
    /// Verifies tokens that have a signature.
    pub tokens: ReloadableAuthenticator,
    /// Verifies opaque tokens; `None`: tokens have a signature.
    pub opaque: Option<OpaqueTokens>,
    /// Reads the members and histories of channels, and knows the revoked tokens.
    pub broker: Broker,
    /// The messages of sessions for the inbox.
    pub sends: SendQueues,
    /// Decides whether revocations may be unknown.
    pub staleness: Staleness,
    /// The hub of the same thread.
    pub hub: Addr<Hub>,
    /// The metrics of the process.
    pub metrics: Metrics,
}

impl Services {
    /// The rules of the conversations of sockets with this encoding.
    pub(super) fn rules_of(&self, encoding: Encoding) -> &Arc<Rules> {
        match encoding {
            Encoding::Plain | Encoding::Deflated => &self.rules,
            Encoding::EventStream => &self.event_stream_rules,
        }
    }

    /// Verifies a token, or starts to. `on_late_refusal` is called if the token is refused after nobody waits for the
    /// answer any more.
    pub(super) fn verify(
        &self,
        token: &str,
        on_late_refusal: impl FnOnce() + Send + 'static,
    ) -> Verification {
        match &self.opaque {
            Some(opaque) => opaque.verify(token, on_late_refusal),
            None => self.tokens.start_verification(token, SystemTime::now(), on_late_refusal),
        }
    }
}
