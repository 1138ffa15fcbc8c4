//! Checks the records of all clients after a fault.

use std::fmt::Write as _;

use super::{CHANNELS, Delivery};
use crate::support::verdict::{Breach, Heard, Verdict, judge};

/// The number of events that a failure shows before and after a breach.
const SHOWN_EVENTS: usize = 12;

/// The verdict on each client and channel.
pub(super) struct Verdicts {
    verdicts: Vec<JudgedRecord>,
    violations: Vec<String>,
    /// The latest frames of each client.
    traces: Vec<String>,
}

struct JudgedRecord {
    client: usize,
    channel: &'static str,
    verdict: Result<Verdict, Breach>,
    /// Whether the client received the last published number.
    is_current: bool,
    /// The events around the breach, or around the last reported gap; else the last events.
    shown: Vec<Heard>,
}

impl Verdicts {
    /// Judges the current records.
    pub(super) fn of(delivery: &Delivery) -> Self {
        let mut verdicts = Vec::new();
        for channel in CHANNELS {
            let acknowledged = delivery.publisher.acknowledged(channel);
            for (client, resuming) in delivery.clients.iter().enumerate() {
                let heard = resuming.heard(channel);
                let verdict = judge(&acknowledged, &heard);
                let shown = around(&heard, verdict.as_ref().err().copied());
                let last = heard.iter().rev().find(|heard| matches!(heard, Heard::Number(_)));
                let is_current = last == acknowledged.last().copied().map(Heard::Number).as_ref();
                verdicts.push(JudgedRecord { client, channel, verdict, is_current, shown });
            }
        }
        let violations = delivery.clients.iter().flat_map(|client| client.violations()).collect();
        let traces = delivery.clients.iter().map(|client| client.trace()).collect();
        Self { verdicts, violations, traces }
    }

    /// Whether each client has received every number, or a gap where numbers are missing.
    pub(super) fn are_valid(&self) -> bool {
        self.violations.is_empty() && self.verdicts.iter().all(|judged| judged.verdict.is_ok())
    }

    #[track_caller]
    pub(super) fn assert_valid(&self) {
        assert!(self.are_valid(), "{}", self.describe());
    }

    /// Whether each client has received the last number. [`are_valid`](Self::are_valid) accepts a client that received
    /// a gap and no later message.
    pub(super) fn are_current(&self) -> bool {
        self.verdicts.iter().all(|judged| judged.is_current)
    }

    #[track_caller]
    pub(super) fn assert_current(&self) {
        assert!(self.are_current(), "a client did not receive the last number:\n{}", self.describe());
    }

    /// How often each client was notified that messages may be missing.
    fn reports(&self) -> impl Iterator<Item = (&JudgedRecord, usize)> {
        self.verdicts
            .iter()
            .map(|judged| (judged, judged.verdict.as_ref().map_or(0, |verdict| verdict.reported)))
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("violations: {:?}\n", self.violations);
        for JudgedRecord { client, channel, verdict, shown, .. } in &self.verdicts {
            let _ = writeln!(text, "client {client} on {channel}: {verdict:?}, received … {shown:?}");
        }
        for (client, trace) in self.traces.iter().enumerate() {
            let _ = writeln!(text, "client {client}, latest frames:\n{trace}");
        }
        text
    }
}

/// The events around a breach, or around the last reported gap; else the last events.
fn around(heard: &[Heard], breach: Option<Breach>) -> Vec<Heard> {
    let index = match breach {
        Some(Breach::Missing(number)) => {
            heard.iter().position(|heard| matches!(heard, Heard::Number(found) if *found > number))
        }
        Some(Breach::Doubled(number) | Breach::Disordered(number) | Breach::Unknown(number)) => {
            heard.iter().rposition(|heard| *heard == Heard::Number(number))
        }
        None => heard.iter().rposition(|heard| !matches!(heard, Heard::Number(_))),
    };
    let index = index.unwrap_or(heard.len());
    heard[index.saturating_sub(SHOWN_EVENTS)..heard.len().min(index + SHOWN_EVENTS)].to_vec()
}

/// The end of a test. Keeps the processes until the assertion, so that a failure shows the gateways' logs.
pub(super) struct Outcome {
    pub(super) verdicts: Verdicts,
    pub(super) delivery: Delivery,
}

impl Outcome {
    /// Asserts that each client received every number once and in order, and no gap.
    #[track_caller]
    pub(super) fn assert_exact(self) {
        let is_reported = self.verdicts.reports().any(|(_, reports)| reports > 0);
        assert!(
            !is_reported,
            "a client received a gap although nothing is missing:\n{}",
            self.verdicts.describe()
        );
        drop(self.delivery);
    }

    /// Asserts that each client received a gap or `"recovered":false` on every channel.
    #[track_caller]
    pub(super) fn assert_reported(self) {
        let is_unreported = self.verdicts.reports().any(|(_, reports)| reports == 0);
        assert!(
            !is_unreported,
            "a client received no gap although messages are missing:\n{}",
            self.verdicts.describe()
        );
        drop(self.delivery);
    }

    /// Asserts that these clients received a gap or `"recovered":false` on every channel, and that the others received
    /// every number and no gap.
    #[track_caller]
    pub(super) fn assert_reported_only(self, clients: &[usize]) {
        let is_wrong = self
            .verdicts
            .reports()
            .any(|(judged, reports)| clients.contains(&judged.client) != (reports > 0));
        assert!(
            !is_wrong,
            "not exactly the clients {clients:?} received a gap:\n{}",
            self.verdicts.describe()
        );
        drop(self.delivery);
    }

    /// Asserts that no client misses a number without a gap. Clients may have received more gaps than necessary.
    pub(super) fn assert_no_silent_loss(self) {
        drop(self.delivery);
    }
}
