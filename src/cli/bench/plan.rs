//! What the clients are told: the plan that all of them follow, and orders while they run.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::mpsc;

use super::counts::Recorder;

/// Who connects where, and how.
pub(super) struct Plan {
    /// Where clients connect.
    pub(super) address: SocketAddr,
    /// One client each.
    pub(super) identities: Vec<Identity>,
    /// Whether they speak version 2.
    pub(super) is_v2: bool,
    /// Whether they negotiate permessage-deflate.
    pub(super) is_deflated: bool,
    /// Whether they keep the place of the last message on `all`, and give it when they come back.
    pub(super) keeps_places: bool,
    /// Whether one that is lost or refused tries again.
    pub(super) comes_back: bool,
    /// Clients from this one on have the smallest receive buffer.
    pub(super) narrow_from: usize,
    /// Clients from this one on have a thread of their own, that reads nothing else.
    pub(super) apart_from: usize,
}

/// Who a client is.
pub(super) struct Identity {
    /// Its token.
    pub(super) token: String,
    /// What it subscribes to with Identify (version 2).
    pub(super) channels: Vec<String>,
}

/// How fast clients connect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many in a second, whether or not the ones before are Ready.
    Rate(f64),
    /// As fast as it goes, so many of them at a time; each is due when it is begun.
    InFlight(usize),
    /// All of them are due now, and so many at a time are begun.
    AtOnce(usize),
}

/// What the clients of one thread are told.
pub(super) enum Order {
    /// These connect.
    Connect(Range<usize>, Pace),
    /// All sockets are cut.
    Cut,
    /// These read no more.
    Stall(Range<usize>),
    /// These are cut for good.
    Leave(Range<usize>),
    /// What has been recorded so far is wanted.
    Report(mpsc::Sender<Recorder>),
    /// It is over.
    Stop,
}
