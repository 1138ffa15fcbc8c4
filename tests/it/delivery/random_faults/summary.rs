//! The results of the runs as a table.

use std::collections::BTreeMap;

use super::super::{CHANNELS, Delivery};
use crate::support::verdict::{Counts, count};

/// The figures of one run or of all runs.
#[derive(Debug, Default)]
pub(super) struct RunSummary {
    counts: Counts,
    gap_reasons: BTreeMap<String, usize>,
    /// How often a channel was reported as recovering.
    recovering: usize,
    /// How often a number was published again because it was not acknowledged.
    repeats: u64,
    /// How often a client reconnected.
    reconnects: usize,
}

impl RunSummary {
    pub(super) fn of(delivery: &Delivery) -> Self {
        let mut summary = Self { repeats: delivery.publisher.repeats(), ..Self::default() };
        for client in &delivery.clients {
            summary.reconnects += client.sessions().saturating_sub(1);
            for channel in CHANNELS {
                summary.recovering += client.recovering_count(channel);
                summary.add_counts(count(&delivery.publisher.acknowledged(channel), &client.heard(channel)));
                for reason in client.gap_reasons(channel) {
                    *summary.gap_reasons.entry(reason).or_default() += 1;
                }
            }
        }
        summary
    }

    /// Whether clients received every number once and in order, and no gap.
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
        self.reconnects += other.reconnects;
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

    /// One row of the table; [`TABLE_HEAD`] is its head.
    pub(super) fn row(&self, name: &str) -> String {
        let Counts { heard, lost, doubled, disordered, not_recovered, .. } = self.counts;
        let reasons = self.gap_reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
        let gaps =
            if self.counts.gaps == 0 { "0".to_owned() } else { reasons.collect::<Vec<_>>().join(", ") };
        let Self { recovering, repeats, reconnects, .. } = self;
        format!(
            "| {name} | {heard} | {lost} | {doubled} | {disordered} | {not_recovered} | {gaps} | {recovering} | {repeats} | {reconnects} |"
        )
    }
}

/// `scripts/fault-runs` prints the lines that begin with a bar.
pub(super) const TABLE_HEAD: &str = "\n| seed | received | lost | duplicated | out of order | recovered:false | gaps by reason | recovering \
                    | repeats of the publisher | reconnects of clients |\n|---|---|---|---|---|---|---|---|---|---|";

#[allow(clippy::print_stdout, reason = "scripts/fault-runs reads the table")]
pub(super) fn print(line: &str) {
    println!("{line}");
}
