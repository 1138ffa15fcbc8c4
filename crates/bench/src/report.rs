//! What was found, as a table or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::arguments::{BenchArgs, Scenario};
use crate::outcome::{Figure, Outcome};
use crate::output::{finish, print_error};
use crate::plot::{self, Across};
use crate::{BenchError, TokenKind, process};

/// What a report is made of.
pub(crate) struct Report {
    pub(crate) arguments: BenchArgs,
    pub(crate) tokens: TokenKind,
    pub(crate) transport: &'static str,
    pub(crate) gateway: Outcome,
    pub(crate) baseline: Option<Outcome>,
}

impl Report {
    /// Prints it and draws its plot; returns the process' exit code.
    pub(crate) fn print(&self) -> Result<ExitCode, BenchError> {
        let arguments = &self.arguments;
        let text = if arguments.json {
            self.warnings().iter().for_each(|warning| print_error(warning));
            self.json().to_string()
        } else {
            self.table()
        };
        let title = format!("{}, {} sockets", arguments.scenario.name(), arguments.sockets);
        let Outcome { curve_unit, curves, .. } = &self.gateway;
        finish(arguments, || plot::svg(&title, curve_unit, &Across::Seconds, curves), &text, self.is_exact())
    }

    /// Reasons for doubt, a sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.outcomes().flat_map(|(name, outcome)| outcome.warnings(name)).collect()
    }

    /// Whether every delivery there should have been was.
    pub(crate) fn is_exact(&self) -> bool {
        self.outcomes().all(|(_, outcome)| outcome.wrong_deliveries == 0)
    }

    /// The ratio of a figure of the gateway to the baseline's.
    pub(crate) fn ratio(&self, figure: &Figure) -> Option<f64> {
        let baseline = self.baseline.as_ref()?.value(&figure.key)?;
        let ratio = figure.value / baseline;
        (figure.is_compared && ratio.is_finite()).then_some(ratio)
    }

    /// The table, warnings included.
    pub(crate) fn table(&self) -> String {
        let mut text = self.headline();
        let width = self.gateway.figures.iter().map(|figure| figure.label.chars().count()).max().unwrap_or(0);
        let _ = write!(text, "{:width$}  {:>12}", "", "gateway");
        text.push_str(if self.baseline.is_some() { "      baseline    ratio\n" } else { "\n" });
        for figure in &self.gateway.figures {
            let _ = write!(text, "{:width$}  {:>12}", figure.label, number(figure.value));
            if let Some(baseline) = &self.baseline {
                let beside = baseline.value(&figure.key).map(number).unwrap_or_default();
                let ratio = self.ratio(figure).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
                let _ = write!(text, "  {beside:>12}  {ratio:>7}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for (name, outcome) in self.outcomes() {
            let _ = writeln!(
                text,
                "load generator beside the {name}: busiest thread {:.0} %, 1 % of the messages sent {:.1} ms late or later",
                outcome.busiest * 100.0,
                outcome.late_p99_ms()
            );
        }
        for warning in self.warnings() {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }

    fn outcomes(&self) -> impl Iterator<Item = (&'static str, &Outcome)> {
        std::iter::once(("gateway", &self.gateway))
            .chain(self.baseline.iter().map(|baseline| ("baseline", baseline)))
    }

    /// The scenario, its load, and the machine.
    pub(crate) fn headline(&self) -> String {
        let BenchArgs { scenario, sockets, threads, .. } = &self.arguments;
        let pace = match (self.arguments.capacity_share, self.arguments.rate(), self.arguments.in_flight) {
            _ if *scenario == Scenario::Idle => "silent".to_owned(),
            (Some(share), ..) => format!("{} % of what is possible", number(share * 100.0)),
            (_, Some(rate), _) => format!("{} a second", number(rate)),
            (_, None, Some(count)) => format!("{count} in flight"),
            (_, None, None) => "as fast as it goes".to_owned(),
        };
        let load = process::load_average().map(|load| format!(", load average {load:.1}"));
        let channels = self.arguments.channels.map(|count| format!(" in {} channels", number(count as f64)));
        let (load, channels) = (load.unwrap_or_default(), channels.unwrap_or_default());
        format!(
            "{}: {sockets} sockets{channels} on {threads} thread(s), {pace}, {} bytes, published by {}, tokens: {}; {} core(s){load}\n",
            scenario.name(),
            self.arguments.message_bytes(),
            self.transport,
            self.tokens.name(),
            cores(),
        )
    }

    pub(crate) fn json(&self) -> Value {
        let arguments = &self.arguments;
        let ratios = self.gateway.figures.iter().filter_map(|figure| {
            let ratio = self.ratio(figure)?;
            Some((figure.key.clone(), json!(ratio)))
        });
        let ratios: Map<String, Value> = ratios.collect();
        json!({
            "scenario": arguments.scenario.name(),
            "arguments": {
                "sockets": arguments.sockets,
                "seconds": arguments.seconds,
                "rate": arguments.rate(),
                "in_flight": arguments.in_flight,
                "message_bytes": arguments.message_bytes(),
                "channels": arguments.channels,
                "capacity_share": arguments.capacity_share,
                "threads": arguments.threads,
                "deflate": arguments.deflate,
            },
            "published_by": self.transport,
            "tokens": self.tokens.name(),
            "machine": { "cores": cores(), "load_average": process::load_average() },
            "gateway": figures(&self.gateway),
            "baseline": self.baseline.as_ref().map(figures),
            "ratio_to_baseline": self.baseline.as_ref().map(|_| ratios),
            "saturated": self.outcomes().any(|(_, outcome)| outcome.is_saturated()),
            "warnings": self.warnings(),
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Unknown figures are null.
fn figures(outcome: &Outcome) -> Value {
    let figures = outcome.figures.iter().map(|figure| (figure.key.clone(), json!(figure.value)));
    let mut object: Map<String, Value> = figures.collect();
    let generator = json!({
        "busiest_thread": outcome.busiest,
        "late_p99_ms": outcome.late_p99_ms(),
        "saturated": outcome.is_saturated(),
    });
    object.insert("generator".to_owned(), generator);
    Value::Object(object)
}

/// Three significant digits, and all of a whole number.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        large if large >= 100.0 || value.fract() == 0.0 => grouped(value.round() as i64),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// 1234567 as 1 234 567.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, text) in [
            (f64::NAN, "-"),
            (0.0, "0"),
            (0.1234, "0.12"),
            (12.34, "12.3"),
            (100.5, "101"),
            (1_234_567.0, "1 234 567"),
            (-1_234.0, "-1 234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
