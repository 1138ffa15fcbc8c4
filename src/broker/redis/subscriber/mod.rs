//! The subscriber's own connection: subscribes, and receives messages, in the order in which Redis sends both.
//!
//! redis-rs is not used here, because it queues messages without a bound, does not receive `smessage`, and hides a
//! pushed `sunsubscribe` (docs/decisions.md).
//!
//! # Layout, lowest first
//!
//! - `frame`: splits bytes into frames.
//! - `buffer`: the bytes that were read.
//! - `command`: encodes commands.
//! - `refusal`: why a channel was not subscribed.
//! - `batch`: assigns answers to the batch of commands that waits for them.
//! - `transport`: connects with TCP, TLS or a unix socket.
//! - `handshake`: logs in.
//! - `messages`: receives.
//! - `subscriptions`: subscribes and unsubscribes.

mod batch;
mod buffer;
mod command;
mod frame;
mod handshake;
mod messages;
mod refusal;
mod subscriptions;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ConnectionInfo, RedisResult};
use rustls::ClientConfig;

use buffer::ReadBuffer;
use transport::ServerStream;

pub(super) use batch::Confirmed;
pub(super) use messages::{Messages, SubscriberEvent};
pub(super) use refusal::ChannelRefusal;
pub(super) use subscriptions::{SubscribeKind, Subscriptions};

/// Connects and logs in. `tls` is needed for an address with TLS; `channels` says how channels are subscribed, and has the
/// channel of the probe with its prefix. The caller bounds the time.
pub(super) async fn connect(
    info: &ConnectionInfo,
    tls: Option<&Arc<ClientConfig>>,
    channels: (SubscribeKind, &str),
    response_timeout: Duration,
) -> RedisResult<(Subscriptions, Messages)> {
    let (mut transport, mut buffer) = (transport::connect(info, tls).await?, ReadBuffer::new());
    handshake::log_in(&mut transport, &mut buffer, info.redis_settings()).await?;
    Ok(split(transport, buffer, channels, response_timeout))
}

fn split(
    transport: ServerStream,
    buffer: ReadBuffer,
    channels: (SubscribeKind, &str),
    response_timeout: Duration,
) -> (Subscriptions, Messages) {
    let (reader, writer) = tokio::io::split(transport);
    let batch = Arc::<Mutex<_>>::default();
    let messages = Messages::new(reader, buffer, Arc::clone(&batch));
    (Subscriptions::new(writer, batch, channels, response_timeout), messages)
}
