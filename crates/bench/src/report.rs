//! Prints the result as a table or as JSON.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::arguments::{BenchArgs, Scenario};
use crate::other_server::Protocol;
use crate::outcome::{BenchOutcome, Figure};
use crate::output::{finish, print_error};
use crate::plot::{self, XAxis};
use crate::process::cores;
use crate::{BenchError, TokenKind, process};

/// The results of the gateway and the baseline.
pub(crate) struct Report {
    pub(crate) arguments: BenchArgs,
    pub(crate) tokens: TokenKind,
    pub(crate) transport: &'static str,
    pub(crate) gateway: BenchOutcome,
    pub(crate) baseline: Option<BenchOutcome>,
}

impl Report {
    /// Prints the report and draws its plot; returns the exit code of the process.
    pub(crate) fn print(&self) -> Result<ExitCode, BenchError> {
        let arguments = &self.arguments;
        let text = if arguments.json {
            self.warnings().iter().for_each(|warning| print_error(warning));
            self.json().to_string()
        } else {
            self.table()
        };
        let title = format!("{}, {} sockets", arguments.scenario.name(), arguments.sockets);
        let BenchOutcome { curve_unit, curves, .. } = &self.gateway;
        finish(arguments, || plot::svg(&title, curve_unit, &XAxis::Seconds, curves), &text, self.is_exact())
    }

    fn outcomes(&self) -> impl Iterator<Item = (&'static str, &BenchOutcome)> {
        let [gateway, other] = if self.arguments.redis_cluster.is_some() {
            ["cluster", "one server"]
        } else if self.arguments.publish_http {
            ["by HTTP", "by Redis"]
        } else {
            [self.measured(), "baseline"]
        };
        let baseline = self.baseline.iter().map(move |baseline| (other, baseline));
        std::iter::once((gateway, &self.gateway)).chain(baseline)
    }

