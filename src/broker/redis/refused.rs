//! Reports channels that the gateway's Redis user may not subscribe to.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::metrics::Metrics;
use protocol::channel::ChannelName;

/// How long `/readyz` notes a refusal. Also the least time between two log lines, because clients cause refusals.
const NOTE_DURATION: Duration = Duration::from_secs(60);

/// The latest refusal.
#[derive(Debug, Default)]
pub(super) struct RefusedChannels(Mutex<Option<LatestRefusal>>);

#[derive(Debug)]
struct LatestRefusal {
    at: Instant,
    /// When a refusal was last logged.
    logged: Instant,
    note: String,
}

impl RefusedChannels {
    /// Counts and notes channels that Redis refused. Returns the line to log, if one is due.
    pub(super) fn note(&self, now: Instant, channels: &[ChannelName], metrics: &Metrics) -> Option<String> {
        let first = channels.first()?;
        metrics.channels_refused.inc_by(channels.len() as u64);
        let note = format!(
            "the Redis user may not subscribe to some channels (NOPERM), such as {first}; their subscribers are refused"
        );
        let mut latest = self.0.lock();
        let logged =
            latest.as_ref().map(|refusal| refusal.logged).filter(|logged| now < *logged + NOTE_DURATION);
        *latest = Some(LatestRefusal { at: now, logged: logged.unwrap_or(now), note: note.clone() });
        logged.is_none().then_some(note)
    }

    /// The note in `/readyz`.
    pub(super) fn recent(&self, now: Instant) -> Option<String> {
        let latest = self.0.lock();
        latest.as_ref().filter(|refusal| now < refusal.at + NOTE_DURATION).map(|refusal| refusal.note.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_and_logged_once_a_minute() {
        let (refused, metrics, start) = (RefusedChannels::default(), Metrics::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let channels: Vec<_> = ["room:1", "room:2"].map(|name| ChannelName::parse(name).unwrap()).into();
        assert_eq!(refused.recent(at(0)), None);
        assert_eq!(refused.note(at(0), &[], &metrics), None);
        assert!(refused.note(at(0), &channels, &metrics).is_some_and(|line| line.contains("room:1")));
        assert_eq!(refused.note(at(59), &channels, &metrics), None);
        assert!(refused.recent(at(100)).is_some(), "the latest was at 59 s");
        assert!(refused.note(at(60), &channels, &metrics).is_some());
        assert_eq!(refused.recent(at(120)), None);
        assert!(metrics.render().contains("gateway_channels_refused_total 6"));
    }
}
