//! The users and the leases of this process, shared by its hubs and its link.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::presence::{LocalUsers, PresenceOptions};
use protocol::channel::ChannelName;

/// The users that this process reports, and the leases under which it does.
pub(super) struct Presence {
    pub(super) options: PresenceOptions,
    pub(super) users: Mutex<LocalUsers>,
    /// Notified when a report may be due.
    pub(super) changed: Notify,
    pub(super) leases: Mutex<Leases>,
}

/// The names of this process' leases. A name is used once.
pub(super) struct Leases {
    process: String,
    count: u64,
    current: Option<String>,
    /// The lease before, until it is retired. Older ones lapse by themselves.
    pub(super) previous: Option<String>,
}

impl Presence {
    pub(super) fn new(options: PresenceOptions) -> Self {
        let process = format!("{:016x}", rand::random::<u64>());
        let leases = Leases { process, count: 0, current: None, previous: None };
        Self { options, users: Mutex::default(), changed: Notify::new(), leases: Mutex::new(leases) }
    }

    /// A hub has the first session of a user, or none any more.
    pub(super) fn report(&self, user: &ChannelName, is_online: bool) {
        self.users.lock().report(user, is_online);
        self.changed.notify_one();
    }

    /// Begins a lease, under which nothing is reported yet. Returns its name.
    pub(super) fn begin_lease(&self) -> String {
        self.users.lock().reporter.begin_lease();
        let mut leases = self.leases.lock();
        leases.count += 1;
        let name = format!("{}-{}", leases.process, leases.count);
        leases.previous = leases.current.replace(name.clone());
        name
    }
}