    /// The name of the measured server.
    fn measured(&self) -> &'static str {
        let other = self.arguments.server.as_ref();
        other.map_or(Protocol::Gateway, |other| Protocol::Other(other.product)).name()
    }

    /// One sentence for each reason to doubt the results.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.outcomes().flat_map(|(name, outcome)| outcome.warnings(name)).collect()
    }

    /// Whether no delivery is missing or duplicated.
    pub(crate) fn is_exact(&self) -> bool {
        self.outcomes().all(|(_, outcome)| outcome.wrong_deliveries == 0)
    }

    /// The ratio of a figure of the gateway to that of the baseline.
    fn ratio(&self, figure: &Figure) -> Option<f64> {
        let ratio = figure.value / self.baseline.as_ref()?.value(&figure.key)?;
        (figure.is_compared && ratio.is_finite()).then_some(ratio)
    }

    /// The figures of gateway and baseline and their ratio, as text; empty if missing.
    pub(crate) fn cells(&self, figure: &Figure) -> [String; 3] {
        let baseline = self.baseline.as_ref().and_then(|baseline| baseline.value(&figure.key));
        let ratio = self.ratio(figure).map(|ratio| format!("{ratio:.2}"));
        [number(figure.value), baseline.map(number).unwrap_or_default(), ratio.unwrap_or_default()]
    }

    /// The table with warnings.
    fn table(&self) -> String {
        let head = match self.arguments.redis_cluster {
            Some(masters) => ["", &format!("{masters} masters"), "1 server", "ratio"].map(str::to_owned),
            None if self.arguments.publish_http => ["", "by HTTP", "by Redis", "ratio"].map(str::to_owned),
            None => ["", self.measured(), "baseline", "ratio"].map(str::to_owned),
        };
        let mut rows = vec![head[..if self.baseline.is_some() { 4 } else { 2 }].to_vec()];
        for figure in &self.gateway.figures {
            rows.push([vec![figure.label.clone()], self.cells(figure).to_vec()].concat());
        }
        let generators = self.outcomes().map(|(name, outcome)| {
            let (busy, late_ms) = (outcome.busiest * 100.0, outcome.late_p99_ms());
            let late = match outcome.late.is_empty() {
                // Nothing was published, or in a closed loop, where no message has a due time.
                true => String::new(),
                false => format!(", 1 % of the messages sent at least {late_ms:.1} ms late"),
            };
            format!("load generator ({name}): busiest thread {busy:.0} %{late}\n")
        });
        let warnings = self.warnings().into_iter().map(|warning| format!("warning: {warning}\n"));
        self.headline() + &table(&rows) + &generators.chain(warnings).collect::<String>()
    }

    /// One line with the scenario, its load and the machine.
    pub(crate) fn headline(&self) -> String {
        let BenchArgs { scenario, sockets, threads, capacity_share, in_flight, channels, .. } =
            &self.arguments;
        let pace = match (capacity_share, self.arguments.rate(), in_flight) {
            _ if *scenario == Scenario::Idle => "silent".to_owned(),
            (Some(share), ..) => format!("{} % of the maximum rate", number(share * 100.0)),
            (_, Some(rate), _) => format!("{} per second", number(rate)),
            (_, None, Some(count)) => format!("{count} in flight"),
            (_, None, None) => "as fast as possible".to_owned(),
        };
        let load = process::load_average().map(|load| format!(", load average {load:.1}"));
        let channels = channels.map(|count| format!(" in {} channels", number(count as f64)));
        let replicas = self.arguments.replicas.map(|count| format!(" over {count} replicas"));
        let [load, channels, replicas] = [load, channels, replicas].map(Option::unwrap_or_default);
        let messages = self.messages();
        let name = scenario.name();
        let (tokens, cores) = (self.tokens.name(), cores());
        format!(
            "{name}: {sockets} sockets{channels}{replicas} on {threads} thread(s), {pace}{messages}, tokens: {tokens}; {cores} core(s){load}\n"
        )
    }

    /// The messages of the scenario, if it has any: their size, and how they are published.
    fn messages(&self) -> String {
        let (bytes, transport) = (self.arguments.message_bytes(), self.transport);
        match self.arguments.scenario {
            Scenario::Idle | Scenario::Connect | Scenario::Waves => String::new(),
            // The clients send them.
            Scenario::Send => format!(", {bytes} bytes"),
            _ => format!(", {bytes} bytes, published by {transport}"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let arguments = &self.arguments;
        let ratio = |figure: &Figure| Some((figure.key.clone(), json!(self.ratio(figure)?)));
        let ratios: Map<_, _> = self.gateway.figures.iter().filter_map(ratio).collect();
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
                "replicas": arguments.replicas,
                "deflate": arguments.deflate,
                "durable": arguments.durable,
                "redis_cluster": arguments.redis_cluster,
                "publish_http": arguments.publish_http,
                "http_connections": arguments.http_connections,
            },
            "measured": self.measured(),
            "published_by": self.transport,
            "tokens": self.tokens.name(),
            "machine": { "cores": cores(), "load_average": process::load_average() },
            "gateway": self.gateway.json(),
            "baseline": self.baseline.as_ref().map(BenchOutcome::json),
            "ratio_to_baseline": self.baseline.as_ref().map(|_| ratios),
            "saturated": self.outcomes().any(|(_, outcome)| outcome.is_saturated()),
            "warnings": self.warnings(),
        })
    }
}

/// Aligns rows in columns: the first column to the left, the others to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells: String = row[1..].iter().map(|cell| format!("  {cell:>12}")).collect();
        format!("{:width$}{cells}", row[0]).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Formats a value with three significant digits, or all digits of a whole number.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        large if large >= 100.0 || value.fract() == 0.0 => grouped(value.round() as i64),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Formats 1234567 as 1 234 567.
fn grouped(value: i64) -> String {
    match value / 1_000 {
        0 => value.to_string(),
        thousands => format!("{} {:03}", grouped(thousands), value.abs() % 1_000),
    }
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
