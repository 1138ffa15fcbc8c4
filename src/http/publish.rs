//! Publishes messages for backends without Redis access.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::AuthorizedBody;
use super::{AdminState, ApiError, MAX_BATCH};
use crate::broker::{PublishError, PublishRequest, Published, Retry};
use protocol::channel::ChannelName;

/// One message for one channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublishItem<'a> {
    channel: String,
    /// Published byte for byte.
    #[serde(borrow)]
    message: &'a RawValue,
    /// Whether the history of the channel keeps the message.
    #[serde(default)]
    durable: bool,
    /// A message is published once, even if it is sent again with the same key.
    idempotency_key: Option<String>,
    /// Whether to hand the message to push if the user is away.
    #[serde(default)]
    push: bool,
}

/// Many messages, each for any channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest<'a> {
    #[serde(borrow)]
    messages: Vec<PublishItem<'a>>,
}

/// `POST /v1/publish`
pub(super) async fn one(
    admin: web::Data<AdminState>,
    AuthorizedBody(body): AuthorizedBody,
) -> Result<HttpResponse, ApiError> {
    let publish: PublishItem<'_> = parse(&body)?;
    let outcome = admin.publish(std::slice::from_ref(&publish)).await.pop();
    let published = outcome.unwrap_or_else(|| Err(PublishError::Unavailable.into()))?;
    Ok(HttpResponse::Ok().json(published_json(published)))
}

/// `POST /v1/publish/batch`: messages of one channel are published in order. Each message has its own result, and a
/// failed message does not affect the others.
pub(super) async fn batch(
    admin: web::Data<AdminState>,
    AuthorizedBody(body): AuthorizedBody,
) -> Result<HttpResponse, ApiError> {
    let batch: BatchRequest<'_> = parse(&body)?;
    if batch.messages.len() > MAX_BATCH {
        return Err(ApiError::BatchTooLong);
    }
    let outcomes = admin.publish(&batch.messages).await.into_iter();
    let results: Vec<_> =
        outcomes.map(|outcome| outcome.map_or_else(|error| error.to_json(), published_json)).collect();
    Ok(HttpResponse::Ok().json(json!({ "results": results })))
}

impl AdminState {
    /// Publishes in order. Returns one result for each message.
    pub(super) async fn publish(&self, messages: &[PublishItem<'_>]) -> Vec<Result<Published, ApiError>> {
        let channels: Vec<_> = messages.iter().map(PublishItem::channel).collect();
        let requests: Vec<_> = messages.iter().zip(&channels).filter_map(PublishItem::request).collect();
        // Publications that wait for Redis keep their connections, and health checks need free ones.
        let retry = if self.is_crowded() { Retry::Never } else { Retry::Allowed };
        let mut outcomes = self.broker.publish_all(&requests, retry).await.into_iter();
        let outcomes = channels.into_iter().map(|channel| {
            channel?;
            let published = outcomes.next().unwrap_or(Err(PublishError::Unavailable))?;
            self.metrics.publications_accepted.inc();
            Ok(published)
        });
        outcomes.collect()
    }
}

impl PublishItem<'_> {
    fn channel(&self) -> Result<ChannelName, ApiError> {
        let channel = ChannelName::parse(&self.channel)?;
        if self.idempotency_key.is_some() && !self.durable {
            return Err(ApiError::KeyWithoutDurable);
        }
        Ok(channel)
    }

    /// `None` if the channel is invalid.
    fn request<'a>(
        (publish, channel): (&'a Self, &'a Result<ChannelName, ApiError>),
    ) -> Option<PublishRequest<'a>> {
        let channel = channel.as_ref().ok()?;
        let durable = publish.durable.then_some(publish.idempotency_key.as_deref());
        Some(PublishRequest { channel, message: publish.message, durable, push: publish.push })
    }
}

pub(super) fn published_json(published: Published) -> serde_json::Value {
    match published {
        Published::Durably(position) => json!({"position": position.to_string()}),
        Published::WithPush { position, is_pushed } => {
            json!({"position": position.to_string(), "pushed": is_pushed})
        }
        Published::Plainly { replicas } => json!({"replicas": replicas}),
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::BadBody(error.to_string()))
}
