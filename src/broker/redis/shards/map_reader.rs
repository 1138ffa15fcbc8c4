//! Reads the map of the slots: until there is one, and then when it may have changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::super::cluster::SlotMap;
use super::super::connect::read_slot_map;
use super::super::link::Reported;
use super::super::link_error::LinkError;
use super::super::links::RedisLinks;
use crate::backoff::Backoff;

/// At most one read in this time. One loss can make many channels ask for a read.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// How often to read while a master has no healthy link, because another server may become the master.
const REPAIR_INTERVAL: Duration = Duration::from_millis(500);

/// Reads the map. There is at most one read at a time.
pub(super) struct MapReader<'a> {
    links: &'a RedisLinks,
    backoff: Backoff,
    /// Names the cluster in messages.
    address: &'a str,
    /// When the last read began.
    started: Option<Instant>,
    /// Whether that read was not finished, because the caller stopped waiting.
    is_interrupted: bool,
    /// Which failures were logged since the last map.
    reported: Reported,
}

impl<'a> MapReader<'a> {
    pub(super) fn new(links: &'a RedisLinks, backoff: Backoff, address: &'a str) -> Self {
        Self { links, backoff, address, started: None, is_interrupted: false, reported: Reported::default() }
    }

    /// Waits until the map may have changed, and reads it. Cancel safe.
    pub(super) async fn next(&mut self) -> Arc<SlotMap> {
        loop {
            self.wait().await;
            (self.started, self.is_interrupted) = (Some(Instant::now()), true);
            let read = read_slot_map(&self.links.process).await;
            self.is_interrupted = false;
            match read {
                Ok(map) => {
                    self.backoff.reset();
                    self.reported = Reported::default();
                    return map;
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// Waits until a read is due.
    async fn wait(&mut self) {
        let Some(started) = self.started else { return };
        if self.links.routes().failure().is_some() {
            sleep(self.backoff.next(&mut rand::rng())).await;
            return;
        }
        if !self.is_interrupted {
            let interval = self.interval().mul_f64(rand::random_range(0.8..1.2));
            tokio::select! {
                () = self.links.process.map_stale.notified() => {}
                () = sleep(interval.saturating_sub(started.elapsed())) => {}
            }
        }
        sleep(MIN_INTERVAL.saturating_sub(started.elapsed())).await;
    }

    /// The time between two reads without a reason.
    fn interval(&self) -> Duration {
        if self.links.health().is_ready && self.links.routes().unowned() == 0 {
            self.links.process.options.history_check_interval
        } else {
            REPAIR_INTERVAL
        }
    }

    /// Notes that no map was read. The links go on with the map before.
    fn failed(&mut self, error: &LinkError) {
        // The nodes fail in different ways, so the text may change at each read.
        let level = match self.reported.is_due(error.reason(), Instant::now()) {
            None => log::Level::Debug,
            Some(_) if error.needs_an_operator() => log::Level::Error,
            Some(_) => log::Level::Warn,
        };
        log::log!(level, "redis: the slots of {} cannot be read: {error}", self.address);
        super::apply::note_failure(self.links, &error.to_string());
    }
}
