//! How often a link says that plain messages may be missing.

use std::time::{Duration, Instant};

use super::LinkCore;
use protocol::channel::ChannelName;
use protocol::event::GapReason;

/// A link that comes and goes tells one gap for each channel in this time. Another one is told when it is over: later than its
/// hole, so that messages need not wait for it.
pub(super) const GAP_INTERVAL: Duration = Duration::from_secs(10);

impl LinkCore {
    /// Plain messages of a channel may be missing: says so now, or when the interval is over.
    pub(super) fn owe_gap(&mut self, name: &ChannelName, now: Instant) {
        if self.gap_time().is_some_and(|at| now < at) {
            self.owed_gaps.insert(name.clone());
            return;
        }
        self.gaps_told = Some((now, Some(self.connection)));
        self.tell_gap(name, GapReason::LinkLost, None);
    }

    /// When gaps may be told that this connection owes; `None`: now.
    fn gap_time(&self) -> Option<Instant> {
        let (told, connection) = self.gaps_told?;
        (connection != Some(self.connection)).then(|| told + GAP_INTERVAL)
    }

    /// When [`deadline_passed`](Self::deadline_passed) is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (told, _) = self.gaps_told.filter(|_| !self.owed_gaps.is_empty())?;
        Some(told + GAP_INTERVAL)
    }

    /// Tells the gaps that are owed, if it is time.
    pub(crate) fn deadline_passed(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|at| now >= at) {
            // What this connection owes may be of the same channels.
            self.gaps_told = Some((now, None));
            for name in std::mem::take(&mut self.owed_gaps) {
                self.tell_gap(&name, GapReason::LinkLost, None);
            }
        }
    }
}
