//! Answers which channels are in use, and which users are in a room, on any replica.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::query::Parameters;
use super::sessions::user_channel;
use super::{AdminState, ApiError};
use crate::broker::ChannelInUse;
use protocol::channel::ChannelName;

/// The entries of a page without `limit`.
const DEFAULT_PAGE: usize = 100;

/// `GET /v1/channels?namespace=&after=&limit=`: the channels in use, of one namespace or of all.
pub(super) async fn list(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let mut query = Parameters::of(&request, &["namespace", "after", "limit"])?;
    let (namespace, after) = (query.take("namespace"), query.take("after"));
    let after = after.as_deref().map(ChannelName::parse).transpose()?;
    let after = after.as_ref().map(ChannelName::as_str);
    let page = admin.broker.channels(namespace.as_deref(), after, query.limit(DEFAULT_PAGE)?).await?;
    let channels: Vec<Value> = page.channels.iter().map(channel_json).collect();
    Ok(HttpResponse::Ok().json(json!({ "channels": channels, "next": page.next })))
}

/// `GET /v1/channels/{channel}`: whether a channel is in use.
pub(super) async fn channel(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let channel = ChannelName::parse(&channel)?;
    let found = admin.broker.channel(&channel).await?;
    let is_occupied = found.is_some();
    let found = found.unwrap_or(ChannelInUse { channel, replicas: 0, count: Some(0) });
    let mut answer = channel_json(&found);
    answer["occupied"] = is_occupied.into();
    Ok(HttpResponse::Ok().json(answer))
}

/// `GET /v1/channels/{channel}/members?after=&limit=`: the users that are subscribed to a channel.
pub(super) async fn members(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let channel = ChannelName::parse(&channel)?;
    let mut query = Parameters::of(&request, &["after", "limit"])?;
    let after = query.take("after");
    after.as_deref().map(user_channel).transpose()?;
    let page = admin.broker.members(&channel, after.as_deref(), query.limit(DEFAULT_PAGE)?).await?;
    Ok(HttpResponse::Ok().json(json!({
        "channel": channel.as_str(), "count": page.count, "members": page.members, "next": page.next,
    })))
}

fn channel_json(found: &ChannelInUse) -> Value {
    json!({ "channel": found.channel.as_str(), "replicas": found.replicas, "count": found.count })
}
