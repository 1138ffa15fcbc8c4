//! Parses the head of a request (RFC 9112) strictly. Does no IO.

use std::mem::MaybeUninit;
use std::str;

use actix_http::{StatusCode, Uri};
use httparse::{Error, Header, Request, Status};

use super::UpgradeRefusal;

/// The most headers of a request.
const MAX_HEADERS: usize = 96;
/// A head must be complete within this length.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Not HTTP, or a request that two parsers may understand differently.
pub(crate) const BAD_REQUEST: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::BAD_REQUEST, reason: "bad_request", headers: &[] };
const HEAD_TOO_LARGE: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    reason: "bad_request",
    headers: &[],
};

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead<'a> {
    method: &'a str,
    uri: Uri,
    is_http_11: bool,
    headers: &'a [Header<'a>],
}

/// Parses the head at the beginning of `bytes`, and passes it to `decide`. Returns the length of the head and the
/// result of `decide`; `None` if the head is incomplete.
pub(crate) fn parse_head<T>(
    bytes: &[u8],
    decide: impl FnOnce(&RequestHead<'_>) -> T,
) -> Result<Option<(usize, T)>, UpgradeRefusal> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Complete(length)) => {
            let head = RequestHead::of(&request).filter(RequestHead::is_well_framed).ok_or(BAD_REQUEST)?;
            Ok(Some((length, decide(&head))))
        }
        Ok(Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Ok(None),
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => Err(HEAD_TOO_LARGE),
        Err(_) => Err(BAD_REQUEST),
    }
}

impl<'a> RequestHead<'a> {
    fn of(request: &'a Request<'_, 'a>) -> Option<Self> {
        Some(Self {
            method: request.method?,
            uri: request.path?.parse().ok()?,
            is_http_11: request.version? == 1,
            headers: request.headers,
        })
    }

    /// The method, in its original case.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The path of the URL.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query of the URL.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// Whether the version is HTTP/1.1 and not HTTP/1.0.
    pub(crate) fn is_http_11(&self) -> bool {
        self.is_http_11
    }

    /// The values of the lines of a header.
    pub fn values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// As [`RequestHead::values`], without those that are not text.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).filter_map(text)
    }

    /// Whether a body follows the head.
    pub(super) fn has_body(&self) -> bool {
        self.has_chunks() || self.values("content-length").any(|length| length != b"0")
    }

    /// Whether the body has chunks.
    pub(super) fn has_chunks(&self) -> bool {
        self.values("transfer-encoding").next().is_some()
    }

    /// Whether host and length of the request are unambiguous (RFC 9112, sections 3.2 and 6.3). A proxy might
    /// understand an ambiguous request differently.
    fn is_well_framed(&self) -> bool {
        let count = |name| self.values(name).count();
        let (hosts, lengths, codings) = (count("host"), count("content-length"), count("transfer-encoding"));
        let has_one_host = hosts == 1 || (hosts == 0 && !self.is_http_11);
        let is_number = |value: &[u8]| {
            value.iter().all(u8::is_ascii_digit)
                && text(value).is_some_and(|text| text.parse::<u64>().is_ok())
        };
        let has_length = lengths == 1 && self.values("content-length").all(is_number);
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let has_chunks = codings == 1 && self.values("transfer-encoding").all(is_chunked) && self.is_http_11;
        has_one_host
            && match (lengths, codings) {
                (0, 0) => true,
                (_, 0) => has_length,
                (0, _) => has_chunks,
                _ => false,
            }
    }
}

/// The value of a header, if all its characters are visible ASCII, blanks or tabs.
pub fn text(value: &[u8]) -> Option<&str> {
    let is_text = value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    str::from_utf8(value).ok().filter(|_| is_text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Passes the head of a request with these header lines to `decide`.
    pub(in crate::socket) fn with_headers<T>(
        lines: &[(&str, &str)],
        decide: impl FnOnce(&RequestHead<'_>) -> T,
    ) -> T {
        let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET /gateway?v=2 HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (length, decided) = parse_head(head.as_bytes(), decide).unwrap().unwrap();
        assert_eq!(length, head.len());
        decided
    }

    /// The status of the refusal; 200 for a head that is accepted, 100 for an incomplete one.
    fn status(head: &str) -> u16 {
        match parse_head(head.as_bytes(), |_| ()) {
            Ok(Some((_, ()))) => 200,
            Ok(None) => 100,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn a_request_has_its_path_query_and_headers() {
        with_headers(&[("X", "1"), ("x", "\u{e9}"), ("y", "2"), ("X", "3")], |head| {
            assert_eq!((head.method(), head.path(), head.query()), ("GET", "/gateway", Some("v=2")));
            assert_eq!(head.texts("x").collect::<Vec<_>>(), ["1", "3"]);
            assert_eq!(head.values("x").count(), 3);
            assert!(head.is_http_11() && !head.has_body());
        });
    }

    #[test]
    fn every_beginning_of_a_request_is_incomplete() {
        let request = "\r\nGET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
        for end in 0..request.len() {
            assert_eq!(status(&request[..end]), 100, "{end}");
        }
        assert_eq!(status(request), 200);
        assert_eq!(status(&format!("{request}after")), 200);
    }

    #[test]
    fn an_ambiguous_request_is_refused() {
        let with = |version: &str, lines: &str| status(&format!("GET / HTTP/1.{version}\r\n{lines}\r\n\r\n"));
        for (version, lines, expected) in [
            ("1", "host: a", 200),
            ("1", "x: a", 400),
            ("0", "x: a", 200),
            ("1", "host: a\r\nhost: a", 400),
            ("0", "host: a\r\nhost: a", 400),
            ("1", "host: a\r\ncontent-length: 5", 200),
            ("1", "host: a\r\ncontent-length: +5", 400),
            ("1", "host: a\r\ncontent-length: -5", 400),
            ("1", "host: a\r\ncontent-length:", 400),
            ("1", "host: a\r\ncontent-length: 99999999999999999999", 400),
            ("1", "host: a\r\ncontent-length: 5\r\ncontent-length: 5", 400),
            ("1", "host: a\r\ntransfer-encoding: Chunked", 200),
            ("0", "host: a\r\ntransfer-encoding: chunked", 400),
            ("1", "host: a\r\ntransfer-encoding: gzip, chunked", 400),
            ("1", "host: a\r\ntransfer-encoding: identity", 400),
            ("1", "host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
            ("1", "host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5", 400),
            ("2", "host: a", 400),
        ] {
            assert_eq!(with(version, lines), expected, "HTTP/1.{version} {lines:?}");
        }
    }
}
