//! Subscribes and unsubscribes, one batch of commands at a time.

use std::io;
use std::slice::Chunks;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt as _, WriteHalf};

use super::super::link_error::LinkError;
use super::batch::{Confirmed, PendingBatch};
use super::command::encode;
use super::frame::Change;
use super::transport::ServerStream;
use crate::timeout::timeout_awake;

/// Commands are written in parts of about this size.
const PART_BYTES: usize = 64 * 1024;

/// How channels are subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum SubscribeKind {
    /// `SUBSCRIBE`: any server of a cluster has every message of `PUBLISH`.
    Plain,
    /// `SSUBSCRIBE`: the owner of the channel's slot has the messages of `SPUBLISH`.
    Sharded,
}

/// The sending part of a subscriber's connection. After an error the connection is of no use.
pub(in super::super) struct Subscriptions {
    writer: WriteHalf<ServerStream>,
    batch: Arc<Mutex<PendingBatch>>,
    kind: SubscribeKind,
    /// The channel of the probe, with its prefix.
    fence: Arc<str>,
    response_timeout: Duration,
}

impl Subscriptions {
    pub(super) fn new(
        writer: WriteHalf<ServerStream>,
        batch: Arc<Mutex<PendingBatch>>,
        (kind, fence): (SubscribeKind, &str),
        response_timeout: Duration,
    ) -> Self {
        Self { writer, batch, kind, fence: fence.into(), response_timeout }
    }

    /// Subscribes. Returns when Redis has answered for each channel. The answers arrive only while `Messages::next` is
    /// polled.
    ///
    /// Redis refuses a whole command for one of its channels, so the channels of a refused command get a command each.
    ///
    /// # Errors
    /// The link must end. This includes a Redis user that may not subscribe to the probe's channel either.
    pub(in super::super) async fn subscribe(&mut self, channels: &[String]) -> Result<Confirmed, LinkError> {
        let width = self.kind.width();
        let confirmed = self.run(Change::Subscribed, channels, width).await?;
        if width == 1 || confirmed.refused.is_empty() {
            return Ok(confirmed);
        }
        let refused: Vec<_> = confirmed.refused.into_iter().map(|(channel, _)| channel).collect();
        self.run(Change::Subscribed, &refused, 1).await
    }

    /// Unsubscribes. Returns when Redis has answered and the channels' last message has been handled.
    ///
    /// # Errors
    /// The link must end.
    pub(in super::super) async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), LinkError> {
        self.run(Change::Unsubscribed, channels, self.kind.width()).await.map(drop)
    }

    /// Writes a batch and waits for its answers, for at most `response_timeout`. A command has `width` channels.
    /// Commands of one channel each may be refused, so a fence shows whether the Redis user may subscribe at all.
    async fn run(
        &mut self,
        change: Change,
        channels: &[String],
        width: usize,
    ) -> Result<Confirmed, LinkError> {
        if channels.is_empty() {
            return Ok(Confirmed::default());
        }
        let channels: Arc<[String]> = channels.into();
        let fence = (width == 1).then(|| Arc::clone(&self.fence));
        let result = self.batch.lock().begin(change, &channels, width, fence.clone())?;
        let bound = self.response_timeout;
        let exchange = async {
            if let Err(error) = self.write(change, channels.chunks(width), fence.as_deref()).await {
                // Receiving ends as well, and may find a reason that the server sent.
                log::debug!("redis: writing subscriptions failed: {error}");
            }
            result.await.map_err(|_| LinkError::Closed)
        };
        timeout_awake(bound, exchange).await.unwrap_or(Err(LinkError::SubscribeTimeout(bound)))
    }

    async fn write(
        &mut self,
        change: Change,
        commands: Chunks<'_, String>,
        fence: Option<&str>,
    ) -> io::Result<()> {
        let (subscribe, unsubscribe) = self.kind.commands();
        let name = if change == Change::Subscribed { subscribe } else { unsubscribe };
        let mut part = Vec::new();
        for channels in commands {
            encode(&mut part, name, channels);
            if part.len() >= PART_BYTES {
                self.writer.write_all(&part).await?;
                part.clear();
            }
        }
        if let Some(fence) = fence {
            encode(&mut part, subscribe, &[fence]);
        }
        self.writer.write_all(&part).await?;
        self.writer.flush().await
    }
}

impl SubscribeKind {
    /// The most channels of one command. The channels of a sharded command must share a slot, even at one server.
    const fn width(self) -> usize {
        match self {
            Self::Plain => 512,
            Self::Sharded => 1,
        }
    }

    /// The commands that subscribe and unsubscribe.
    const fn commands(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("SUBSCRIBE", "UNSUBSCRIBE"),
            Self::Sharded => ("SSUBSCRIBE", "SUNSUBSCRIBE"),
        }
    }
}
