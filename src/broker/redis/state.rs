//! What the link and its handles share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, Semaphore, watch};

use super::super::Health;
use super::super::delivery::Delivery;
use super::clock::ClockSample;
use super::function::Availability;
use super::loss::Loss;
use super::options::RedisOptions;
use super::rejected::Rejected;
use crate::metrics::Metrics;
use crate::protocol::position::Position;

/// How many publications may wait for Redis' answer. Each holds its message in memory; at a millisecond per
/// round trip this is a million messages a second.
const MAX_PUBLISHING: usize = 1024;

/// How many clients may read what they have missed at the same time, so that a storm of them neither fills
/// Redis' queue nor our memory: with pages of short messages each holds tens of kilobytes.
const MAX_RECOVERING: usize = 64;

/// How far the link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first connection is being made.
    Connecting,
    /// Connected; subscribing, or waiting for the first probe to be heard. With what ended the attempt before
    /// it, which may end this one too.
    Proving(Option<Loss>),
    /// The latest probe was heard.
    Ready,
    /// Lost, or never made; the next attempt comes.
    Down(Loss),
    /// Shut down.
    Stopped,
}

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
    /// The connection for commands while the link is up. Its driver runs on the link's thread; a clone only
    /// sends to it, from any thread.
    pub(super) commands: watch::Sender<Option<MultiplexedConnection>>,
    /// Rung when a publication found the connection broken: do not wait for the next probe to find it too.
    pub(super) suspect: Notify,
    role_is_unknown: AtomicBool,
    /// Payloads that are to be put where a person can find them.
    pub(super) rejected: Rejected,
    /// Whether this process has once seen to it that Redis has the function.
    pub(super) is_function_settled: AtomicBool,
    availability: watch::Sender<Availability>,
    clock: watch::Sender<Option<ClockSample>>,
    stage: watch::Sender<Stage>,
    stopping: AtomicBool,
    stop: Notify,
}

impl State {
    pub(super) fn new(options: RedisOptions, metrics: &Metrics) -> Self {
        Self {
            options,
            delivery: Delivery::new(metrics),
            probe: format!("probe/{:032x}", rand::random::<u128>()),
            publishing: Semaphore::new(MAX_PUBLISHING),
            recovering: Semaphore::new(MAX_RECOVERING),
            commands: watch::Sender::new(None),
            suspect: Notify::new(),
            role_is_unknown: AtomicBool::new(false),
            rejected: Rejected::new(metrics),
            is_function_settled: AtomicBool::new(false),
            availability: watch::Sender::new(Availability::Unknown),
            clock: watch::Sender::new(None),
            stage: watch::Sender::new(Stage::Connecting),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        }
    }

    /// Notes how far the link is; returns what it was.
    pub(super) fn set_stage(&self, stage: Stage) -> Stage {
        self.delivery.metrics.link_up.set((stage == Stage::Ready).into());
        self.stage.send_replace(stage)
    }

    /// Whether the link has been proven and not lost since.
    pub(super) fn is_proven(&self) -> bool {
        *self.stage.borrow() == Stage::Ready
    }

    /// Notes that the link is connected.
    pub(super) fn set_proving(&self) {
        self.stage.send_modify(|stage| {
            let before = match std::mem::replace(stage, Stage::Connecting) {
                Stage::Down(loss) => Some(loss),
                _ => None,
            };
            *stage = Stage::Proving(before);
        });
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
        self.availability.borrow().note().into_iter().collect()
    }

    pub(super) fn set_clock(&self, sample: ClockSample) {
        self.clock.send_replace(Some(sample));
    }

    pub(super) fn position_now(&self) -> Position {
        let sample = *self.clock.borrow();
        Position::before(sample.map_or(0, |sample| sample.at(Instant::now())))
    }

    pub(super) fn health(&self) -> Health {
        let (state, reason) = match &*self.stage.borrow() {
            Stage::Ready => return Health { ready: true, state: "ready", reasons: Vec::new() },
            Stage::Connecting => ("connecting", "connecting for the first time".into()),
            Stage::Proving(None) => ("proving", "connected, but no probe was heard yet".into()),
            Stage::Proving(Some(loss)) => {
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
