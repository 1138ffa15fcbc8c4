//! Measures how long it takes to detect the loss of a link, and to repair it.

use std::time::Instant;

use parking_lot::Mutex;

use crate::metrics::Metrics;

/// When the link was last healthy, and when it was lost; the metrics are observed from these times.
#[derive(Debug, Default)]
pub(super) struct Downtime(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    healthy: Option<Instant>,
    lost: Option<Instant>,
}

impl Downtime {
    /// The link is healthy, and all missed messages are repaired.
    pub(super) fn healthy(&self, now: Instant, metrics: &Metrics) {
        let mut times = self.0.lock();
        times.healthy = Some(now);
        if let Some(lost) = times.lost.take() {
            metrics.redis_link_repair.observe((now - lost).as_secs_f64());
        }
    }

    /// The link is lost. The detection time counts from the last probe that returned, the earliest time of the loss.
    pub(super) fn lost(&self, now: Instant, metrics: &Metrics) {
        let mut times = self.0.lock();
        if let Some(healthy) = times.healthy.take() {
            times.lost = Some(now);
            metrics.redis_link_detection.observe((now - healthy).as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_downtime_counts_once_from_the_last_heard_probe() {
        let (downtime, metrics, start) = (Downtime::default(), Metrics::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        downtime.lost(at(0), &metrics);
        downtime.healthy(at(1), &metrics);
        downtime.healthy(at(2), &metrics);
        downtime.lost(at(5), &metrics);
        downtime.lost(at(6), &metrics);
        downtime.healthy(at(12), &metrics);
        let page = metrics.render();
        for line in [
            "gateway_redis_link_detection_seconds_sum 3.0",
            "gateway_redis_link_detection_seconds_count 1",
            "gateway_redis_link_repair_seconds_sum 7.0",
            "gateway_redis_link_repair_seconds_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "no line {line:?} in:\n{page}");
        }
    }
}
