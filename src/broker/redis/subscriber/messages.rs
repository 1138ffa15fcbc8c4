//! Receives what the server sends, in its order.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::ReadHalf;
use tokio::task::yield_now;

use super::super::link_error::LinkError;
use super::batch::{Origin, PendingBatch};
use super::buffer::ReadBuffer;
use super::frame::RespFrame;
use super::transport::ServerStream;

/// After this many bytes, the other activities of the link's thread get a turn.
const MAX_BYTES_AT_ONCE: usize = 256 * 1024;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum SubscriberEvent<'a> {
    /// A message on a subscribed channel.
    Message {
        /// The channel, with its prefix.
        channel: &'a str,
        payload: &'a [u8],
    },
    /// The server ended the subscription of a channel, because the channel's slot has left it.
    SlotLeft {
        /// The channel, with its prefix.
        channel: &'a str,
    },
}

/// The receiving part of a subscriber's connection.
pub(in super::super) struct Messages {
    reader: ReadHalf<ServerStream>,
    buffer: ReadBuffer,
    batch: Arc<Mutex<PendingBatch>>,
    /// Bytes read since the last yield.
    unyielded: usize,
}

impl Messages {
    pub(super) fn new(
        reader: ReadHalf<ServerStream>,
        buffer: ReadBuffer,
        batch: Arc<Mutex<PendingBatch>>,
    ) -> Self {
        Self { reader, buffer, batch, unyielded: 0 }
    }

    /// The next event. A call means that the caller has handled the events before it, so a batch ends after the
    /// messages that the server sent before its answer. Cancel safe.
    ///
    /// Nothing is queued here: messages that are not handled yet wait in TCP's buffers and then in Redis' output
    /// buffer, which has a limit (`client-output-buffer-limit pubsub`).
    ///
    /// # Errors
    /// The connection ended, or the server sent an error that ends the link.
    pub(in super::super) async fn next(&mut self) -> Result<SubscriberEvent<'_>, LinkError> {
        loop {
            match self.buffer.next_frame().map_err(|_| LinkError::Closed)? {
                None => self.read().await?,
                Some(RespFrame::Message { channel, payload }) => {
                    let (channel, payload) = (self.buffer.channel(channel), self.buffer.bytes(payload));
                    return Ok(SubscriberEvent::Message { channel, payload });
                }
                Some(RespFrame::Changed { change, channel }) => {
                    let origin = self.batch.lock().changed(change, self.buffer.channel(channel.clone()));
                    match origin {
                        Origin::Batch => {}
                        Origin::Server => {
                            return Ok(SubscriberEvent::SlotLeft { channel: self.buffer.channel(channel) });
                        }
                        Origin::Unknown => return Err(LinkError::Closed),
                    }
                }
                Some(RespFrame::Error(error)) => {
                    let error = String::from_utf8_lossy(self.buffer.bytes(error));
                    self.batch.lock().failed(&error)?;
                }
                Some(RespFrame::Status) => return Err(LinkError::Closed),
            }
        }
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        if self.unyielded >= MAX_BYTES_AT_ONCE {
            self.unyielded = 0;
            yield_now().await;
        }
        match self.buffer.read(&mut self.reader).await {
            Ok(read) if read > 0 => {
                self.unyielded += read;
                Ok(())
            }
            Ok(_) | Err(_) => Err(LinkError::Closed),
        }
    }
}
