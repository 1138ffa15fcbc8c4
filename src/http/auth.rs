//! Who may use the admin API, health and metrics aside: publish, see sessions and end them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::rt::time::sleep;
use parking_lot::RwLock;

use super::{AdminState, ApiError};
use crate::metrics::{KeyRefusal, Metrics};
use crate::settings::Secret;
use crate::socket::origin::is_loopback_host;

/// The key of the admin API.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// Callers must send this key.
    Required(Secret),
    /// No key is set and none is asked for: development, on loopback.
    Open,
    /// No key is set: the admin API is off.
    Closed,
}

/// The key in force. Clones share it, so that reading keys again replaces it for every worker.
#[derive(Debug, Clone)]
pub struct CurrentKey(Arc<RwLock<ApiKey>>);

impl CurrentKey {
    /// Starts with this key.
    pub fn new(key: ApiKey) -> Self {
        Self(Arc::new(RwLock::new(key)))
    }

    /// Asks for another key from now on.
    pub fn replace(&self, key: ApiKey) {
        *self.0.write() = key;
    }

    fn check(&self, request: &HttpRequest) -> Result<(), KeyRefusal> {
        self.0.read().check(request)
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

/// The delay of the response to a wrong key while there are places, which slows down guessing.
const WRONG_KEY_DELAY: Duration = Duration::from_millis(500);

impl AdminState {
    /// Whether the request may do what the API does. Refusals are counted.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn authorize(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let Err(refusal) = self.key.check(request) else { return Ok(()) };
        Metrics::count(&self.metrics.admin_refused, refusal);
        // A crowd of guesses may not take the places of health checks.
        if refusal == KeyRefusal::WrongKey && !self.is_crowded() {
            sleep(WRONG_KEY_DELAY).await;
        }
        Err(refusal.into())
    }
}

impl ApiKey {
    fn check(&self, request: &HttpRequest) -> Result<(), KeyRefusal> {
        let key = match self {
            Self::Open if is_loopback_same_origin(request) => return Ok(()),
            Self::Open => return Err(KeyRefusal::OriginNotAllowed),
            Self::Closed => return Err(KeyRefusal::NotConfigured),
            Self::Required(key) => key,
        };
        let Some(sent) = request.headers().get(AUTHORIZATION) else { return Err(KeyRefusal::NoKey) };
        let sent = sent.to_str().ok().and_then(bearer).unwrap_or_default();
        if key.matches(sent.as_bytes()) { Ok(()) } else { Err(KeyRefusal::WrongKey) }
    }
}

/// The credentials of the scheme `Bearer`, whose name may be in any case (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, credentials) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim_start_matches(' '))
}

/// Whether this is no page from elsewhere. Any page that a developer's browser shows may send requests to this machine,
/// and one whose name is made to lead here may read the answers as well. The first is told by its Origin, the second
/// by the name under which it came.
fn is_loopback_same_origin(request: &HttpRequest) -> bool {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = header(HOST);
    let is_own = header(ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == host);
    is_own && host.is_none_or(|host| is_loopback_host(host_name(host)))
}

/// A `Host` header's name, without the port.
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
            let checked = ApiKey::Open.check(&request.to_http_request());
            assert_eq!(checked.is_ok(), may, "{host:?} {origin:?}");
        }
    }
}
