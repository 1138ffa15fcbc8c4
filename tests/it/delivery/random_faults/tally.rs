//! What the runs found, as a table.

use std::collections::BTreeMap;

use super::super::{CHANNELS, Delivery};
use crate::support::verdict::{Counts, count};

/// The figures of one run, or of all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Counts,
    gap_reasons: BTreeMap<String, usize>,
    /// How often a client was told that a channel is recovering.
    recovering: usize,
    /// How often a number was published again, because nothing acknowledged it.
    repeats: u64,
    /// How often a client came back.
    returns: usize,
}

impl Tally {
    pub(super) fn of(delivery: &Delivery) -> Self {
        let mut tally = Self { repeats: delivery.publisher.repeats(), ..Self::default() };
        for client in &delivery.clients {
            tally.returns += client.sessions().saturating_sub(1);
            for channel in CHANNELS {
                tally.recovering += client.recovering_count(channel);
                tally.add_counts(count(&delivery.publisher.acknowledged(channel), &client.heard(channel)));
                for reason in client.gap_reasons(channel) {
                    *tally.gap_reasons.entry(reason).or_default() += 1;
                }
            }
        }
        tally
    }

    /// Whether everything was heard once and in order, and no client was told of a gap.
    pub(super) fn is_clean(&self) -> bool {
        let Counts { heard: _, lost, doubled, disordered, gaps, not_recovered } = self.counts;
        [lost, doubled, disordered, gaps, not_recovered] == [0; 5]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.add_counts(other.counts);
        for (reason, count) in &other.gap_reasons {
            *self.gap_reasons.entry(reason.clone()).or_default() += count;
        }
        self.recovering += other.recovering;
        self.repeats += other.repeats;
        self.returns += other.returns;
    }

    fn add_counts(&mut self, other: Counts) {
        let Counts { heard, lost, doubled, disordered, gaps, not_recovered } = other;
        self.counts.heard += heard;
        self.counts.lost += lost;
        self.counts.doubled += doubled;
        self.counts.disordered += disordered;
        self.counts.gaps += gaps;
        self.counts.not_recovered += not_recovered;
    }

    /// A row of the table that [`HEAD`] begins.
    pub(super) fn row(&self, name: &str) -> String {
        let Counts { heard, lost, doubled, disordered, not_recovered, .. } = self.counts;
        let reasons = self.gap_reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
        let gaps =
            if self.counts.gaps == 0 { "0".to_owned() } else { reasons.collect::<Vec<_>>().join(", ") };
        let Self { recovering, repeats, returns, .. } = self;
        format!(
            "| {name} | {heard} | {lost} | {doubled} | {disordered} | {not_recovered} | {gaps} | {recovering} | {repeats} | {returns} |"
        )
    }
}

/// `scripts/fault-runs` shows the lines that begin with a bar.
pub(super) const HEAD: &str = "\n| seed | heard | lost | doubled | disordered | recovered:false | gaps by reason | recovering \
                    | repeats of the publisher | returns of clients |\n|---|---|---|---|---|---|---|---|---|---|";

#[allow(clippy::print_stdout, reason = "the runs are repeated by their seeds, and counted by a script")]
pub(super) fn print(line: &str) {
    println!("{line}");
}
