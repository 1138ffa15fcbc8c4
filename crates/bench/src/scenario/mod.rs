//! The scenarios: what each requires of its clients, and what it does with them.

mod burst;
mod connect;
pub(crate) mod fanout;
mod idle;
mod mixed;
mod slow;
mod storm;
mod unicast;

use crate::BenchError;
use crate::arguments::Scenario;
use crate::publisher::Recipients;
use crate::run::Run;

/// A prime: the recipients of consecutive messages are seldom neighbours in memory.
const STRIDE: u64 = 7_919;

/// What a scenario needs of its clients and its gateway.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) is_v2: bool,
    /// Clients keep the position of the last message on `all`, and send it when they come back.
    pub(crate) keeps_positions: bool,
    /// Lost or refused clients try again.
    pub(crate) comes_back: bool,
    /// Heartbeats as the settings have them. Otherwise a gateway of our own sends none: they would only blur what is
    /// measured.
    pub(crate) heartbeats: bool,
    pub(crate) has_channels: bool,
}

impl Scenario {
    pub(crate) fn shape(self) -> Shape {
        let plain = Shape::default();
        match self {
            Self::Idle => Shape { heartbeats: true, ..plain },
            Self::Mixed => Shape { is_v2: true, heartbeats: true, has_channels: true, ..plain },
            Self::Burst => Shape { is_v2: true, has_channels: true, ..plain },
            Self::Storm => Shape { is_v2: true, keeps_positions: true, comes_back: true, ..plain },
            Self::Connect | Self::Fanout | Self::Unicast | Self::Slow | Self::BaselineServer => plain,
        }
    }

    /// The channels of one of so many clients.
    pub(crate) fn channels(self, namespace: &str, index: usize, sockets: usize) -> Vec<String> {
        match self {
            Self::Burst => burst::channels(namespace, index, sockets),
            Self::Mixed => mixed::channels(namespace, index, sockets),
            _ => Vec::new(),
        }
    }

    pub(crate) fn run(self, run: &mut Run<'_>) -> Result<(), BenchError> {
        match self {
            Self::Idle => idle::run(run),
            Self::Connect => connect::run(run),
            Self::Fanout => fanout::run(run),
            Self::Unicast => unicast::run(run),
            Self::Mixed => mixed::run(run),
            Self::Storm => storm::run(run),
            Self::Slow => slow::run(run),
            Self::Burst => burst::run(run),
            Self::BaselineServer => Ok(()),
        }
    }
}

/// The channel of all clients.
fn all(sockets: usize) -> Recipients {
    Recipients { channel: "all".to_owned(), members: 0..sockets }
}

/// The name of a client's user.
pub(crate) fn user(index: usize) -> String {
    format!("u{index}")
}

/// The channel of one client's user.
fn one(index: usize) -> Recipients {
    Recipients { channel: format!("user:{}", user(index)), members: index..index + 1 }
}
