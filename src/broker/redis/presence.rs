//! The users and the leases of this process, shared by its hubs and its link.

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::super::presence::{LocalUsers, PresenceOptions};
use protocol::channel::ChannelName;

/// The users that this process reports, and the leases under which it does.
pub(super) struct Presence {
    pub(super) options: PresenceOptions,
    pub(super) users: Mutex<LocalUsers>,
    /// Notified when a report may be due.
    pub(super) changed: Notify,
    pub(super) leases: Mutex<Leases>,
    /// Whether this process is to give up its lease, and has done so.
    pub(super) ending: watch::Sender<Ending>,
}

/// How far this process has given up its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    Wanted,
    Done,
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
    /// `replica`: the name of this process.
    pub(super) fn new(options: PresenceOptions, replica: &str) -> Self {
        let leases = Leases { process: replica.to_owned(), count: 0, current: None, previous: None };
        Self {
            options,
            users: Mutex::default(),
            changed: Notify::new(),
            leases: Mutex::new(leases),
            ending: watch::Sender::new(Ending::No),
        }
    }

    /// Has the lease given up. Returns when it is.
    pub(super) async fn end(&self) {
        let mut ending = self.ending.subscribe();
        self.ending.send_if_modified(|ending| {
            let is_first = *ending == Ending::No;
            if is_first {
                *ending = Ending::Wanted;
            }
            is_first
        });
        self.changed.notify_one();
        // The sender is in `self`, so the channel stays open.
        let _ = ending.wait_for(|ending| *ending == Ending::Done).await;
    }

    /// Whether the process has given up its lease, so that it takes no other.
    pub(super) fn has_ended(&self) -> bool {
        *self.ending.borrow() == Ending::Done
    }

    /// Whether the lease is to be given up.
    pub(super) fn is_ending(&self) -> bool {
        *self.ending.borrow() == Ending::Wanted
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
