//! The idle tests that other systems publish, as far as they differ in what an idle connection does.

use std::time::Duration;

use clap::ValueEnum;

/// A published idle test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdleProfile {
    /// Centrifugo: a ping every 25 s, which the client answers
    Centrifugo,
    /// AnyCable: a ping every 3 s, which the client does not answer. A gateway's client does, so it is more work
    Anycable,
}

impl IdleProfile {
    /// The value of `session.heartbeat_interval`.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Centrifugo => "25s",
            Self::Anycable => "3s",
        }
    }

    pub(crate) fn heartbeat_interval(self) -> Duration {
        match self {
            Self::Centrifugo => Duration::from_secs(25),
            Self::Anycable => Duration::from_secs(3),
        }
    }
}
