//! What this process reports, and the leases under which it does; shared by its hubs and its link.

use std::time::Instant;

use parking_lot::Mutex;
use redis::Cmd;
use tokio::sync::{Notify, watch};

use super::super::presence::{CountReporter, LocalNames, PresenceOptions, RoomEvent, RoomFeed};
use super::super::{HubId, LocalReport};
use super::options::RedisOptions;
use protocol::channel::ChannelName;

/// What this process reports, and what its hubs learn about rooms.
pub(super) struct Presence {
    pub(super) options: PresenceOptions,
    pub(super) users: Mutex<LocalNames<ChannelName>>,
    pub(super) channels: Mutex<LocalNames<ChannelName>>,
    /// The room and the user's own channel of each member.
    pub(super) members: Mutex<LocalNames<(ChannelName, ChannelName)>>,
    pub(super) counts: Mutex<CountReporter>,
    /// Locked before the link's core, never after it.
    pub(super) rooms: Mutex<RoomFeed>,
    /// Notified when a report or a read may be due.
    pub(super) changed: Notify,
    /// Notified when an event of a room may be due.
    pub(super) rooms_changed: Notify,
    pub(super) leases: Mutex<Leases>,
    /// Whether this process is to give up its lease, or has done so.
    pub(super) ending: watch::Sender<Ending>,
    /// Why Redis refuses the reports, if it does.
    refusal: Mutex<Option<String>>,
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
        let presence = Self {
            users: Mutex::default(),
            channels: Mutex::default(),
            members: Mutex::default(),
            counts: Mutex::default(),
            rooms: Mutex::new(RoomFeed::new(options.max_members)),
            changed: Notify::new(),
            rooms_changed: Notify::new(),
            leases: Mutex::new(leases),
            ending: watch::Sender::new(Ending::No),
            refusal: Mutex::default(),
            options,
        };
        presence.end_lease();
        presence
    }

    /// Records why Redis refuses the reports, or that it does not.
    pub(super) fn set_refusal(&self, reason: Option<String>) {
        *self.refusal.lock() = reason;
    }

    /// The note for the operator.
    pub(super) fn note(&self) -> Option<String> {
        self.refusal.lock().as_ref().map(|reason| format!("presence is not reported: {reason}"))
    }

    /// Asks the task of the lease to give it up, and waits until it has.
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

    /// A hub reports what has changed among its sessions. Passes the event that this hub is to receive at once to
    /// `offer`, while the rooms are locked, so that no later event overtakes it.
    pub(super) fn report(&self, hub: HubId, report: LocalReport, offer: impl FnOnce(RoomEvent)) {
        match report {
            LocalReport::User { user, is_online } => self.users.lock().report(&user, is_online),
            LocalReport::Channel { channel, is_occupied } => {
                self.channels.lock().report(&channel, is_occupied);
            }
            LocalReport::Member { channel, user, is_member } => {
                self.members.lock().report(&(channel.clone(), user), is_member);
                let mut rooms = self.rooms.lock();
                rooms.change_member(hub, &channel, is_member).map(offer);
            }
            LocalReport::Count { channel, sessions } => {
                self.counts.lock().set(hub, &channel, sessions, Instant::now());
                if self.options.has_room_events(&channel) {
                    let mut rooms = self.rooms.lock();
                    rooms.set_sessions(hub, &channel, sessions).map(offer);
                }
            }
        }
        self.changed.notify_one();
    }

    /// The lease has ended: nothing is reported until the next one.
    pub(super) fn end_lease(&self) {
        self.users.lock().reporter.end_lease();
        self.channels.lock().reporter.end_lease();
        self.members.lock().reporter.end_lease();
        self.counts.lock().end_lease();
    }

    /// Begins a lease, under which nothing is reported yet. Returns its name.
    pub(super) fn begin_lease(&self) -> String {
        self.users.lock().reporter.begin_lease();
        self.channels.lock().reporter.begin_lease();
        self.members.lock().reporter.begin_lease();
        self.counts.lock().begin_lease(Instant::now());
        self.rooms.lock().repeat_reads();
        let mut leases = self.leases.lock();
        leases.count += 1;
        let name = format!("{}-{}", leases.process, leases.count);
        leases.previous = leases.current.replace(name.clone());
        name
    }
}

/// A call of a function on the key of the leases.
pub(super) fn function_call(options: &RedisOptions, function: &str) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg(function).arg(1).arg(options.names().presence("replicas"));
    call
}
