//! Answers pages of the history of a channel.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;

use super::query::Parameters;
use super::{AdminState, ApiError};
use crate::broker::{HistoryPageRequest, PageRange};
use protocol::channel::ChannelName;
use protocol::position::Position;

/// The messages of a page without `limit`.
const DEFAULT_PAGE: usize = 100;
/// The most bytes of the messages of a page, which has at least one message.
const MAX_PAGE_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct HistoryBody<'a> {
    channel: &'a str,
    messages: Vec<StoredMessage<'a>>,
    more: bool,
    /// The `since` of the next page.
    next: Option<Position>,
}

#[derive(Serialize)]
struct StoredMessage<'a> {
    position: Option<Position>,
    message: &'a RawValue,
}

/// `GET /v1/channels/{channel}/history?since=&limit=&reverse=`: the messages after `since`, the oldest first; with
/// `reverse=true` those before it, the newest first.
pub(super) async fn history(
    admin: web::Data<AdminState>,
    request: HttpRequest,
    channel: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    admin.authorize(&request).await?;
    let channel = ChannelName::parse(&channel)?;
    let mut query = Parameters::of(&request, &["since", "limit", "reverse"])?;
    let is_reverse = parse_reverse(query.take("reverse").as_deref())?;
    let since = query.take("since").map(|since| parse_since(&since)).transpose()?;
    let range = if is_reverse { PageRange::Before(since) } else { PageRange::After(since) };
    let page = HistoryPageRequest {
        channel: channel.clone(),
        range,
        limit: query.limit(DEFAULT_PAGE)?,
        max_bytes: MAX_PAGE_BYTES,
    };
    let page = admin.broker.history(page).await?;
    let mut messages: Vec<_> = page
        .publications
        .iter()
        .map(|publication| StoredMessage { position: publication.position(), message: publication.message() })
        .collect();
    if is_reverse {
        messages.reverse();
    }
    let next = messages.last().and_then(|last| last.position).filter(|_| page.has_more);
    let more = page.has_more;
    Ok(HttpResponse::Ok().json(HistoryBody { channel: channel.as_str(), messages, more, next }))
}

fn parse_since(text: &str) -> Result<Position, ApiError> {
    Position::parse(text).ok_or_else(|| ApiError::BadQuery("since must be the position of a message".into()))
}

fn parse_reverse(text: Option<&str>) -> Result<bool, ApiError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::BadQuery("reverse must be true or false".into())),
    }
}
