//! The lines between the load generator and its generator processes: JSON, without IO.

use std::net::SocketAddr;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clients::{COUNTS, Pace};
use crate::latency::Latencies;

/// The first line to a generator process: its share of the work. The process has the rest of the arguments.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A later line to a generator process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum GeneratorOrder {
    /// Connects these of its clients.
    Connect(Range<usize>, Pace),
    /// Disconnects all clients.
    Disconnect,
    /// Reports the latencies of a phase.
    Latencies(u8),
}

/// A line of a generator process.
#[derive(Serialize, Deserialize)]
pub(crate) enum GeneratorReport {
    /// The process is ready; the ids of its threads with clients.
    Started(Vec<u32>),
    /// All counts so far, and why the last connection was lost.
    Counts([u64; COUNTS], String),
    Latencies(Latencies),
}

/// A message as a line, without its line break.
pub(crate) fn line(message: &impl Serialize) -> String {
    json!(message).to_string()
}

/// Reads a [`line()`].
pub(crate) fn read<T: DeserializeOwned>(line: &str) -> Option<T> {
    serde_json::from_str(line).ok()
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
        assert_eq!(read(&line(&share)), Some(share));
        for order in [
            GeneratorOrder::Connect(3..5, Pace::Rate(0.5)),
            GeneratorOrder::Connect(0..1, Pace::InFlight(2)),
            GeneratorOrder::Connect(0..1, Pace::AtOnce(3)),
            GeneratorOrder::Disconnect,
            GeneratorOrder::Latencies(4),
        ] {
            assert_eq!(read(&line(&order)), Some(order));
        }
        assert!(read::<GeneratorOrder>(r#"{"Connect":[1,2]}"#).is_none());
        assert!(read::<GeneratorShare>("[]").is_none());
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
            let written = line(&report);
            assert_eq!(line(&read::<GeneratorReport>(&written).unwrap()), written);
        }
        assert!(read::<GeneratorReport>(r#"{"Counts":[[1],""]}"#).is_none());
    }
}
