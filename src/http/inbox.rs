//! Reads the messages of clients, and deletes those that a backend has processed.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::query::Parameters;
use super::{AdminState, ApiError};
use crate::broker::EntryId;

/// The entries of a page without `limit`.
const DEFAULT_PAGE: usize = 100;

/// `GET /v1/inbox?after=&limit=`: the entries of the inbox, the oldest first.
pub(super) async fn list(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let mut query = Parameters::of(&request, &["after", "limit"])?;
    let after = query.take("after").map(|after| parse_entry("after", &after)).transpose()?;
    let page = admin.broker.inbox(after, query.limit(DEFAULT_PAGE)?).await?;
    Ok(HttpResponse::Ok().json(page))
}

/// `DELETE /v1/inbox?through=`: deletes the entries up to and including `through`.
pub(super) async fn delete(
    admin: web::Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let mut query = Parameters::of(&request, &["through"])?;
    let through = query.take("through");
    let through = through.ok_or_else(|| ApiError::BadQuery("through is missing".into()))?;
    let deleted = admin.broker.delete_inbox(parse_entry("through", &through)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "deleted": deleted })))
}

fn parse_entry(name: &str, text: &str) -> Result<EntryId, ApiError> {
    EntryId::parse(text).ok_or_else(|| ApiError::BadQuery(format!("{name} must be the `entry` of a message")))
}
