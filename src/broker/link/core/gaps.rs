//! Limits how often the link announces that plain messages may be missing.

use std::time::{Duration, Instant};

use super::{LinkChannel, LinkCore};
use protocol::channel::ChannelName;
use protocol::event::GapReason;

/// An unstable link announces at most one gap for each channel in this interval. All channels share one interval, which
/// begins at the last gap of any channel. Gaps of a later connection are announced together at the end of the interval:
/// later messages do not wait for them.
pub(super) const GAP_INTERVAL: Duration = Duration::from_secs(10);

impl LinkCore {
    /// Announces that plain messages of a channel may be missing, now or at the end of the interval.
    pub(super) fn announce_link_gap(&mut self, name: &ChannelName, now: Instant) {
        if self.next_gap_time().is_some_and(|at| now < at) {
            self.pending_gaps.insert(name.clone());
            return;
        }
        self.gaps_announced = Some((now, Some(self.connection)));
        self.notify_gap(name, GapReason::LinkLost, None);
    }

    /// Plain messages of this namespace may be missing that another link carries. Announces it on the channels whose own
    /// link would announce its loss. While this link is down, its next connection announces it.
    pub(crate) fn plain_messages_lost(&mut self, namespace: &str, now: Instant) {
        if !self.is_up {
            return;
        }
        self.connection = self.next_number();
        let may_miss = |channel: &&LinkChannel| {
            channel.name.namespace() == namespace
                && !channel.hubs.is_empty()
                && channel.follower.may_miss_plain()
        };
        let mut names: Vec<_> = self.channels.values().filter(may_miss).map(|one| one.name.clone()).collect();
        names.sort_unstable();
        names.iter().for_each(|name| self.announce_link_gap(name, now));
    }

    /// When the gaps of the current connection may be announced; `None`: now.
    fn next_gap_time(&self) -> Option<Instant> {
        let (announced, connection) = self.gaps_announced?;
        (connection != Some(self.connection)).then(|| announced + GAP_INTERVAL)
    }

    /// When to call [`deadline_passed`](Self::deadline_passed); `None`: no gap is pending.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (announced, _) = self.gaps_announced.filter(|_| !self.pending_gaps.is_empty())?;
        Some(announced + GAP_INTERVAL)
    }

    /// Announces the pending gaps if they are due.
    pub(crate) fn deadline_passed(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|at| now >= at) {
            // The current connection may announce further gaps of the same channels, so they wait as well.
            self.gaps_announced = Some((now, None));
            for name in std::mem::take(&mut self.pending_gaps) {
                self.notify_gap(&name, GapReason::LinkLost, None);
            }
        }
    }
}
