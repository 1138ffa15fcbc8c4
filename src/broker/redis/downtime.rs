//! How long losses of the link take to be found and to be made good.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::metrics::Metrics;

/// When the link was last proven, and since when it has not been.
#[derive(Debug, Default)]
pub(super) struct Downtime(Mutex<Times>);

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    proven: Option<Instant>,
    lost: Option<Instant>,
}

impl Downtime {
    /// Delivery is proven, everything that was missed has been repaired.
    pub(super) fn proven(&self, now: Instant, metrics: &Metrics) {
        let before = self.replace(|_| Times { proven: Some(now), lost: None });
        if let Some(lost) = before.lost {
            metrics.link_repair.observe((now - lost).as_secs_f64());
        }
    }

    /// The link is given up. Counts from the last proof, so it is the longest that the loss may have been there.
    pub(super) fn lost(&self, now: Instant, metrics: &Metrics) {
        let before = self
            .replace(|times| Times { proven: None, lost: times.lost.or_else(|| times.proven.map(|_| now)) });
        if let Some(proven) = before.proven {
            metrics.link_detection.observe((now - proven).as_secs_f64());
        }
    }

    fn replace(&self, change: impl FnOnce(Times) -> Times) -> Times {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *times;
        *times = change(before);
        before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_counts_once_from_proof_to_loss_to_proof_however_often_it_is_tried() {
        let (downtime, metrics, start) = (Downtime::default(), Metrics::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        downtime.lost(at(0), &metrics);
        downtime.proven(at(1), &metrics);
        downtime.proven(at(2), &metrics);
        downtime.lost(at(5), &metrics);
        downtime.lost(at(6), &metrics);
        downtime.proven(at(12), &metrics);
        let page = metrics.render();
        for line in [
            "gateway_link_detection_seconds_sum 3.0",
            "gateway_link_detection_seconds_count 1",
            "gateway_link_repair_seconds_sum 7.0",
            "gateway_link_repair_seconds_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
