//! What a run found: figures with their names, latencies for the plot, and reasons for doubt.

use serde_json::{Value, json};

use crate::latency::Latencies;
use crate::load::PublishReport;
use crate::process::ResourceUsage;

/// A thread of the generator that is busy for more than this share of the time may be what is measured.
const BUSY: f64 = 0.8;
/// A message is late when it is sent so many milliseconds after it was due.
const LATE_MS: f64 = 5.0;
/// The generator keeps up when this share of the messages is not late.
const LATE_SHARE: f64 = 0.99;

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Its name in JSON, with its unit.
    pub(crate) key: String,
    /// Its name in tables, with its unit.
    pub(crate) label: String,
    /// Not a number where it could not be measured.
    pub(crate) value: f64,
    /// Whether its ratio to the baseline's means something.
    pub(crate) is_compared: bool,
}

/// A line of the plot.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// Seconds, and the value then.
    pub(crate) points: Vec<(f64, f64)>,
}

/// All that one run found.
#[derive(Default)]
pub(crate) struct BenchOutcome {
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    /// The quantity of the curves, with its unit.
    pub(crate) curve_unit: &'static str,
    /// How late messages were sent, by the generator's own fault.
    pub(crate) late: Latencies,
    /// How busy the busiest thread of the generator was, 0 to 1.
    pub(crate) busiest: f64,
    /// Deliveries that are missing, or too many.
    pub(crate) wrong_deliveries: u64,
}

impl BenchOutcome {
    pub(crate) fn plain(&mut self, key: &str, label: &str, value: f64) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, is_compared: false });
    }

    /// A figure that is compared with the baseline's.
    pub(crate) fn compare(&mut self, key: &str, label: &str, value: f64) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, is_compared: true });
    }

    /// The CPU of each of `count`, in user space and in the kernel.
    pub(crate) fn cpu_parts(&mut self, each: &str, process: ResourceUsage, count: f64) {
        for (key, label, cpu) in [
            ("user", "  of that in user space", process.user),
            ("system", "  of that in the kernel", process.system),
        ] {
            self.plain(&format!("cpu_{key}_us_per_{each}"), label, cpu * 1e6 / count);
        }
    }

    /// How many deliveries there were, and should have been.
    pub(crate) fn deliveries(&mut self, deliveries: u64, expected: u64) {
        self.plain("deliveries", "deliveries", deliveries as f64);
        self.plain("deliveries_expected", "deliveries expected", expected as f64);
        self.wrong_deliveries += deliveries.abs_diff(expected);
    }

    /// The quantiles of a latency, and its curves.
    pub(crate) fn latencies(&mut self, key: &str, label: &str, latencies: Latencies) {
        self.quantiles(key, label, &latencies);
        self.curve_unit = "latency, ms";
        for (index, name) in ["p50", "p99", "max"].into_iter().enumerate() {
            let points = latencies.over_time().into_iter().map(|(at, values)| (at, values[index]));
            self.curves.push(Curve { name: format!("{label} {name}"), points: points.collect() });
        }
    }

    pub(crate) fn quantiles(&mut self, key: &str, label: &str, latencies: &Latencies) {
        let quantiles = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
        let values = quantiles.map(|(name, share)| (name, latencies.quantile_ms(share)));
        for (name, value) in values.into_iter().chain([("max", latencies.max_ms())]) {
            let key = format!("{key}_{}_ms", name.replace('.', "_"));
            self.compare(&key, &format!("{label} {name}, ms"), value);
        }
    }

    /// The quantiles of a latency in a later phase, whose deliveries must be complete as well.
    pub(crate) fn later_quantiles(&mut self, key: &str, label: &str, published: &PublishReport) {
        self.quantiles(key, label, &published.latencies);
        self.wrong_deliveries += published.deliveries.abs_diff(published.expected);
    }

    pub(crate) fn value(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// By how many milliseconds the latest hundredth of the messages was late.
    pub(crate) fn late_p99_ms(&self) -> f64 {
        self.late.quantile_ms(LATE_SHARE)
    }

    /// Whether the generator itself may be what was measured.
    pub(crate) fn is_saturated(&self) -> bool {
        self.busiest > BUSY || self.late_p99_ms() > LATE_MS
    }

    /// Reasons for doubt, a sentence each.
    pub(crate) fn warnings(&self, name: &str) -> Vec<String> {
        let (busy, late_ms, wrong) = (self.busiest * 100.0, self.late_p99_ms(), self.wrong_deliveries);
        let warning = |holds: bool, sentence: String| holds.then(|| format!("{name}: {sentence}"));
        let warnings = [
            warning(
                self.busiest > BUSY,
                format!(
                    "a thread of the load generator was {busy:.0} % busy: the result may measure the generator (more --threads, \
                     fewer --sockets or a lower --rate help)"
                ),
            ),
            warning(
                late_ms > LATE_MS,
                format!(
                    "one message in a hundred was sent {late_ms:.1} ms late or later: the load generator or the machine \
                     did not keep up"
                ),
            ),
            warning(wrong > 0, format!("{wrong} deliveries are missing or duplicated")),
        ];
        warnings.into_iter().flatten().collect()
    }

    /// Unknown figures are null.
    pub(crate) fn json(&self) -> Value {
        let figures = self.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value)));
        let generator = json!({
            "busiest_thread": self.busiest,
            "late_p99_ms": self.late_p99_ms(),
            "saturated": self.is_saturated(),
        });
        figures.chain([("generator".to_owned(), generator)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saturated_generator_is_reported() {
        let mut outcome = BenchOutcome { busiest: 0.5, ..BenchOutcome::default() };
        assert!(!outcome.is_saturated() && outcome.warnings("gateway").is_empty());
        outcome.busiest = 0.9;
        assert!(outcome.is_saturated());
        assert!(outcome.warnings("gateway")[0].contains("90 % busy"));

        let mut outcome = BenchOutcome::default();
        (0..100).for_each(|at| outcome.late.record(at, 50_000));
        assert!(outcome.is_saturated());
        assert!(outcome.warnings("gateway")[0].contains("50.0 ms late"));
    }

    #[test]
    fn missing_deliveries_are_reported() {
        let mut outcome = BenchOutcome::default();
        outcome.deliveries(9, 10);
        assert_eq!(outcome.warnings("gateway"), ["gateway: 1 deliveries are missing or duplicated"]);
    }
}
