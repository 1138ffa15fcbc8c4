//! Answers which users are online, on any replica.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::AuthorizedBody;
use super::publish::parse;
use super::sessions::user_channel;
use super::{AdminState, ApiError, MAX_USERS};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersRequest {
    users: Vec<String>,
}

/// `POST /v1/presence`: which of the named users are online.
pub(super) async fn users(
    admin: web::Data<AdminState>,
    AuthorizedBody(body): AuthorizedBody,
) -> Result<HttpResponse, ApiError> {
    let UsersRequest { users } = parse(&body)?;
    if users.len() > MAX_USERS {
        return Err(ApiError::BadBody(format!("name at most {MAX_USERS} users")));
    }
    let channels = users.iter().map(|user| user_channel(user)).collect::<Result<Vec<_>, _>>()?;
    let counts = admin.broker.online(&channels).await?;
    let users: Map<_, _> = users
        .into_iter()
        .zip(counts)
        .map(|(user, replicas)| {
            let presence = json!({"online": replicas.is_some(), "replicas": replicas.unwrap_or(0)});
            (user, presence)
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "users": Value::Object(users) })))
}

/// `GET /v1/users/{user}`: whether a user is online.
pub(super) async fn user(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    user: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let counts = admin.broker.online(&[user_channel(&user)?]).await?;
    let replicas = counts.first().copied().flatten();
    Ok(HttpResponse::Ok().json(json!({
        "user": *user, "online": replicas.is_some(), "replicas": replicas.unwrap_or(0),
    })))
}
