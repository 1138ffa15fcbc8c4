//! Publishing, for backends without Redis access.

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::Body;
use super::{Admin, ApiError, MAX_BATCH};
use crate::protocol::channel::ChannelName;
use crate::protocol::position::Position;

/// One message for one channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    channel: String,
    /// Kept byte for byte.
    #[serde(borrow)]
    message: &'a RawValue,
    /// To be kept in the channel's history.
    #[serde(default)]
    durable: bool,
    /// Published once, however often it is sent with this key.
    idempotency_key: Option<String>,
}

/// Many messages, each for a channel of its own choice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<Publish<'a>>,
}

/// `POST /v1/publish`
pub(super) async fn one(
    admin: web::Data<Admin>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    admin.key.check(&request)?;
    let publish: Publish<'_> = parse(&body)?;
    let position = admin.publish(&publish).await?;
    Ok(HttpResponse::Ok().json(success(position)))
}

/// `POST /v1/publish/batch`: published in order; each gets its own result, and one that fails does not keep
/// the others back.
pub(super) async fn batch(
    admin: web::Data<Admin>,
    request: HttpRequest,
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    admin.key.check(&request)?;
    let batch: Batch<'_> = parse(&body)?;
    if batch.messages.len() > MAX_BATCH {
        return Err(ApiError::BatchTooLong);
    }
    // All are on their way before the first is answered; each is started in its turn, which keeps their order.
    let outcomes = join_all(batch.messages.iter().map(|publish| admin.publish(publish))).await;
    let results: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.map_or_else(|error| error.to_json(), success)).collect();
    Ok(HttpResponse::Ok().json(json!({ "results": results })))
}

impl Admin {
    /// Returns the place of a durable message.
    async fn publish(&self, publish: &Publish<'_>) -> Result<Option<Position>, ApiError> {
        let channel = ChannelName::parse(&publish.channel)?;
        let key = publish.idempotency_key.as_deref();
        let position = match (publish.durable, key) {
            (true, key) => Some(self.broker.publish_durable(&channel, publish.message, key).await?),
            (false, None) => {
                self.broker.publish(&channel, publish.message).await?;
                None
            }
            (false, Some(_)) => return Err(ApiError::KeyWithoutDurable),
        };
        self.metrics.publications_accepted.inc();
        Ok(position)
    }
}

fn success(position: Option<Position>) -> serde_json::Value {
    position.map_or_else(|| json!({}), |position| json!({"position": position.to_string()}))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::BadBody(error.to_string()))
}
