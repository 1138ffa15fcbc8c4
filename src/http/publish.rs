//! Publishing, for backends without Redis access.

use std::future::poll_fn;
use std::task::Poll;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::maybe_done;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::Body;
use super::{Admin, ApiError, MAX_BATCH};
use protocol::channel::ChannelName;
use protocol::position::Position;

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
    let published = admin.publish(&publish).await?;
    Ok(HttpResponse::Ok().json(published.to_json()))
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
    let outcomes = in_order(batch.messages.iter().map(|publish| admin.publish(publish))).await;
    let results: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| error.to_json(), |published| published.to_json()))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "results": results })))
}

/// Waits for all. Each is started in its turn, and none goes on before an earlier one had the chance to: that keeps
/// their order. (`join_all` polls more than thirty futures in the order in which they happen to be woken, and
/// messages overtook each other.)
async fn in_order<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        let pending =
            futures.iter_mut().filter_map(|future| future.as_mut().poll(context).is_pending().then_some(()));
        if pending.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    futures.iter_mut().filter_map(|future| future.as_mut().take_output()).collect()
}

impl Admin {
    async fn publish(&self, publish: &Publish<'_>) -> Result<Published, ApiError> {
        let channel = ChannelName::parse(&publish.channel)?;
        let key = publish.idempotency_key.as_deref();
        let published = match (publish.durable, key) {
            (true, key) => {
                Published::Durably(self.broker.publish_durable(&channel, publish.message, key).await?)
            }
            (false, None) => {
                Published::Plainly { replicas: self.broker.publish(&channel, publish.message).await? }
            }
            (false, Some(_)) => return Err(ApiError::KeyWithoutDurable),
        };
        self.metrics.publications_accepted.inc();
        Ok(published)
    }
}

/// What is known of a message that was published.
enum Published {
    /// It has this position in the history.
    Durably(Position),
    /// So many replicas have subscribers of its channel.
    Plainly { replicas: u64 },
}

impl Published {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Durably(position) => json!({"position": position.to_string()}),
            Self::Plainly { replicas } => json!({"replicas": replicas}),
        }
    }
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::BadBody(error.to_string()))
}
