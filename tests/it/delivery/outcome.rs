//! What came of a fault.

use std::fmt::Write as _;

use super::{CHANNELS, Delivery};
use crate::support::verdict::{Breach, Heard, Verdict, judge};

/// How many events around a breach are shown.
const SHOWN_EVENTS: usize = 12;

/// The judgement on each client and channel.
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
    /// The end of what was heard, or what surrounds the breach.
    shown: Vec<Heard>,
}

impl Verdicts {
    /// As things stand now.
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
        let complaints = delivery.clients.iter().flat_map(|client| client.complaints()).collect();
        let traces = delivery.clients.iter().map(|client| client.trace()).collect();
        Self { verdicts, violations: complaints, traces }
    }

    /// Whether each client has everything, or was told.
    pub(super) fn are_valid(&self) -> bool {
        self.violations.is_empty() && self.verdicts.iter().all(|judged| judged.verdict.is_ok())
    }

    #[track_caller]
    pub(super) fn assert_valid(&self) {
        assert!(self.are_valid(), "{}", self.describe());
    }

    /// Whether each client has received the last number. The other check accepts a client that got a gap and no later
    /// message.
    pub(super) fn are_current(&self) -> bool {
        self.verdicts.iter().all(|judged| judged.is_current)
    }

    #[track_caller]
    pub(super) fn assert_current(&self) {
        assert!(self.are_current(), "a client does not hear what is published now:\n{}", self.describe());
    }

    fn reports(&self) -> impl Iterator<Item = (&JudgedRecord, usize)> {
        self.verdicts
            .iter()
            .map(|judged| (judged, judged.verdict.as_ref().map_or(0, |verdict| verdict.reported)))
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("violations: {:?}\n", self.violations);
        for JudgedRecord { client, channel, verdict, shown, .. } in &self.verdicts {
            let _ = writeln!(text, "client {client} on {channel}: {verdict:?}, heard … {shown:?}");
        }
        for (client, trace) in self.traces.iter().enumerate() {
            let _ = writeln!(text, "client {client}, latest frames:\n{trace}");
        }
        text
    }
}

/// The events around the place of a breach or of the last thing that was told; else the last ones.
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

/// The end of a test. Holds everything until it is judged, so that a failure shows the gateways' logs.
pub(super) struct Outcome {
    pub(super) verdicts: Verdicts,
    pub(super) delivery: Delivery,
}

impl Outcome {
    /// Each client has heard every number, once and in order, and was never told of a gap.
    #[track_caller]
    pub(super) fn assert_exact(self) {
        let is_reported = self.verdicts.reports().any(|(_, reports)| reports > 0);
        assert!(!is_reported, "a client was told of a gap without need:\n{}", self.verdicts.describe());
        drop(self.delivery);
    }

    /// Each client was told, on every channel, that something may be missing.
    #[track_caller]
    pub(super) fn assert_reported(self) {
        let is_unreported = self.verdicts.reports().any(|(_, reports)| reports == 0);
        assert!(!is_unreported, "a client was not told:\n{}", self.verdicts.describe());
        drop(self.delivery);
    }

    /// As [`assert_reported`](Self::assert_reported) for these clients; the others have everything and were told of nothing.
    #[track_caller]
    pub(super) fn assert_reported_only(self, clients: &[usize]) {
        let is_wrong = self
            .verdicts
            .reports()
            .any(|(judged, reports)| clients.contains(&judged.client) != (reports > 0));
        assert!(
            !is_wrong,
            "clients other than {clients:?} were told, or not all of them:\n{}",
            self.verdicts.describe()
        );
        drop(self.delivery);
    }

    /// Nobody misses anything unknowingly; whether they were told of more than what is missing is not asked.
    pub(super) fn assert_no_silent_loss(self) {
        drop(self.delivery);
    }
}
