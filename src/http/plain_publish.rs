//! Recognizes plain requests to publish, which a connection serves itself. All other requests are for the HTTP server:
//! another route, a refusal, a body without a known length, or a header that concerns the connection.

use std::ops::Range;

use actix_web::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};

use super::CurrentKey;
use crate::socket::request::{RequestHead, parse_head, text};

/// The most requests that are published together. With the default limits, all connections together stay below the
/// publications that may wait for Redis.
const MAX_TOGETHER: usize = 32;
/// The longest body of a plain request. Longer ones gain nothing.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The requests in the bytes that a connection has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainRequests {
    /// The bodies of the complete plain requests at the front.
    pub(super) bodies: Vec<Range<usize>>,
    /// The end of the last of them.
    pub(super) end: usize,
    /// What follows.
    pub(super) rest: Rest,
}

/// The bytes after the plain requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// None.
    Empty,
    /// A part of a head.
    Head,
    /// The head of a plain request, and a part of its body.
    Body,
    /// A request for the HTTP server, whose head is complete or invalid.
    Other,
}

impl PlainRequests {
    /// Finds the plain requests at the front of `bytes` that this key allows.
    pub(super) fn find(bytes: &[u8], key: &CurrentKey) -> Self {
        let mut found = Self { bodies: Vec::new(), end: 0, rest: Rest::Empty };
        while found.bodies.len() < MAX_TOGETHER {
            match first_body(&bytes[found.end..], key) {
                Ok(body) => {
                    found.bodies.push(found.end + body.start..found.end + body.end);
                    found.end += body.end;
                }
                Err(rest) => {
                    found.rest = rest;
                    break;
                }
            }
        }
        found
    }
}

/// The body of the first request, if it is plain and complete.
fn first_body(bytes: &[u8], key: &CurrentKey) -> Result<Range<usize>, Rest> {
    if bytes.is_empty() {
        return Err(Rest::Empty);
    }
    // A client without the key cannot fill the memory with a body.
    let allowed = |head: &RequestHead<'_>| key.allows(|name| head.values(name.as_str()).next());
    let parsed = parse_head(bytes, |head| body_length(head).filter(|_| allowed(head)));
    let (start, length) = parsed.map_err(|_| Rest::Other)?.ok_or(Rest::Head)?;
    let end = start + length.ok_or(Rest::Other)?;
    if bytes.len() < end { Err(Rest::Body) } else { Ok(start..end) }
}

/// The length of the body of a plain request; `None` for other requests.
fn body_length(head: &RequestHead<'_>) -> Option<usize> {
    let is_publish = head.method() == "POST"
        && head.path() == "/v1/publish"
        && head.query().is_none()
        && head.is_http_11();
    // The HTTP server decides which of two values counts.
    let is_clear =
        [AUTHORIZATION, CONNECTION, ORIGIN].iter().all(|name| head.values(name.as_str()).nth(1).is_none());
    let is_alone =
        [EXPECT, TRANSFER_ENCODING, UPGRADE].iter().all(|name| head.values(name.as_str()).next().is_none());
    let mut connection = head.values(CONNECTION.as_str());
    let stays_open = connection.next().is_none_or(|value| value.eq_ignore_ascii_case(b"keep-alive"));
    let length: usize = text(head.values(CONTENT_LENGTH.as_str()).next()?)?.parse().ok()?;
    (is_publish && is_clear && is_alone && stays_open && length <= MAX_BODY_BYTES).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::super::ApiKey;
    use super::*;

    fn find(bytes: &str) -> PlainRequests {
        PlainRequests::find(bytes.as_bytes(), &CurrentKey::new(ApiKey::Open))
    }

    fn post(headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
    }

    #[test]
    fn pipelined_plain_requests_are_found_together() {
        let bytes = post("", "{1}") + &post("Connection: Keep-Alive\r\nAccept: */*\r\n", "{22}");
        for cut in 0..=bytes.len() {
            let found = find(&bytes[..cut]);
            let bodies: Vec<_> = found.bodies.iter().map(|body| &bytes[body.clone()]).collect();
            assert_eq!(bodies, ["{1}", "{22}"][..bodies.len()]);
            assert_eq!(found.rest == Rest::Empty, found.end == cut, "{cut}");
            assert_ne!(found.rest, Rest::Other, "{cut}");
        }
        assert_eq!(find(&bytes).bodies.len(), 2);
    }

    /// The HTTP server would start its deadline for the head again.
    #[test]
    fn an_incomplete_head_is_not_left_to_the_server() {
        let whole = post(&"a: b\r\n".repeat(94), "{}");
        assert_eq!(find(&whole).bodies.len(), 1);
        for cut in 1..whole.len() - "{}".len() {
            assert_eq!(find(&whole[..cut]).rest, Rest::Head, "{cut}");
        }
    }

    #[test]
    fn all_other_requests_are_left_to_the_server() {
        let plain = post("", "{}");
        for other in [
            plain.replace("POST", "PUT"),
            plain.replace("/v1/publish", "/v1/publish/batch"),
            plain.replace("/v1/publish", "/v1/publish?x"),
            plain.replace("HTTP/1.1", "HTTP/1.0"),
            plain.replace("localhost", "evil.test"),
            plain.replace("Host: localhost\r\n", ""),
            plain.replace("Content-Length: 2", "Content-Length: +2"),
            plain.replace("Content-Length: 2", "Content-Length: 2, 2"),
            plain.replace("Content-Length: 2", "Content-Length:"),
            plain.replace("Content-Length: 2", "Content-Length : 2"),
            plain.replace("Content-Length: 2", "Content-Length: 65537"),
            plain.replace("Content-Length: 2", "X: 2"),
            post("Content-Length: 2\r\n", "{}"),
            post("Transfer-Encoding: chunked\r\n", "{}"),
            post("transfer-encoding: identity\r\n", "{}"),
            post("Expect: 100-continue\r\n", "{}"),
            post("Upgrade: websocket\r\n", "{}"),
            post("Connection: close\r\n", "{}"),
            post("Connection: keep-alive, upgrade\r\n", "{}"),
            post("Host: localhost\r\n", "{}"),
            post("Origin: http://evil.test\r\n", "{}"),
            post(&"A: b\r\n".repeat(96), "{}"),
            post(" folded: x\r\n", "{}"),
        ] {
            assert_eq!(
                find(&other),
                PlainRequests { bodies: Vec::new(), end: 0, rest: Rest::Other },
                "{other}"
            );
            let behind = find(&(plain.clone() + &other));
            assert_eq!(
                (behind.bodies.len(), behind.end, behind.rest),
                (1, plain.len(), Rest::Other),
                "{other}"
            );
        }
    }
}
