//! What came of a fault.

use std::fmt::Write as _;

use super::{CHANNELS, Delivery};
use crate::support::verdict::{Breach, Heard, Verdict, judge};

/// How many events around a breach are shown.
const SHOWN: usize = 12;

/// The judgement on each client and channel.
pub(super) struct Verdicts {
    verdicts: Vec<Judged>,
    complaints: Vec<String>,
    /// The latest frames of each client.
    traces: Vec<String>,
}

struct Judged {
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
                verdicts.push(Judged { client, channel, verdict, is_current, shown });
            }
        }
        let complaints = delivery.clients.iter().flat_map(|client| client.violations()).collect();
        let traces = delivery.clients.iter().map(|client| client.trace()).collect();
        Self { verdicts, complaints, traces }
    }

    /// Whether each client has everything, or was told.
    pub(super) fn are_well(&self) -> bool {
        self.complaints.is_empty() && self.verdicts.iter().all(|judged| judged.verdict.is_ok())
    }

    #[track_caller]
    pub(super) fn assert_well(&self) {
        assert!(self.are_well(), "{}", self.describe());
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

    fn told(&self) -> impl Iterator<Item = (&Judged, usize)> {
        self.verdicts
            .iter()
            .map(|judged| (judged, judged.verdict.as_ref().map_or(0, |verdict| verdict.reported)))
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("complaints: {:?}\n", self.complaints);
        for Judged { client, channel, verdict, shown, .. } in &self.verdicts {
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
    let place = match breach {
        Some(Breach::Missing(number)) => {
            heard.iter().position(|heard| matches!(heard, Heard::Number(found) if *found > number))
        }
        Some(Breach::Doubled(number) | Breach::Disordered(number) | Breach::Unknown(number)) => {
            heard.iter().rposition(|heard| *heard == Heard::Number(number))
        }
        None => heard.iter().rposition(|heard| !matches!(heard, Heard::Number(_))),
    };
    let place = place.unwrap_or(heard.len());
    heard[place.saturating_sub(SHOWN)..heard.len().min(place + SHOWN)].to_vec()
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
        let told = self.verdicts.told().any(|(_, told)| told > 0);
        assert!(!told, "a client was told of a gap without need:\n{}", self.verdicts.describe());
        drop(self.delivery);
    }

    /// Each client was told, on every channel, that something may be missing.
    #[track_caller]
    pub(super) fn assert_told(self) {
        let silent = self.verdicts.told().any(|(_, told)| told == 0);
        assert!(!silent, "a client was not told:\n{}", self.verdicts.describe());
        drop(self.delivery);
    }

    /// As [`assert_told`](Self::assert_told) for these clients; the others have everything and were told of nothing.
    #[track_caller]
    pub(super) fn assert_told_only(self, clients: &[usize]) {
        let wrong = self.verdicts.told().any(|(judged, told)| clients.contains(&judged.client) != (told > 0));
        assert!(
            !wrong,
            "clients other than {clients:?} were told, or not all of them:\n{}",
            self.verdicts.describe()
        );
        drop(self.delivery);
    }

    /// Nobody misses anything unknowingly; whether they were told of more than what is missing is not asked.
    pub(super) fn assert_honest(self) {
        drop(self.delivery);
    }
}
