//! The reports of how many sessions of this process are subscribed to each room.
//!
//! A report says what is true now, and repeating it changes nothing. A room is reported when its count has changed, and
//! at most once a second. No IO; callers pass the time.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::reporter::MAX_ROOMS;
use crate::broker::HubId;
use protocol::channel::ChannelName;

/// The shortest time between two reports of a room.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The rooms of one report, at most [`MAX_ROOMS`], and the number of sessions in each.
pub(crate) type CountReport = Vec<(ChannelName, usize)>;

/// How much each hub has of something; hubs with nothing are left out.
#[derive(Debug, Default)]
pub(crate) struct HubSizes(Vec<(HubId, usize)>);

impl HubSizes {
    /// How much all hubs have together.
    pub(crate) fn total(&self) -> usize {
        self.0.iter().map(|(_, size)| size).sum()
    }

    /// The hubs that have something.
    pub(crate) fn hubs(&self) -> impl Iterator<Item = HubId> {
        self.0.iter().map(|(hub, _)| *hub)
    }

    /// Changes how much a hub has. Returns whether it had nothing and now has something.
    pub(crate) fn change(&mut self, hub: HubId, change: impl FnOnce(usize) -> usize) -> bool {
        let found = self.0.iter().position(|(other, _)| *other == hub);
        let size = change(found.map_or(0, |at| self.0[at].1));
        match found {
            Some(at) if size == 0 => {
                self.0.swap_remove(at);
            }
            Some(at) => self.0[at].1 = size,
            None if size == 0 => {}
            None => self.0.push((hub, size)),
        }
        found.is_none() && size > 0
    }
}

/// The rooms that this process counts, and what it has reported of them.
#[derive(Debug)]
pub(crate) struct CountReporter {
    rooms: HashMap<ChannelName, CountedRoom>,
    /// The rooms to look at, by the time when they may be reported.
    due: BTreeSet<(Instant, ChannelName)>,
    /// The report that was sent and not answered.
    sent: Option<CountReport>,
    /// Without a lease nothing can be reported, so no room is due.
    has_lease: bool,
}

#[derive(Debug)]
struct CountedRoom {
    hubs: HubSizes,
    /// What Redis has under this lease; `None`: a report is not answered, or its answer was lost.
    reported: Option<usize>,
    /// When the room was last reported.
    sent: Option<Instant>,
    /// The time of the room in `due`.
    due: Option<Instant>,
}

impl Default for CountReporter {
    fn default() -> Self {
        Self { rooms: HashMap::new(), due: BTreeSet::new(), sent: None, has_lease: true }
    }
}

impl CountReporter {
    /// So many sessions of a hub are subscribed to a room.
    pub(crate) fn set(&mut self, hub: HubId, room: &ChannelName, sessions: usize, now: Instant) {
        let new = || CountedRoom { hubs: HubSizes::default(), reported: Some(0), sent: None, due: None };
        let counted = self.rooms.entry(room.clone()).or_insert_with(new);
        counted.hubs.change(hub, |_| sessions);
        if self.has_lease {
            self.schedule(room, now);
        } else if counted.hubs.total() == 0 {
            self.rooms.remove(room);
        }
    }

    /// The next report; `None` while one is not answered, or when there is nothing to report yet.
    pub(crate) fn next_report(&mut self, now: Instant) -> Option<CountReport> {
        if self.sent.is_some() {
            return None;
        }
        let mut report = CountReport::new();
        while report.len() < MAX_ROOMS && self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, room)) = self.due.pop_first() else { break };
            let Some(counted) = self.rooms.get_mut(&room) else { continue };
            counted.due = None;
            let sessions = counted.hubs.total();
            if counted.reported != Some(sessions) {
                (counted.reported, counted.sent) = (None, Some(now));
                report.push((room, sessions));
            } else if sessions == 0 {
                self.rooms.remove(&room);
            }
        }
        self.sent = Some(report).filter(|report| !report.is_empty());
        self.sent.clone()
    }

    /// The answer to the latest report. `is_applied`: Redis has applied it; otherwise it may have.
    pub(crate) fn answered(&mut self, is_applied: bool, now: Instant) {
        for (room, sessions) in self.sent.take().into_iter().flatten() {
            if let Some(counted) = self.rooms.get_mut(&room) {
                counted.reported = is_applied.then_some(sessions);
                self.schedule(&room, now);
            }
        }
    }

    /// The lease has ended. Whatever comes and leaves until the next one leaves nothing behind.
    pub(crate) fn end_lease(&mut self) {
        self.sent = None;
        self.due.clear();
        self.rooms.retain(|_, counted| counted.hubs.total() > 0);
        self.has_lease = false;
    }

    /// A new lease begins: nothing is reported under it, and everything is due at once.
    pub(crate) fn begin_lease(&mut self, now: Instant) {
        self.end_lease();
        self.has_lease = true;
        for (room, counted) in &mut self.rooms {
            (counted.reported, counted.sent, counted.due) = (Some(0), None, Some(now));
            self.due.insert((now, room.clone()));
        }
    }

    /// When the next report may be due, if no report is sent.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Looks at a room as soon as it may be reported: to report it, or to forget it when it is empty. An empty room is
    /// remembered for the interval, so that the room is not reported again within it.
    fn schedule(&mut self, room: &ChannelName, now: Instant) {
        let Some(counted) = self.rooms.get_mut(room) else { return };
        let sessions = counted.hubs.total();
        if counted.due.is_none() && (sessions == 0 || counted.reported != Some(sessions)) {
            let due = counted.sent.map_or(now, |sent| now.max(sent + REPORT_INTERVAL));
            counted.due = Some(due);
            self.due.insert((due, room.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
