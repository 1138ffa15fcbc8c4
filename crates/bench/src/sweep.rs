//! `--sweep`: runs a scenario for several values of one option and shows how the costs grow.

use std::process::ExitCode;
use std::str::FromStr;

use serde_json::json;

use crate::arguments::{BenchArgs, Scenario};
use crate::outcome::{BenchOutcome, Curve};
use crate::output::{finish, print_error};
use crate::plot::{self, XAxis};
use crate::report::{Report, number, table};
use crate::{BenchError, Environment, run_once};

/// The figures in the table, if the scenario has them.
const SHOWN: [&str; 9] = [
    "rss_bytes_per_connection",
    "rss_bytes_per_connection_at_end",
    "cpu_us_per_connect",
    "cpu_us_per_connection_second",
    "cpu_us_per_heartbeat",
    "deliveries_per_second",
    "latency_p99_ms",
    "cpu_us_per_delivery",
    "redis_cpu_us_per_publication",
];

/// The options that can be swept: the name on the command line, the name in results, and the setter.
const OPTIONS: [(&str, &str, SetOption); 3] = [
    ("sockets", "sockets", |arguments, value| arguments.sockets = value),
    ("channels", "channels", |arguments, value| arguments.channels = Some(value)),
    ("message-bytes", "bytes of a message", |arguments, value| arguments.message_bytes = Some(value)),
];

type SetOption = fn(&mut BenchArgs, usize);

/// An option and its values.
#[derive(Debug, Clone)]
pub(crate) struct Sweep {
    name: &'static str,
    set: SetOption,
    values: Vec<usize>,
}

impl FromStr for Sweep {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let read = || {
            let (option, values) = text.split_once('=')?;
            let (_, name, set) = OPTIONS.into_iter().find(|(known, ..)| *known == option)?;
            let values = values.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
            Some(Self { name, set, values })
        };
        read()
            .ok_or("expected sockets=, channels= or message-bytes=, followed by numbers separated by commas")
    }
}

impl Sweep {
    /// The arguments for one value.
    fn at(&self, value: usize, arguments: &BenchArgs) -> BenchArgs {
        let mut arguments = BenchArgs { sweep: None, plot: None, ..arguments.clone() };
        (self.set)(&mut arguments, value);
        arguments
    }

    /// Runs the scenario for each value and prints a table.
    pub(crate) fn run(
        &self,
        environment: &Environment,
        arguments: &BenchArgs,
    ) -> Result<ExitCode, BenchError> {
        let steps: Vec<_> = self.values.iter().map(|value| self.at(*value, arguments)).collect();
        steps.iter().try_for_each(BenchArgs::check)?;
        let reports = steps.iter().map(|step| run_once(environment, step)).collect::<Result<Vec<_>, _>>()?;
        let text = if arguments.json {
            let steps: Vec<_> = reports.iter().map(Report::json).collect();
            json!({ "sweep": self.name, "values": self.values, "steps": steps }).to_string()
        } else {
            self.table(&reports)
        };
        for (value, report) in self.values.iter().zip(&reports) {
            report.warnings().iter().for_each(|warning| print_error(&format!("{value}: {warning}")));
        }
        let svg = || self.svg(arguments.scenario, &reports);
        finish(arguments, svg, &text, reports.iter().all(Report::is_exact))
    }

    fn svg(&self, scenario: Scenario, reports: &[Report]) -> String {
        let (key, shown) = match scenario {
            Scenario::Idle | Scenario::Connect => ("rss_bytes_per_connection", "RSS per connection, bytes"),
            _ => ("cpu_us_per_delivery", "CPU per delivery, µs"),
        };
        let values: Vec<_> = self.values.iter().map(|value| *value as f64).collect();
        let curve = |name: &str, of: fn(&Report) -> Option<&BenchOutcome>| {
            let points = values.iter().zip(reports);
            let points = points.filter_map(|(at, report)| Some((*at, of(report)?.value(key)?))).collect();
            Curve { name: name.to_owned(), points }
        };
        let mut curves = vec![
            curve("gateway", |report| Some(&report.gateway)),
            curve("baseline", |report| report.baseline.as_ref()),
        ];
        curves.retain(|curve| !curve.points.is_empty());
        let title = format!("{}, by {}", scenario.name(), self.name);
        plot::svg(&title, shown, &XAxis::Values(self.name, &values), &curves)
    }

    /// A table with a column for each value.
    fn table(&self, reports: &[Report]) -> String {
        let Some(first) = reports.first() else { return String::new() };
        let row = |name: &str, values: Vec<String>| [vec![name.to_owned()], values].concat();
        let values = self.values.iter().map(|value| number(*value as f64));
        let mut rows = vec![row(self.name, values.collect())];
        for (index, figure) in first.gateway.figures.iter().enumerate() {
            if !SHOWN.contains(&figure.key.as_str()) {
                continue;
            }
            // All reports have the same figures.
            let cells: Vec<_> =
                reports.iter().map(|report| report.cells(&report.gateway.figures[index])).collect();
            let labels = [&figure.label, "  baseline", "  ratio"];
            let shown = if figure.is_compared && first.baseline.is_some() { 3 } else { 1 };
            for (at, label) in labels.into_iter().enumerate().take(shown) {
                rows.push(row(label, cells.iter().map(|cells| cells[at].clone()).collect()));
            }
        }
        first.headline() + &table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_values_are_read() {
        let sweep: Sweep = "message-bytes=64,65536".parse().unwrap();
        assert_eq!((sweep.name, sweep.values), ("bytes of a message", vec![64, 65_536]));
        for wrong in ["sockets", "sockets=", "sockets=1,x", "rate=1", "=1"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }
}
