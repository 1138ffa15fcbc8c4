//! Latencies: a histogram of all, and a histogram for each slice of time for the plot.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

/// The maximum recorded latency, in microseconds; longer ones count as this value.
const LONGEST_US: u64 = 600_000_000;
/// The duration of a slice.
const SLICE: Duration = Duration::from_millis(500);
/// The maximum number of slices; later latencies are in the last slice.
const MAX_SLICES: u64 = 2_400;

/// The latencies of one part of a run. Another process gets them as [`LatencyCounts`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "LatencyCounts", try_from = "LatencyCounts")]
pub(crate) struct Latencies {
    all: Histogram<u64>,
    /// Latencies by due time. Two significant digits, to save memory.
    slices: BTreeMap<u64, Histogram<u32>>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { all: histogram(3), slices: BTreeMap::new() }
    }
}

/// The recorded values of the histograms, each with its count. A slice follows its number.
#[derive(Serialize, Deserialize)]
struct LatencyCounts {
    all: Vec<(u64, u64)>,
    slices: Vec<(u64, Vec<(u64, u64)>)>,
}

impl From<Latencies> for LatencyCounts {
    fn from(latencies: Latencies) -> Self {
        let slices = latencies.slices.iter().map(|(number, slice)| (*number, counts(slice)));
        Self { all: counts(&latencies.all), slices: slices.collect() }
    }
}

impl TryFrom<LatencyCounts> for Latencies {
    type Error = &'static str;

    fn try_from(counts: LatencyCounts) -> Result<Self, Self::Error> {
        let mut latencies = Self::default();
        add(&mut latencies.all, &counts.all)?;
        for (number, slice) in &counts.slices {
            add(latencies.slice(*number), slice)?;
        }
        Ok(latencies)
    }
}

/// Creates a histogram of 1 µs to [`LONGEST_US`].
fn histogram<C: Counter>(digits: u8) -> Histogram<C> {
    #[allow(clippy::expect_used, reason = "the bounds are constants that the library accepts")]
    Histogram::new_with_bounds(1, LONGEST_US, digits).expect("constant bounds")
}

/// The recorded values, each with its count.
fn counts<C: Counter>(histogram: &Histogram<C>) -> Vec<(u64, u64)> {
    let recorded = histogram.iter_recorded();
    recorded.map(|value| (value.value_iterated_to(), value.count_at_value().as_u64())).collect()
}

/// Adds the values of [`counts`].
fn add<C: Counter>(histogram: &mut Histogram<C>, counts: &[(u64, u64)]) -> Result<(), &'static str> {
    for (value, count) in counts {
        let count = C::from_u64(*count).ok_or("a count is too large")?;
        histogram.saturating_record_n(*value, count);
    }
    Ok(())
}

impl Latencies {
    /// Records the latency of a message. `due_us`: its due time, since the start of the generator.
    pub(crate) fn record(&mut self, due_us: u64, latency_us: u64) {
        self.all.saturating_record(latency_us.max(1));
        self.slice(due_us / SLICE.as_micros() as u64).saturating_record(latency_us.max(1));
    }

    fn slice(&mut self, number: u64) -> &mut Histogram<u32> {
        let last = self.slices.first_key_value().map_or(number, |(first, _)| first + MAX_SLICES - 1);
        self.slices.entry(number.min(last)).or_insert_with(|| histogram(2))
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        // Cannot fail, because both histograms have the same bounds.
        let _ = self.all.add(&other.all);
        for (number, slice) in &other.slices {
            let _ = self.slice(*number).add(slice);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The quantile of this share (0 to 1), in milliseconds; 0 without latencies.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.all.value_at_quantile(share) as f64 / 1e3
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.all.max() as f64 / 1e3
    }

    /// For each slice with latencies: seconds since the first slice, and p50, p99 and maximum in milliseconds.
    pub(crate) fn over_time(&self) -> Vec<(f64, [f64; 3])> {
        let first = self.slices.keys().next().copied().unwrap_or_default();
        let point = |(number, slice): (&u64, &Histogram<u32>)| {
            let values = [slice.value_at_quantile(0.5), slice.value_at_quantile(0.99), slice.max()];
            ((number - first) as f64 * SLICE.as_secs_f64(), values.map(|us| us as f64 / 1e3))
        };
        self.slices.iter().map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_merged_by_time() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(1_200_000, 2_000);
        other.record(100_000, 1_000);
        other.record(2_600_000, 4_000);
        one.merge(&other);
        assert_eq!(one.all.len(), 3);
        assert!((one.max_ms() - 4.0).abs() < 0.01, "{}", one.max_ms());
        let times: Vec<_> = one.over_time().iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(times, [0.0, 1.0, 2.5]);
    }

    #[test]
    fn an_early_message_after_a_late_one_has_its_own_slice() {
        let mut latencies = Latencies::default();
        latencies.record(1_600_000, 1);
        latencies.record(600_000, 2_000);
        assert_eq!(latencies.over_time().len(), 2);
        assert!((latencies.over_time()[0].1[2] - 2.0).abs() < 0.1);
    }
}
