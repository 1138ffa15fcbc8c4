//! The scenarios: what each does with its clients.

mod burst;
mod connect;
mod fanout;
mod idle;
mod mixed;
mod slow;
mod storm;
mod unicast;

use super::super::Failure;
use super::arguments::BenchArgs;
use super::publisher::Audience;
use super::run::Run;
use super::shape::Scenario;

impl Scenario {
    /// Runs it.
    pub(super) fn run(self, run: &mut Run<'_>) -> Result<(), Failure> {
        match self {
            Self::Idle => idle::run(run),
            Self::Connect => connect::run(run),
            Self::Fanout => fanout::run(run),
            Self::Unicast => unicast::run(run),
            Self::Mixed => mixed::run(run),
            Self::Storm => storm::run(run),
            Self::Slow => slow::run(run),
            Self::Burst => burst::run(run),
            Self::FloorServer => Ok(()),
        }
    }
}

/// The channels of a client.
pub(super) fn channels(arguments: &BenchArgs, namespace: &str, index: usize) -> Vec<String> {
    match (arguments.channels, arguments.scenario) {
        (Some(count), _) => fanout::channels(namespace, index, arguments.sockets, count),
        (None, Scenario::Burst) => burst::channels(namespace, index, arguments.sockets),
        (None, Scenario::Mixed) => mixed::channels(namespace, index, arguments.sockets),
        (None, _) => Vec::new(),
    }
}

/// The channel of everybody.
fn everybody(sockets: usize) -> Audience {
    Audience { channel: "all".to_owned(), members: 0..sockets }
}

/// The name of a client's user.
pub(super) fn user(index: usize) -> String {
    format!("u{index}")
}

/// The channel of one client's user.
fn one(index: usize) -> Audience {
    Audience { channel: format!("user:{}", user(index)), members: index..index + 1 }
}
