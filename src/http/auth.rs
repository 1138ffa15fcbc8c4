//! Authorization of the admin API. Health checks and metrics need none.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use actix_web::rt::time::sleep;
use parking_lot::RwLock;

use super::{AdminState, ApiError};
use crate::metrics::{KeyRefusal, Metrics};
use crate::settings::Secret;
use crate::socket::origin::is_loopback_host;

/// How the admin API authorizes requests.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// Requests must have this key.
    Required(Secret),
    /// No key is set, and none is required: development on a loopback address.
    Open,
    /// No key is set: all requests are refused.
    Closed,
}

/// The current key. Clones share it, so a replacement applies to every worker.
#[derive(Debug, Clone)]
pub struct CurrentKey(Arc<RwLock<ApiKey>>);

impl CurrentKey {
    /// A shared key that starts as `key`.
    pub fn new(key: ApiKey) -> Self {
        Self(Arc::new(RwLock::new(key)))
    }

    /// Requires another key from now on.
    pub fn replace(&self, key: ApiKey) {
        *self.0.write() = key;
    }

    /// Whether a request with these headers is allowed. `header` returns the value of a header.
    pub(super) fn allows<'a>(&self, header: impl Fn(&HeaderName) -> Option<&'a [u8]>) -> bool {
        self.0.read().check(header).is_ok()
    }

    fn check(&self, request: &HttpRequest) -> Result<(), KeyRefusal> {
        self.0.read().check(headers(request))
    }
}

impl From<KeyRefusal> for ApiError {
    fn from(refusal: KeyRefusal) -> Self {
        match refusal {
            KeyRefusal::NoKey | KeyRefusal::WrongKey => Self::Unauthorized,
            KeyRefusal::NotConfigured => Self::KeyNotConfigured,
            KeyRefusal::OriginNotAllowed => Self::OriginNotAllowed,
        }
    }
}

fn headers<'a>(request: &'a HttpRequest) -> impl Fn(&HeaderName) -> Option<&'a [u8]> {
    move |name| request.headers().get(name).map(HeaderValue::as_bytes)
}

/// The delay of the response to a wrong key while the port is not crowded. It slows down guessing.
const WRONG_KEY_DELAY: Duration = Duration::from_millis(500);

impl AdminState {
    /// Checks the key of a request, or its origin if no key is required. Refusals are counted.
    ///
    /// # Errors
    /// The request is refused.
    pub(super) async fn authorize(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let Err(refusal) = self.key.check(request) else { return Ok(()) };
        Metrics::count(&self.metrics.admin_refused, refusal);
        // Delayed responses to many guesses must not use up the connections for health checks.
        if refusal == KeyRefusal::WrongKey && !self.is_crowded() {
            sleep(WRONG_KEY_DELAY).await;
        }
        Err(refusal.into())
    }
}

impl ApiKey {
    fn check<'a>(&self, header: impl Fn(&HeaderName) -> Option<&'a [u8]>) -> Result<(), KeyRefusal> {
        let key = match self {
            Self::Open if is_loopback_same_origin(&header) => return Ok(()),
            Self::Open => return Err(KeyRefusal::OriginNotAllowed),
            Self::Closed => return Err(KeyRefusal::NotConfigured),
            Self::Required(key) => key,
        };
        let Some(sent) = header(&AUTHORIZATION) else { return Err(KeyRefusal::NoKey) };
        let sent = std::str::from_utf8(sent).ok().and_then(bearer).unwrap_or_default();
        if key.matches(sent.as_bytes()) { Ok(()) } else { Err(KeyRefusal::WrongKey) }
    }
}

/// The credentials of the scheme `Bearer`. The name of the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credentials) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim_start_matches(' '))
}

/// Whether the host of the request is a loopback name and its Origin, if any, is this port. Any page in a developer's
/// browser can send requests to this port, with its own Origin. A page whose host name resolves to this machine (DNS
/// rebinding) can also read the responses, but its Host is not a loopback name.
fn is_loopback_same_origin<'a>(header: impl Fn(&HeaderName) -> Option<&'a [u8]>) -> bool {
    let text = |name| header(name).map(|value| std::str::from_utf8(value).unwrap_or("?"));
    let host = text(&HOST);
    let is_own = text(&ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == host);
    is_own && host.is_none_or(|host| is_loopback_host(host_name(host)))
}

/// The name in a `Host` header, without the port.
pub(super) fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn without_a_key_only_same_origin_loopback_requests_are_accepted() {
        for (host, origin, may) in [
            (None, None, true),
            (Some("127.0.0.1:8081"), None, true),
            (Some("[::1]:8081"), None, true),
            (Some("[::1]"), None, true),
            (Some("LOCALHOST:8081"), None, true),
            (Some("gateway.localhost"), None, true),
            (Some("127.0.0.1:8081"), Some("http://127.0.0.1:8081"), true),
            (Some("127.0.0.1:8081"), Some("http://localhost:8081"), false),
            (Some("127.0.0.1:8081"), Some("http://127.0.0.1:3000"), false),
            (Some("127.0.0.1:8081"), Some("https://evil.test"), false),
            (Some("127.0.0.1:8081"), Some("null"), false),
            (Some("evil.test:8081"), None, false),
            (Some("evil.test:8081"), Some("http://evil.test:8081"), false),
            (Some("localhost.evil.test"), None, false),
            (Some("192.0.2.1:8081"), None, false),
            (Some("127.0.0.1.evil.test"), None, false),
            (Some(""), None, false),
        ] {
            let mut request = TestRequest::get();
            for (name, value) in [(HOST, host), (ORIGIN, origin)] {
                if let Some(value) = value {
                    request = request.insert_header((name, value));
                }
            }
            let checked = ApiKey::Open.check(headers(&request.to_http_request()));
            assert_eq!(checked.is_ok(), may, "{host:?} {origin:?}");
        }
    }
}
