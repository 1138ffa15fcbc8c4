//! The reports of one process: which users have a session here, or which channels have a subscriber here.
//!
//! A report says what is true now, and repeating it changes nothing. So a report whose answer was lost is sent again, and
//! under a new lease everything is reported again. No IO and no clock: the driver sends the reports.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The most names in one report. One call blocks Redis for a few milliseconds at this length.
pub(crate) const MAX_REPORTED: usize = 500;
/// The most rooms in one report or read, for the same reason: a room takes longer, because Redis adds up its counts.
pub(crate) const MAX_ROOMS: usize = 100;

/// What has to be reported of the names of one kind, such as all users, and what was.
#[derive(Debug)]
pub(crate) struct Reporter<N> {
    /// Names that are present, or that Redis may still count as present.
    names: HashMap<N, ReportedName>,
    /// Names to look at for the next report, each once.
    queue: VecDeque<N>,
    /// The report that was sent and not answered.
    sent: Option<PresenceReport<N>>,
    /// Without a lease nothing can be reported, so nothing is queued.
    has_lease: bool,
}

#[derive(Debug, Clone, Copy)]
struct ReportedName {
    is_present: bool,
    /// What the answered reports say; `None`: the answer to the latest report was lost.
    reported: Option<bool>,
    is_queued: bool,
}

/// Names that are all present, or all absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PresenceReport<N> {
    /// Whether the names are here.
    pub(crate) is_present: bool,
    /// One to [`MAX_REPORTED`] names.
    pub(crate) names: Vec<N>,
}

impl<N> Default for Reporter<N> {
    fn default() -> Self {
        Self { names: HashMap::new(), queue: VecDeque::new(), sent: None, has_lease: true }
    }
}

impl<N: Clone + Eq + Hash> Reporter<N> {
    /// The first session or subscriber of a name has come, or the last one has left.
    pub(crate) fn set(&mut self, name: &N, is_present: bool) {
        match self.names.get_mut(name) {
            Some(entry) => entry.is_present = is_present,
            None if is_present => {
                let entry = ReportedName { is_present, reported: Some(false), is_queued: false };
                self.names.insert(name.clone(), entry);
            }
            None => return,
        }
        if self.has_lease {
            self.enqueue(name);
        } else if !is_present {
            self.names.remove(name);
        }
    }

    /// The next report; `None` while one is not answered, or when there is nothing to report.
    pub(crate) fn next_report(&mut self) -> Option<PresenceReport<N>> {
        if self.sent.is_some() {
            return None;
        }
        for _ in 0..self.queue.len() {
            let Some(name) = self.queue.pop_front() else { break };
            let Some(entry) = self.names.get_mut(&name) else { continue };
            let is_present = entry.is_present;
            if entry.reported == Some(is_present) {
                entry.is_queued = false;
                if !is_present {
                    self.names.remove(&name);
                }
                continue;
            }
            let report = self.sent.get_or_insert_with(|| PresenceReport { is_present, names: Vec::new() });
            if report.is_present == is_present && report.names.len() < MAX_REPORTED {
                entry.is_queued = false;
                report.names.push(name);
            } else {
                self.queue.push_back(name);
                if report.names.len() == MAX_REPORTED {
                    break;
                }
            }
        }
        self.sent.clone()
    }

    /// The answer to the latest report. `is_applied`: Redis has applied it; otherwise it may have.
    pub(crate) fn answered(&mut self, is_applied: bool) {
        let Some(report) = self.sent.take() else { return };
        for name in report.names {
            if let Some(entry) = self.names.get_mut(&name) {
                entry.reported = is_applied.then_some(report.is_present);
            }
            self.enqueue(&name);
        }
    }

    /// The lease has ended. Whatever comes and leaves until the next one leaves nothing behind.
    pub(crate) fn end_lease(&mut self) {
        self.sent = None;
        self.names.retain(|_, entry| entry.is_present);
        self.queue.clear();
        self.has_lease = false;
    }

    /// A new lease begins: nothing is reported under it.
    pub(crate) fn begin_lease(&mut self) {
        self.end_lease();
        self.has_lease = true;
        for (name, entry) in &mut self.names {
            *entry = ReportedName { is_present: true, reported: Some(false), is_queued: true };
            self.queue.push_back(name.clone());
        }
    }

    fn enqueue(&mut self, name: &N) {
        if let Some(entry) = self.names.get_mut(name)
            && !entry.is_queued
        {
            entry.is_queued = true;
            self.queue.push_back(name.clone());
        }
    }
}

/// The names of one kind that are present in this process. A name may be present on several hubs.
#[derive(Debug)]
pub(crate) struct LocalNames<N> {
    hubs: HashMap<N, usize>,
    /// What has to be reported of them.
    pub(crate) reporter: Reporter<N>,
}

impl<N> Default for LocalNames<N> {
    fn default() -> Self {
        Self { hubs: HashMap::new(), reporter: Reporter::default() }
    }
}

impl<N: Clone + Eq + Hash> LocalNames<N> {
    /// A hub has the first session of a name, or none any more.
    pub(crate) fn report(&mut self, name: &N, is_present: bool) {
        let hubs = self.hubs.entry(name.clone()).or_default();
        *hubs = if is_present { *hubs + 1 } else { hubs.saturating_sub(1) };
        match (*hubs, is_present) {
            (1, true) => self.reporter.set(name, true),
            (0, _) => {
                self.hubs.remove(name);
                self.reporter.set(name, false);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
