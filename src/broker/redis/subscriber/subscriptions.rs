//! Subscribes and unsubscribes, one batch of commands at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, WriteHalf};

use super::super::link_error::LinkError;
use super::batch::{Confirmed, PendingBatch};
use super::command::encode;
use super::frame::Change;
use super::transport::Transport;
use crate::timeout::timeout_awake;

/// Commands are written in parts of about this size.
const PART_BYTES: usize = 64 * 1024;

/// How channels are subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// `SUBSCRIBE`: any server of a cluster has every message of `PUBLISH`.
    Plain,
    /// `SSUBSCRIBE`: the owner of the channel's slot has the messages of `SPUBLISH`.
    #[allow(dead_code, reason = "sharded links follow")]
    Sharded,
}

/// The sending part of a subscriber's connection. After an error the connection is of no use.
pub(in super::super) struct Subscriptions {
    writer: WriteHalf<Transport>,
    batch: Arc<Mutex<PendingBatch>>,
    kind: Kind,
    /// The channel whose repeated subscription ends each batch.
    fence: Arc<str>,
    response_timeout: Duration,
}

impl Subscriptions {
    pub(super) fn new(
        writer: WriteHalf<Transport>,
        batch: Arc<Mutex<PendingBatch>>,
        (kind, fence): (Kind, &str),
        response_timeout: Duration,
    ) -> Self {
        Self { writer, batch, kind, fence: fence.into(), response_timeout }
    }

    /// Subscribes, with one command for each channel. Returns when Redis has answered them all. The answers arrive only
    /// while `Messages::next` is polled.
    ///
    /// # Errors
    /// The link must end. This includes a Redis user that may not subscribe to the probe's channel either.
    pub(in super::super) async fn subscribe(&mut self, channels: &[String]) -> Result<Confirmed, LinkError> {
        self.run(Change::Subscribed, channels).await
    }

    /// Unsubscribes. Returns when Redis has answered and the channels' last message has been handled.
    ///
    /// # Errors
    /// The link must end.
    pub(in super::super) async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), LinkError> {
        self.run(Change::Unsubscribed, channels).await.map(drop)
    }

    /// Writes a batch and waits for its answers, for at most `response_timeout`.
    async fn run(&mut self, change: Change, channels: &[String]) -> Result<Confirmed, LinkError> {
        if channels.is_empty() {
            return Ok(Confirmed::default());
        }
        let channels: Arc<[String]> = channels.into();
        let result = self.batch.lock().begin(change, &channels, &self.fence)?;
        let bound = self.response_timeout;
        let exchange = async {
            if let Err(error) = self.write(change, &channels).await {
                // Receiving ends as well, and may find a reason that the server sent.
                log::debug!("redis: writing subscriptions failed: {error}");
            }
            result.await.unwrap_or(Err(LinkError::Closed))
        };
        timeout_awake(bound, exchange).await.unwrap_or(Err(LinkError::SubscribeTimeout(bound)))
    }

    async fn write(&mut self, change: Change, channels: &[String]) -> io::Result<()> {
        let (name, subscribe) = match (self.kind, change) {
            (Kind::Plain, Change::Subscribed) => ("SUBSCRIBE", "SUBSCRIBE"),
            (Kind::Plain, Change::Unsubscribed) => ("UNSUBSCRIBE", "SUBSCRIBE"),
            (Kind::Sharded, Change::Subscribed) => ("SSUBSCRIBE", "SSUBSCRIBE"),
            (Kind::Sharded, Change::Unsubscribed) => ("SUNSUBSCRIBE", "SSUBSCRIBE"),
        };
        let mut part = Vec::new();
        for channel in channels {
            encode(&mut part, &[name, channel]);
            if part.len() >= PART_BYTES {
                self.writer.write_all(&part).await?;
                part.clear();
            }
        }
        encode(&mut part, &[subscribe, &self.fence]);
        self.writer.write_all(&part).await?;
        self.writer.flush().await
    }
}
