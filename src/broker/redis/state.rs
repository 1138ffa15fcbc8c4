//! What the link and its handles share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, Semaphore, watch};

use super::super::Health;
use super::super::delivery::Delivery;
use super::clock::ClockSample;
use super::dataset::KnownDataset;
use super::function::Availability;
use super::loss::Loss;
use super::options::RedisOptions;
use super::outage::Outages;
use super::rejected::Rejected;
use super::stage::{Stage, Stages};
use crate::metrics::Metrics;
use protocol::position::Position;

/// How many publications may wait for Redis' answer. Each holds its message in memory; at a millisecond per
/// round trip this is a million messages a second.
const MAX_PUBLISHING: usize = 1024;

/// How many clients may read what they have missed at the same time, so that a storm of them neither fills
/// Redis' queue nor our memory: with pages of short messages each holds tens of kilobytes.
const MAX_RECOVERING: usize = 64;

/// Shared by the link's thread and all handles.
pub(super) struct State {
    pub(super) options: RedisOptions,
    pub(super) delivery: Delivery,
    /// The channel, after the prefix, of this process' own probes. It has no namespace, so no session can be on
    /// it, and nobody can guess it.
    pub(super) probe: String,
    /// Waiting for an answer to a publication needs one of these.
    pub(super) publishing: Semaphore,
    /// Recovering a client's messages needs one of these.
    pub(super) recovering: Semaphore,
    /// How far the link is, with its connection for commands. The connection's driver runs on the link's thread; a
    /// clone only sends to it, from any thread.
    pub(super) stages: Stages<MultiplexedConnection>,
    /// Rung when a publication found the connection broken: do not wait for the next probe to find it too.
    pub(super) suspect: Notify,
    role_is_unknown: AtomicBool,
    /// Payloads that are to be put where a person can find them.
    pub(super) rejected: Rejected,
    /// Whether this process has once seen to it that Redis has the function.
    pub(super) is_function_settled: AtomicBool,
    availability: watch::Sender<Availability>,
    /// The settings in force for the data, and what is to be said about it.
    pub(super) dataset: KnownDataset,
    pub(super) outages: Outages,
    clock: watch::Sender<Option<ClockSample>>,
    stopping: AtomicBool,
    stop: Notify,
}

impl State {
    pub(super) fn new(options: RedisOptions, metrics: &Metrics) -> Self {
        Self {
            dataset: KnownDataset::new(&options),
            options,
            delivery: Delivery::new(metrics),
            probe: format!("probe/{:032x}", rand::random::<u128>()),
            publishing: Semaphore::new(MAX_PUBLISHING),
            recovering: Semaphore::new(MAX_RECOVERING),
            stages: Stages::new(),
            suspect: Notify::new(),
            role_is_unknown: AtomicBool::new(false),
            rejected: Rejected::new(metrics),
            is_function_settled: AtomicBool::new(false),
            availability: watch::Sender::new(Availability::Unknown),
            outages: Outages::default(),
            clock: watch::Sender::new(None),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        }
    }

    /// The connection for commands, while the link is up.
    pub(super) fn commands(&self) -> Option<MultiplexedConnection> {
        self.stages.line().map(|line| line.commands)
    }

    /// Notes that the latest probe was heard. Whether it was the first one of this link.
    pub(super) fn set_proven(&self) -> bool {
        self.delivery.metrics.link_up.set(1);
        self.stages.proven()
    }

    /// Notes that there is no link, and why; `None`: nobody wants one any more. Returns how far it was.
    pub(super) fn set_down(&self, loss: Option<Loss>) -> Stage<MultiplexedConnection> {
        self.delivery.metrics.link_up.set(0);
        self.stages.taken_down(loss)
    }

    /// Notes that Redis' role cannot be asked for. Whether that is news.
    pub(super) fn say_role_is_unknown(&self) -> bool {
        !self.role_is_unknown.swap(true, Ordering::Relaxed)
    }

    /// Notes whether durable publishing is possible; says so when that changes.
    pub(super) fn set_availability(&self, availability: Availability) {
        self.delivery.metrics.history_available.set((availability == Availability::Available).into());
        let before = self.availability.send_replace(availability.clone());
        if before == availability {
            return;
        }
        match availability.note() {
            None => log::info!("redis: durable publishing is possible"),
            Some(note) => log::warn!("redis: {note}"),
        }
    }

    /// What an operator should know though it keeps nothing from being delivered.
    pub(super) fn notes(&self) -> Vec<String> {
        let availability = self.availability.borrow().note();
        availability.into_iter().chain(self.dataset.notes()).collect()
    }

    pub(super) fn set_clock(&self, sample: ClockSample) {
        self.clock.send_replace(Some(sample));
    }

    pub(super) fn position_now(&self) -> Position {
        let sample = *self.clock.borrow();
        Position::before(sample.map_or(0, |sample| sample.at(Instant::now())))
    }

    pub(super) fn health(&self) -> Health {
        let (state, reason) = match &*self.stages.now() {
            Stage::Ready(_) => return Health { ready: true, state: "ready", reasons: Vec::new() },
            Stage::Connecting => ("connecting", "connecting for the first time".into()),
            Stage::Proving { before: None, .. } => {
                ("proving", "connected, but no probe was heard yet".into())
            }
            Stage::Proving { before: Some(loss), .. } => {
                ("proving", format!("connected again, but no probe was heard yet (before: {loss})"))
            }
            Stage::Down(loss) => ("down", loss.to_string()),
            Stage::Stopped => ("stopped", "the broker is stopped".into()),
        };
        Health { ready: false, state, reasons: vec![format!("redis: {reason}")] }
    }

    /// Asks the link to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_one();
    }

    /// Returns when the link is to end.
    pub(super) async fn stopped(&self) {
        while !self.stopping.load(Ordering::Acquire) {
            self.stop.notified().await;
        }
    }
}
