//! The verdict on all clients.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::publishers::{Acknowledged, Publisher};
use super::run::Run;
use crate::support::resuming_client::ResumingClient;
use crate::support::verdict::{Counts, Heard, count, judge};

/// How long a gateway may be ready while plain messages are lost: the time in which it notices a fault, at most one
/// history check and one probe.
const NOTICE_TIME: Duration = Duration::from_millis(2_500);
/// The accuracy of the times of readiness.
const SLACK: Duration = Duration::from_millis(100);

/// What is wrong, and what was counted.
#[derive(Default)]
pub(super) struct Judgement {
    breaches: Vec<String>,
    durable: Counts,
    plain: Counts,
    repeats: u64,
}

impl Judgement {
    pub(super) fn of(run: &Run) -> Self {
        let mut judgement = Self::default();
        for (at, client) in run.clients.iter().enumerate() {
            judgement.check_client(at, client);
            for publisher in run.durable.iter().chain([&run.http]) {
                judgement.judge_durable(at, client, publisher);
            }
            for channel in run.plain.channels() {
                judgement.judge_plain(run, at, channel);
            }
        }
        judgement.check_calm(run);
        judgement.repeats = run.publishers().map(Publisher::repeats).sum();
        judgement
    }

    pub(super) fn is_good(&self) -> bool {
        self.breaches.is_empty()
    }

    /// One line with the counts.
    pub(super) fn summary(&self) -> String {
        format!("durable: {:?}, plain: {:?}, repeats: {}", self.durable, self.plain, self.repeats)
    }

    pub(super) fn describe(&self, run: &Run) -> String {
        let mut text = self.summary();
        for breach in self.breaches.iter().take(20) {
            let _ = write!(text, "\n{breach}");
        }
        let _ = writeln!(text, "\nbreaches: {}", self.breaches.len());
        for (gateway, watch) in run.watches.iter().enumerate() {
            let _ = write!(text, "gateway {gateway}:\n{}", watch.describe(run.started));
        }
        text
    }

    /// No fault of the cluster ends a session.
    fn check_client(&mut self, at: usize, client: &ResumingClient) {
        self.breaches.extend(client.violations().into_iter().map(|what| format!("client {at}: {what}")));
        if client.sessions() != 1 {
            self.breaches.push(format!(
                "client {at} had {} sessions:\n{}",
                client.sessions(),
                client.trace()
            ));
        }
    }

    /// Every number once and in order, and no gap.
    fn judge_durable(&mut self, at: usize, client: &ResumingClient, publisher: &Publisher) {
        for channel in publisher.channels().iter().filter(|channel| client.follows(channel)) {
            let acknowledged: Vec<u64> =
                publisher.acknowledged(channel).iter().map(|one| one.number).collect();
            let heard = client.heard(channel);
            add(&mut self.durable, count(&acknowledged, &heard));
            match judge(&acknowledged, &heard) {
                Ok(verdict) if verdict.reported == 0 => {}
                other => self.breaches.push(format!(
                    "client {at} on {channel}: {:?}, gaps {:?}",
                    other.map(|verdict| verdict.reported),
                    client.gap_reasons(channel)
                )),
            }
        }
    }

    /// Every number at most once and in order. A gap follows each missing one, and the gateway was not ready.
    fn judge_plain(&mut self, run: &Run, at: usize, channel: &str) {
        let heard = run.clients[at].heard(channel);
        let acknowledged = run.plain.acknowledged(channel);
        let numbers: Vec<u64> = acknowledged.iter().map(|one| one.number).collect();
        // A number whose answer was lost may still be on its way when the next one is sent.
        let is_ordered =
            |heard: &Heard| heard.number().is_none_or(|number| numbers.binary_search(&number).is_ok());
        let heard: Vec<Heard> = heard.into_iter().filter(is_ordered).collect();
        let counts = count(&numbers, &heard);
        add(&mut self.plain, counts);
        if counts.doubled + counts.disordered > 0 {
            self.breaches.push(format!("client {at} on {channel}: doubled or out of order: {counts:?}"));
        }
        let found: HashSet<u64> = heard.iter().filter_map(Heard::number).collect();
        let last_gap = heard.iter().rposition(|heard| heard.number().is_none());
        let mut lost_since: Option<Instant> = None;
        for one in acknowledged {
            if found.contains(&one.number) {
                lost_since = None;
                continue;
            }
            let before =
                heard.iter().rposition(|heard| heard.number().is_some_and(|other| other < one.number));
            if last_gap.is_none() || last_gap < before {
                self.breaches
                    .push(format!("client {at} on {channel}: no gap tells the loss of {}", one.number));
                return;
            }
            let since = *lost_since.get_or_insert(one.sent);
            self.check_readiness(run, at, channel, one, since);
        }
    }

    /// Checks that a gateway was not ready when a plain message was lost.
    fn check_readiness(&mut self, run: &Run, at: usize, channel: &str, one: Acknowledged, since: Instant) {
        let watch = &run.watches[at % run.watches.len()];
        let when = one.sent - run.started;
        let was_unready = watch.was_unready(one.sent - SLACK, one.sent + SLACK);
        let ready_for = one.sent - since.max(watch.ready_since(one.sent));
        if ready_for > NOTICE_TIME && !was_unready {
            self.breaches.push(format!(
                "client {at} on {channel}: {} sent at {when:?} is lost, {:?} after the first one, and the gateway was ready for {ready_for:?}",
                one.number,
                one.sent - since
            ));
        }
        if run.calm.iter().any(|(from, to)| *from < one.sent && one.sent + SLACK < *to) {
            self.breaches.push(format!(
                "client {at} on {channel}: {} sent at {when:?} is lost although the gateways were ready",
                one.number
            ));
        }
    }

    /// Checks that the gateways stay ready while nothing fails.
    fn check_calm(&mut self, run: &Run) {
        for (gateway, watch) in run.watches.iter().enumerate() {
            for (from, to) in &run.calm {
                if watch.was_unready(*from + SLACK, *to) {
                    let when = *from - run.started;
                    self.breaches
                        .push(format!("gateway {gateway} was not ready without a fault, after {when:?}"));
                }
            }
        }
    }
}

fn add(sum: &mut Counts, one: Counts) {
    sum.heard += one.heard;
    sum.lost += one.lost;
    sum.doubled += one.doubled;
    sum.disordered += one.disordered;
    sum.gaps += one.gaps;
    sum.not_recovered += one.not_recovered;
}
