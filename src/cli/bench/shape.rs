//! Which scenarios there are, and what each needs of its clients and its gateway.

use clap::ValueEnum;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Sockets that are identified and silent: memory, and CPU for their heartbeats, over time
    Idle,
    /// Connecting and identifying
    Connect,
    /// Each message to every socket
    Fanout,
    /// Each message to one user, of as many users as sockets
    Unicast,
    /// Many small channels, a few big ones, and messages to single users
    Mixed,
    /// All sockets are cut at once: until all are back, and have what they missed
    Storm,
    /// What the others notice while some readers are stalled
    Slow,
    /// What messages to others wait while a big one goes to every socket
    Burst,
    /// The floor itself, which the load generator starts
    #[value(hide = true)]
    FloorServer,
}

impl Scenario {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it needs.
    pub(super) fn shape(self) -> Shape {
        let plain = Shape::default();
        match self {
            Self::Idle => Shape { heartbeats: true, ..plain },
            Self::Mixed => Shape { is_v2: true, heartbeats: true, has_channels: true, ..plain },
            Self::Burst => Shape { is_v2: true, has_channels: true, ..plain },
            Self::Storm => Shape { is_v2: true, keeps_places: true, comes_back: true, ..plain },
            Self::Connect | Self::Fanout | Self::Unicast | Self::Slow | Self::FloorServer => plain,
        }
    }
}

/// What a scenario needs of its clients and its gateway.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    /// Version 2 of the protocol.
    pub(super) is_v2: bool,
    /// Clients keep their place, and give it when they come back.
    pub(super) keeps_places: bool,
    /// Who is lost tries again.
    pub(super) comes_back: bool,
    /// Heartbeats as the settings have them; else a gateway of our own sends none, for they would only blur what is
    /// measured.
    pub(super) heartbeats: bool,
    /// Channels that clients subscribe to.
    pub(super) has_channels: bool,
}
