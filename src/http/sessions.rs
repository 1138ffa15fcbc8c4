//! Lists and ends sessions on all replicas: short forms of commands. While Redis is down, on this replica alone.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::control::{affected, merge_pages, replicas_json};
use super::query::Parameters;
use super::{AdminState, ApiError};
use crate::broker::{ControlCommand, ControlError, ControlOutcome, Disconnection, MAX_LISTED, SessionQuery};
use protocol::channel::ChannelName;

/// `GET /v1/sessions?user=&channel=&after=&limit=`: the sessions of all replicas, in the order of their ids.
pub(super) async fn list(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let mut query = Parameters::of(&request, &["user", "channel", "after", "limit"])?;
    let (user, channel, after) = (query.take("user"), query.take("channel"), query.take("after"));
    if let Some(user) = &user {
        user_channel(user)?;
    }
    if let Some(channel) = &channel {
        ChannelName::parse(channel)?;
    }
    let query = SessionQuery { user, channel, after, limit: Some(query.limit(MAX_LISTED)?) };
    let outcome = admin.issue_or_apply_here(&ControlCommand::Sessions(query.clone())).await.map_err(
        |error| match error {
            // Only `after` is not checked above.
            ControlError::BadCommand(reason) => ApiError::BadQuery(format!("after: {reason}")),
            error => error.into(),
        },
    )?;
    let page = merge_pages(&outcome, &query);
    Ok(HttpResponse::Ok().json(json!({
        "sessions": page.sessions,
        "total": page.total,
        "truncated": page.next.is_some(),
        "next": page.next,
        "missing": outcome.missing,
    })))
}

/// `POST /v1/sessions/{id}/disconnect`: ends one session with 4010.
pub(super) async fn disconnect_one(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let session = Some(id.to_ascii_lowercase());
    let command = ControlCommand::Disconnect(Disconnection { session, ..Disconnection::default() });
    // A text that is not an id is the id of no session.
    command.check().map_err(|_| ApiError::NoSuchSession)?;
    let outcome = admin.issue_or_apply_here(&command).await?;
    // A missing replica may have the session.
    if affected(&outcome) == 0 && outcome.missing.is_empty() {
        return Err(ApiError::NoSuchSession);
    }
    Ok(disconnected_response(&outcome))
}

/// `POST /v1/users/{user}/disconnect`: ends all sessions of one user with 4010. No session is not an error.
pub(super) async fn disconnect_user(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    user: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    user_channel(&user)?;
    let user = Some(user.into_inner());
    let command = ControlCommand::Disconnect(Disconnection { user, ..Disconnection::default() });
    Ok(disconnected_response(&admin.issue_or_apply_here(&command).await?))
}

fn disconnected_response(outcome: &ControlOutcome) -> HttpResponse {
    let mut response = json!({
        "disconnected": affected(outcome), "replicas": replicas_json(outcome), "missing": outcome.missing,
    });
    if !outcome.is_issued() {
        response["issued"] = false.into();
    }
    HttpResponse::Ok().json(response)
}

pub(super) fn user_channel(user: &str) -> Result<ChannelName, ApiError> {
    ChannelName::of_user(user).map_err(|_| ApiError::BadUser)
}
