//! The result of a run: figures with their names, latencies for the plot, and warnings.

use serde_json::{Value, json};

use crate::latency::Latencies;
use crate::load::PublishReport;
use crate::process::ResourceUsage;

/// A generator with a thread that is busy for more than this share of the time may limit the result.
const BUSY: f64 = 0.8;
/// A message is late if it is sent more than this many milliseconds after its due time.
const LATE_MS: f64 = 5.0;
/// The generator keeps up if this share of the messages is not late.
const LATE_SHARE: f64 = 0.99;

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// The name in JSON, with its unit.
    pub(crate) key: String,
    /// The name in tables, with its unit.
    pub(crate) label: String,
    /// NaN if it could not be measured.
    pub(crate) value: f64,
    /// Whether the table shows the ratio to the baseline.
    pub(crate) is_compared: bool,
}

/// A line of the plot.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// The horizontal value (such as seconds) and the vertical value of each point.
    pub(crate) points: Vec<(f64, f64)>,
}

/// The result of one run.
#[derive(Default)]
pub(crate) struct BenchOutcome {
    pub(crate) figures: Vec<Figure>,
    pub(crate) curves: Vec<Curve>,
    /// The quantity of the curves, with its unit.
    pub(crate) curve_unit: &'static str,
    /// The delay between due time and sending: the lag of the generator.
    pub(crate) late: Latencies,
    /// The load of the busiest thread of the generator, 0 to 1.
    pub(crate) busiest: f64,
    /// Missing and duplicated deliveries.
    pub(crate) wrong_deliveries: u64,
}

impl BenchOutcome {
    pub(crate) fn plain(&mut self, key: &str, label: &str, value: f64) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, is_compared: false });
    }

    /// Adds a figure with a ratio to the baseline.
    pub(crate) fn compare(&mut self, key: &str, label: &str, value: f64) {
        self.figures.push(Figure { key: key.to_owned(), label: label.to_owned(), value, is_compared: true });
    }

    /// Adds the CPU per unit of `count`, in user space and in the kernel.
    pub(crate) fn cpu_parts(&mut self, each: &str, process: ResourceUsage, count: f64) {
        for (key, label, cpu) in
            [("user", "  of which user space", process.user), ("system", "  of which kernel", process.system)]
        {
            self.plain(&format!("cpu_{key}_us_per_{each}"), label, cpu * 1e6 / count);
        }
    }

    /// Adds the numbers of actual and expected deliveries.
    pub(crate) fn deliveries(&mut self, deliveries: u64, expected: u64) {
        self.plain("deliveries", "deliveries", deliveries as f64);
        self.plain("deliveries_expected", "deliveries expected", expected as f64);
        self.wrong_deliveries += deliveries.abs_diff(expected);
    }

    /// Adds the quantiles of a latency, and its curves.
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

    /// Adds the quantiles of a later phase, and counts its wrong deliveries.
    pub(crate) fn later_quantiles(&mut self, key: &str, label: &str, published: &PublishReport) {
        self.quantiles(key, label, &published.latencies);
        self.wrong_deliveries += published.deliveries.abs_diff(published.expected);
    }

    /// Adds what a publication by HTTP costs beyond the same publication by Redis.
    pub(crate) fn record_beyond(&mut self, by_redis: &Self) {
        const PARTS: [(&str, &str, &str); 3] = [
            ("cpu_us", "cpu", "CPU per publication beyond Redis, µs"),
            ("cpu_user_us", "cpu_user", "  of which user space"),
            ("cpu_system_us", "cpu_system", "  of which kernel"),
        ];
        for (part, key, label) in PARTS {
            let cpu = |outcome: &Self| outcome.value(&format!("{part}_per_delivery")).unwrap_or(f64::NAN);
            // Each message has one receiver, so a delivery is a publication.
            self.plain(&format!("{key}_us_beyond_redis"), label, cpu(self) - cpu(by_redis));
        }
    }

    pub(crate) fn value(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// The lag that 1 % of the messages exceed, in milliseconds.
    pub(crate) fn late_p99_ms(&self) -> f64 {
        self.late.quantile_ms(LATE_SHARE)
    }

    /// Whether the generator may have limited the result.
    pub(crate) fn is_saturated(&self) -> bool {
        self.busiest > BUSY || self.late_p99_ms() > LATE_MS
    }

    /// One sentence for each reason to doubt the result.
    pub(crate) fn warnings(&self, name: &str) -> Vec<String> {
        let (busy, late_ms, wrong) = (self.busiest * 100.0, self.late_p99_ms(), self.wrong_deliveries);
        let warning = |holds: bool, sentence: String| holds.then(|| format!("{name}: {sentence}"));
        let warnings = [
            warning(
                self.busiest > BUSY,
                format!(
                    "a thread of the load generator was {busy:.0} % busy, so the result may measure the generator: use more \
                     --threads, fewer --sockets or a lower --rate"
                ),
            ),
            warning(
                late_ms > LATE_MS,
                format!(
                    "1 % of the messages were sent at least {late_ms:.1} ms late: the load generator or the machine did not \
                     keep up"
                ),
            ),
            warning(wrong > 0, format!("{wrong} deliveries are missing or duplicated")),
        ];
        warnings.into_iter().flatten().collect()
    }

    /// The figures as JSON; unknown ones are null.
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
