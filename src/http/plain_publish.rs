//! Recognizes plain requests to publish, which a connection serves itself. All other requests are for the HTTP server:
//! another route, a refusal, a body without a known length, or a header that concerns the connection.

use std::ops::Range;

use actix_web::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use httparse::{EMPTY_HEADER, Request, Status};

use super::CurrentKey;

/// The most requests that are published together. With the default limits, all connections together stay below the
/// publications that may wait for Redis.
const MAX_TOGETHER: usize = 32;
/// The most headers of a plain request. The HTTP server refuses more at once, even while the head is incomplete. With a
/// lower number here, it would get an incomplete head, and its deadline for the head would start again.
const MAX_HEADERS: usize = 96;
/// The HTTP server refuses longer heads.
const MAX_HEAD_BYTES: usize = 128 * 1024;
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
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let start = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Err(Rest::Head),
        _ => return Err(Rest::Other),
    };
    // A client without the key cannot fill the memory with a body.
    let length = body_length(&request).filter(|_| key.allows(|name| only(&request, name)));
    let end = start + length.ok_or(Rest::Other)?;
    if bytes.len() < end { Err(Rest::Body) } else { Ok(start..end) }
}

/// The length of the body of a plain request; `None` for other requests.
fn body_length(request: &Request<'_, '_>) -> Option<usize> {
    let is_publish =
        (request.method, request.path, request.version) == (Some("POST"), Some("/v1/publish"), Some(1));
    // The HTTP server refuses a request without a host (RFC 9112, section 3.2).
    let has_host = only(request, &HOST).is_some();
    // The HTTP server decides which of two values counts.
    let is_clear = [AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, ORIGIN]
        .iter()
        .all(|name| values(request, name).nth(1).is_none());
    let is_alone =
        [EXPECT, TRANSFER_ENCODING, UPGRADE].iter().all(|name| values(request, name).next().is_none());
    let stays_open = only(request, &CONNECTION).is_none_or(|value| value.eq_ignore_ascii_case(b"keep-alive"));
    let digits = only(request, &CONTENT_LENGTH).filter(|value| value.iter().all(u8::is_ascii_digit))?;
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (is_publish && has_host && is_clear && is_alone && stays_open && length <= MAX_BODY_BYTES)
        .then_some(length)
}

fn values<'a>(request: &Request<'_, 'a>, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let headers = request.headers.iter();
    headers.filter(|header| header.name.eq_ignore_ascii_case(name.as_str())).map(|header| header.value)
}

fn only<'a>(request: &Request<'_, 'a>, name: &HeaderName) -> Option<&'a [u8]> {
    values(request, name).next()
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

    #[test]
    fn an_incomplete_head_stays_under_its_first_deadline() {
        let headers = "a: b\r\n".repeat(MAX_HEADERS - 2);
        let whole = post(&headers, "{}");
        let end = whole.find("\r\n\r\n").unwrap();
        assert_eq!(find(&whole).bodies.len(), 1);
        for cut in 1..end {
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
            post(&"A: b\r\n".repeat(MAX_HEADERS), "{}"),
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
