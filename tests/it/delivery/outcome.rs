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
}

struct Judged {
    client: usize,
    channel: &'static str,
    verdict: Result<Verdict, Breach>,
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
                verdicts.push(Judged { client, channel, verdict, shown });
            }
        }
        let complaints = delivery.clients.iter().flat_map(|client| client.complaints()).collect();
        Self { verdicts, complaints }
    }

    /// Whether each client has everything, or was told.
    pub(super) fn are_well(&self) -> bool {
        self.complaints.is_empty() && self.verdicts.iter().all(|judged| judged.verdict.is_ok())
    }

    #[track_caller]
    pub(super) fn assert_well(&self) {
        assert!(self.are_well(), "{}", self.describe());
    }

    fn told(&self) -> impl Iterator<Item = (&Judged, usize)> {
        self.verdicts.iter().map(|judged| (judged, judged.verdict.as_ref().map_or(0, |verdict| verdict.told)))
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("complaints: {:?}\n", self.complaints);
        for Judged { client, channel, verdict, shown } in &self.verdicts {
            let _ = writeln!(text, "client {client} on {channel}: {verdict:?}, heard … {shown:?}");
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
