//! The lines between the load generator and its generator processes, without IO.

use std::net::SocketAddr;
use std::ops::Range;

use serde_json::{Value, json};

use crate::clients::{COUNTS, Pace};
use crate::latency::Latencies;

/// The first line to a generator process: its share of the work. The process has the rest of the arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GeneratorShare {
    /// The secret of tokens.
    pub(crate) secret: Option<String>,
    /// The start of the run by the clock of the machine, in microseconds since 1970.
    pub(crate) started_at_us: u64,
    /// The indexes of its clients.
    pub(crate) clients: Range<usize>,
    /// The replicas.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl GeneratorShare {
    pub(crate) fn line(&self) -> String {
        let Self { secret, started_at_us, clients, addresses } = self;
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        json!([secret, started_at_us, clients.start, clients.end, addresses]).to_string()
    }

    pub(crate) fn read(line: &str) -> Option<Self> {
        let Value::Array(parts) = serde_json::from_str(line).ok()? else { return None };
        let [secret, started_at_us, start, end, Value::Array(addresses)] = &parts[..] else { return None };
        let index = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok());
        let addresses = addresses.iter().map(|address| address.as_str()?.parse().ok());
        Some(Self {
            secret: secret.as_str().map(str::to_owned),
            started_at_us: started_at_us.as_u64()?,
            clients: index(start)?..index(end)?,
            addresses: addresses.collect::<Option<_>>()?,
        })
    }
}

/// A later line to a generator process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GeneratorOrder {
    /// Connects these of its clients.
    Connect(Range<usize>, Pace),
    /// Disconnects all clients.
    Disconnect,
    /// Reports the latencies of a phase.
    Latencies(u8),
}

impl GeneratorOrder {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Connect(Range { start, end }, pace) => {
                let pace = match pace {
                    Pace::Rate(rate) => format!("rate {rate}"),
                    Pace::InFlight(most) => format!("in-flight {most}"),
                    Pace::AtOnce(most) => format!("at-once {most}"),
                };
                format!("connect {start} {end} {pace}")
            }
            Self::Disconnect => "disconnect".to_owned(),
            Self::Latencies(phase) => format!("latencies {phase}"),
        }
    }

    pub(crate) fn read(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split(' ').collect();
        Some(match words[..] {
            ["connect", start, end, kind, value] => {
                let pace = match kind {
                    "rate" => Pace::Rate(value.parse().ok()?),
                    "in-flight" => Pace::InFlight(value.parse().ok()?),
                    "at-once" => Pace::AtOnce(value.parse().ok()?),
                    _ => return None,
                };
                Self::Connect(start.parse().ok()?..end.parse().ok()?, pace)
            }
            ["disconnect"] => Self::Disconnect,
            ["latencies", phase] => Self::Latencies(phase.parse().ok()?),
            _ => return None,
        })
    }
}

/// A line of a generator process.
pub(crate) enum GeneratorReport {
    /// The process is ready; the ids of its threads with clients.
    Started(Vec<u32>),
    /// All counts so far, and why the last connection was lost.
    Counts([u64; COUNTS], String),
    Latencies(Latencies),
}

impl GeneratorReport {
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Started(threads) => json!({ "started": threads }),
            Self::Counts(counts, reason) => json!({ "counts": counts, "reason": reason }),
            Self::Latencies(latencies) => json!({ "latencies": latencies.json() }),
        }
        .to_string()
    }

    pub(crate) fn read(line: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(line).ok()?;
        let numbers = |value: &Value| value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>();
        if let Some(latencies) = report.get("latencies") {
            return Latencies::read(latencies).map(Self::Latencies);
        }
        if let Some(threads) = report.get("started") {
            let threads = numbers(threads)?.into_iter().map(u32::try_from);
            return threads.collect::<Result<_, _>>().ok().map(Self::Started);
        }
        let counts = numbers(report.get("counts")?)?.try_into().ok()?;
        Some(Self::Counts(counts, report.get("reason")?.as_str()?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_orders_are_read_as_written() {
        let share = GeneratorShare {
            secret: Some("\"quoted\"".to_owned()),
            started_at_us: 1_764_000_000_000_000,
            clients: 7..9,
            addresses: vec!["127.0.0.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()],
        };
        assert_eq!(GeneratorShare::read(&share.line()), Some(share));
        for order in [
            GeneratorOrder::Connect(3..5, Pace::Rate(0.5)),
            GeneratorOrder::Connect(0..1, Pace::InFlight(2)),
            GeneratorOrder::Connect(0..1, Pace::AtOnce(3)),
            GeneratorOrder::Disconnect,
            GeneratorOrder::Latencies(4),
        ] {
            assert_eq!(GeneratorOrder::read(&order.line()), Some(order));
        }
        assert!(GeneratorOrder::read("connect 1 2").is_none() && GeneratorShare::read("[]").is_none());
    }

    #[test]
    fn reports_are_read_as_written() {
        let mut latencies = Latencies::default();
        [(100, 1_500), (900_000, 250_000), (900_001, 250_000)]
            .iter()
            .for_each(|(at, us)| latencies.record(*at, *us));
        for report in [
            GeneratorReport::Started(vec![7, 8]),
            GeneratorReport::Counts(std::array::from_fn(|at| at as u64), "closed with 1001".to_owned()),
            GeneratorReport::Latencies(latencies),
        ] {
            assert_eq!(GeneratorReport::read(&report.line()).unwrap().line(), report.line());
        }
        assert!(GeneratorReport::read(r#"{"counts":[1],"reason":""}"#).is_none());
    }
}
