//! Clients that are offline for a while, again and again, and the messages that they miss.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::Worker;
use crate::clients::CONNECTING;
use crate::latency::Latencies;

/// The phase of the latencies from the return of a client until it has all messages that it missed.
pub(crate) const REPLAY_PHASE: u8 = 4;

/// When clients are offline. All times are in microseconds since the start of the generator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AbsencePlan {
    pub(crate) start_us: u64,
    /// No absence begins at or after this time.
    pub(crate) end_us: u64,
    /// The time from the beginning of an absence to that of the next one of the same client.
    pub(crate) period_us: u64,
    /// The duration of an absence.
    pub(crate) offline_us: u64,
    /// The number of clients over whom the beginnings are spread evenly.
    pub(crate) clients: usize,
}

impl AbsencePlan {
    /// The first absence of a client.
    fn first_us(&self, index: usize) -> u64 {
        self.start_us + (index as f64 * self.period_us as f64 / self.clients as f64) as u64
    }
}

/// The absences of the clients of one thread.
#[derive(Default)]
pub(super) struct Absences {
    plan: Option<AbsencePlan>,
    /// The clients that leave and return next, in the order of time.
    leaving: VecDeque<(u64, usize)>,
    returning: VecDeque<(u64, usize)>,
}

impl Absences {
    /// The number of clients that have yet to leave or to return.
    fn pending(&self) -> u64 {
        (self.leaving.len() + self.returning.len()) as u64
    }

    fn next_due_us(&self) -> Option<u64> {
        let fronts = [self.leaving.front(), self.returning.front()];
        fronts.into_iter().flatten().map(|(due_us, _)| *due_us).min()
    }
}

/// Removes the first client if it is due.
fn pop_due(queue: &mut VecDeque<(u64, usize)>, now_us: u64) -> Option<(u64, usize)> {
    let (due_us, _) = queue.front()?;
    if *due_us <= now_us { queue.pop_front() } else { None }
}

/// The messages that a client has and misses.
#[derive(Default)]
pub(super) struct Missed {
    /// The number of different messages since the absences began.
    received: u64,
    /// The due time of the last message. It grows from message to message, so it shows duplicates and a wrong order.
    last_us: u64,
    /// The number of messages that were published before the last return and have not arrived.
    missing: u64,
}

/// What the clients of a thread missed and received, for the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AbsenceCounts {
    pub(crate) absences: u64,
    /// Messages that clients missed while they were offline.
    pub(crate) missed: u64,
    /// Missing, duplicated and disordered deliveries.
    pub(crate) wrong: u64,
    /// Clients that have yet to leave or to return.
    pub(crate) pending: u64,
}

impl AbsenceCounts {
    /// The sum of the counts of two threads.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            absences: self.absences + other.absences,
            missed: self.missed + other.missed,
            wrong: self.wrong + other.wrong,
            pending: self.pending + other.pending,
        }
    }
}

impl Worker {
    /// Lets the clients be offline as planned. From now on, each client is expected to get every message.
    pub(crate) fn begin_absences(&mut self, plan: AbsencePlan) {
        self.latencies[usize::from(CONNECTING)] = Latencies::default();
        let mut leaving: Vec<_> = (0..self.clients.len())
            .filter(|at| self.clients[*at].index < plan.clients)
            .map(|at| (plan.first_us(self.clients[at].index), at))
            .filter(|(due_us, _)| *due_us < plan.end_us)
            .collect();
        leaving.sort_unstable();
        let missed = (0..self.clients.len()).map(|_| Missed::default()).collect();
        (self.missed, self.absence_counts) = (missed, AbsenceCounts::default());
        self.absences = Absences { plan: Some(plan), leaving: leaving.into(), returning: VecDeque::new() };
    }

    /// The time until the next client leaves or returns.
    pub(super) fn pause_of_absences(&self) -> Option<Duration> {
        let due_us = self.absences.next_due_us()?;
        Some(Duration::from_micros(due_us.saturating_sub(self.elapsed_us())))
    }

    /// Disconnects and connects the clients that are due.
    pub(super) fn apply_absences(&mut self) {
        let Some(plan) = self.absences.plan else { return };
        let now_us = self.elapsed_us();
        while let Some((due_us, at)) = pop_due(&mut self.absences.leaving, now_us) {
            self.leave(at);
            self.retries.retain(|(_, waiting)| *waiting != at);
            self.absence_counts.absences += 1;
            self.absences.returning.push_back((due_us + plan.offline_us, at));
            if due_us + plan.period_us < plan.end_us {
                self.absences.leaving.push_back((due_us + plan.period_us, at));
            }
        }
        while let Some((_, at)) = pop_due(&mut self.absences.returning, now_us) {
            let published = self.counts.published.load(SeqCst);
            let missed = &mut self.missed[at];
            missed.missing = published.saturating_sub(missed.received);
            self.absence_counts.missed += missed.missing;
            self.clients[at].due_us = self.elapsed_us();
            self.connect(at);
        }
    }

    /// Counts a message of the client, which was due at `at_us`. The last one that it missed ends the replay.
    pub(super) fn count_received(&mut self, at: usize, at_us: u64) {
        let Some(missed) = self.missed.get_mut(at) else { return };
        if at_us <= missed.last_us {
            self.absence_counts.wrong += 1;
            return;
        }
        (missed.received, missed.last_us) = (missed.received + 1, at_us);
        if missed.missing > 0 {
            missed.missing -= 1;
            if missed.missing == 0 {
                let back_us = self.clients[at].due_us;
                let latency_us = self.now_us.saturating_sub(back_us);
                self.latencies[usize::from(REPLAY_PHASE)].record(back_us, latency_us);
            }
        }
    }

    /// What the clients of this thread missed and received, if each should have this number of messages.
    pub(crate) fn absence_counts(&self, published: u64) -> AbsenceCounts {
        let missing: u64 = self.missed.iter().map(|missed| published.abs_diff(missed.received)).sum();
        let wrong = self.absence_counts.wrong + missing;
        AbsenceCounts { wrong, pending: self.absences.pending(), ..self.absence_counts }
    }
}
