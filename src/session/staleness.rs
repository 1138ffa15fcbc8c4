//! Whether a replica may have missed revocations, because it has been without Redis for too long.

use crate::broker::Broker;
use crate::settings::{ControlSettings, WhenStale, format_duration};

/// Decides whether new sessions are refused because revocations may be unknown. Clones share the broker.
#[derive(Debug, Clone)]
pub struct Staleness {
    broker: Broker,
    settings: ControlSettings,
}

impl Staleness {
    /// Applies these settings to the state of the broker.
    pub fn new(broker: Broker, settings: ControlSettings) -> Self {
        Self { broker, settings }
    }

    /// Whether new sessions are refused now.
    pub(super) fn refuses_sessions(&self) -> bool {
        self.settings.when_stale == WhenStale::Refuse && self.is_stale()
    }

    fn is_stale(&self) -> bool {
        self.broker.stale_for().is_some_and(|time| time > self.settings.max_stale)
    }

    /// The note for operators. `None` while the replica is not stale.
    pub fn note(&self) -> Option<String> {
        let max_stale = format_duration(self.settings.max_stale);
        let consequence = match self.settings.when_stale {
            WhenStale::Accept => "accepted, although their tokens may be revoked",
            WhenStale::Refuse => "refused",
        };
        self.is_stale().then(|| {
            format!(
                "control: without Redis for longer than control.max_stale ({max_stale}): commands and revocations are \
                 not applied; new sessions are {consequence} (control.when_stale)"
            )
        })
    }
}
