//! Lists and ends the sessions of this replica.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AdminState, ApiError};
use crate::hub::messages::{Disconnect, ListSessions, SessionSummary};
use protocol::channel::ChannelName;
use protocol::{SessionId, Version};

/// The most sessions in one response, and the default of `limit`.
const MAX_LISTED: usize = 1_000;
/// The time in which all workers must respond. A healthy worker needs far less than a second.
const HUB_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
    user: Option<String>,
}

/// `GET /v1/sessions?limit=&user=`: the sessions of this replica, newest first.
pub(super) async fn list(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let query = web::Query::<ListQuery>::from_query(request.query_string())
        .map_err(|error| ApiError::BadQuery(error.to_string()))?
        .into_inner();
    let limit = query.limit.unwrap_or(MAX_LISTED);
    if !(1..=MAX_LISTED).contains(&limit) {
        return Err(ApiError::BadQuery(format!("limit must be 1 to {MAX_LISTED}")));
    }
    let user = query.user.as_deref().map(user_channel).transpose()?;
    let list = admin.hubs.sessions(ListSessions { user, limit, now: Instant::now() }, HUB_TIMEOUT).await?;
    let sessions: Vec<_> = list.sessions.iter().map(session_json).collect();
    let is_truncated = sessions.len() < list.total;
    Ok(HttpResponse::Ok().json(json!({
        "sessions": sessions, "total": list.total, "truncated": is_truncated,
    })))
}

/// `POST /v1/sessions/{id}/disconnect`: ends one session of this replica with 4010.
pub(super) async fn disconnect_one(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let session = u128::from_str_radix(&id, 16).ok().filter(|_| is_id).ok_or(ApiError::NoSuchSession)?;
    match admin.hubs.disconnect(Disconnect::Session(SessionId(session)), HUB_TIMEOUT).await? {
        0 => Err(ApiError::NoSuchSession),
        ended => Ok(HttpResponse::Ok().json(json!({ "disconnected": ended }))),
    }
}

/// `POST /v1/users/{user}/disconnect`: ends all sessions of one user on this replica with 4010. No session is not an
/// error, because the sessions may be on other replicas.
pub(super) async fn disconnect_user(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    user: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let ended = admin.hubs.disconnect(Disconnect::User(user_channel(&user)?), HUB_TIMEOUT).await?;
    Ok(HttpResponse::Ok().json(json!({ "disconnected": ended })))
}

pub(super) fn user_channel(user: &str) -> Result<ChannelName, ApiError> {
    ChannelName::of_user(user).map_err(|_| ApiError::BadUser)
}

fn session_json(summary: &SessionSummary) -> Value {
    let user = summary.user.as_ref().and_then(ChannelName::user_id);
    let channels: Vec<_> = summary.channels.iter().map(ChannelName::as_str).collect();
    json!({
        "id": summary.session.to_string(),
        "user": user,
        "version": match summary.version {
            Version::V1 => 1,
            Version::V2 => 2,
        },
        "channels": channels,
        "subscriptions": summary.subscriptions,
        "age_ms": summary.age.as_millis() as u64,
        "queued_bytes": summary.queued_bytes,
        "address": summary.address.map(|address| address.to_string()),
    })
}
