//! The HTTP responses of the public port, except the one that begins a WebSocket.

use actix_http::StatusCode;
use bytes::Bytes;
use serde_json::json;

use super::UpgradeRefusal;
use super::request::{RequestHead, text};

/// What a page may send in a request for an event stream, and for how many seconds it may remember that.
const PREFLIGHT_HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET"),
    ("access-control-allow-headers", "authorization, last-event-id, cache-control"),
    ("access-control-max-age", "7200"),
];

/// The page that requests an event stream, and that may read the response. `None`: the client is not a page.
#[derive(Debug, Default)]
pub(super) struct PageOrigin(Option<Box<str>>);

impl PageOrigin {
    /// The Origin header. A request with several is refused.
    pub(super) fn of(request: &RequestHead<'_>) -> Self {
        Self(request.values("origin").next().and_then(text).map(Into::into))
    }

    /// Lets the page read the response (CORS).
    fn header(&self) -> String {
        let origin = self.0.as_deref();
        let lines = origin.map(|origin| format!("access-control-allow-origin: {origin}\r\nvary: origin\r\n"));
        lines.unwrap_or_default()
    }
}

/// The response to a request that opens no socket.
#[derive(Debug)]
pub(super) enum FinalResponse {
    /// Refuses a WebSocket, in plain text.
    Refused(UpgradeRefusal),
    /// Refuses an event stream, in JSON.
    EventsRefused(UpgradeRefusal, PageOrigin),
    /// Answers the browser of a page that is about to request an event stream. Whether the page is allowed is decided
    /// with that request.
    Preflight(PageOrigin),
}

impl FinalResponse {
    /// Why the request is refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) | Self::EventsRefused(refusal, _) => Some(refusal.reason),
            Self::Preflight(_) => None,
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Refused(UpgradeRefusal { status, reason, headers }) => {
                response(*status, &lines(headers), reason)
            }
            Self::EventsRefused(UpgradeRefusal { status, reason, headers }, origin) => {
                // A page that is not allowed cannot read why.
                let reader = Some(origin).filter(|_| *status != StatusCode::FORBIDDEN);
                error(*status, reason, detail(reason), headers, reader.unwrap_or(&PageOrigin(None)))
            }
            Self::Preflight(origin) => {
                response(StatusCode::OK, &(lines(&PREFLIGHT_HEADERS) + &origin.header()), "")
            }
        }
    }
}

impl From<UpgradeRefusal> for FinalResponse {
    fn from(refusal: UpgradeRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The head of an event stream. The stream has no length and no chunks: it ends with its connection, so that a block is
/// the same bytes for every client, and for clients of HTTP/1.0 too.
pub(super) fn stream_head(origin: &PageOrigin) -> Bytes {
    // nginx buffers responses without the second header.
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
                x-accel-buffering: no\r\nx-content-type-options: nosniff\r\n";
    [head, &origin.header(), "\r\n"].concat().into()
}

/// An error in JSON, as the admin port writes it.
pub(super) fn error(
    status: StatusCode,
    code: &str,
    detail: &str,
    headers: &[(&str, &str)],
    origin: &PageOrigin,
) -> Bytes {
    let body = json!({"error": {"code": code, "detail": detail}}).to_string();
    let json =
        "content-type: application/json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n";
    response(status, &[json, &lines(headers), &origin.header()].concat(), &body)
}

fn response(status: StatusCode, lines: &str, body: &str) -> Bytes {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{lines}content-length: {length}\r\n\r\n{body}").into()
}

fn lines(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// What a client of an event stream can do about a refusal.
pub(super) fn detail(reason: &str) -> &'static str {
    match reason {
        "unauthorized" => "send the user's token: `Authorization: Bearer <token>`",
        "origin_not_allowed" => {
            "server.allowed_origins or server.allow_missing_origin does not allow the origin"
        }
        "method_not_allowed" => "an event stream is requested by GET",
        "draining" => "this replica is draining; connect again",
        "bad_request" => {
            "the request is not valid: its query, its headers, or too many channels; or a body or other bytes follow it"
        }
        _ => "there are too many connections; connect again after Retry-After",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::request::tests::with_headers;

    fn text_of(response: &Bytes) -> &str {
        std::str::from_utf8(response).unwrap()
    }

    #[test]
    fn only_an_allowed_page_may_read_a_response() {
        let origin = || with_headers(&[("origin", "https://a.example")], PageOrigin::of);
        let refusal =
            |status| UpgradeRefusal { status, reason: "draining", headers: &[("retry-after", "1")] };
        let allow = "access-control-allow-origin: https://a.example\r\nvary: origin\r\n";
        for (response, is_readable) in [
            (FinalResponse::EventsRefused(refusal(StatusCode::SERVICE_UNAVAILABLE), origin()), true),
            (FinalResponse::EventsRefused(refusal(StatusCode::FORBIDDEN), origin()), false),
            (FinalResponse::Preflight(origin()), true),
            (FinalResponse::Preflight(PageOrigin::default()), false),
            (FinalResponse::Refused(refusal(StatusCode::SERVICE_UNAVAILABLE)), false),
        ] {
            assert_eq!(text_of(&response.to_bytes()).contains(allow), is_readable, "{response:?}");
        }
        assert!(text_of(&stream_head(&origin())).ends_with(&format!("{allow}\r\n")));
    }

    #[test]
    fn a_refused_stream_has_its_reason_in_json() {
        let refusal =
            UpgradeRefusal { status: StatusCode::UNAUTHORIZED, reason: "unauthorized", headers: &[] };
        let response = FinalResponse::EventsRefused(refusal, PageOrigin::default()).to_bytes();
        let (head, body) = text_of(&response).split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n"), "{head}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "unauthorized");
    }
}
