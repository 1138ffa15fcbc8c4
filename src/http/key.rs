//! Who may publish over HTTP.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::ApiError;

/// The key of the admin API.
#[derive(Clone)]
pub enum ApiKey {
    /// Callers must send this key.
    Required(String),
    /// No key is set and none is asked for: development, on loopback.
    Open,
    /// No key is set: publishing over HTTP is off.
    Closed,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Required(_) => "Required(***)",
            Self::Open => "Open",
            Self::Closed => "Closed",
        })
    }
}

impl ApiKey {
    /// Whether the request may publish.
    pub(super) fn check(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let key = match self {
            Self::Open => return Ok(()),
            Self::Closed => return Err(ApiError::KeyNotSet),
            Self::Required(key) => key,
        };
        let sent = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent = sent.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if is_equal(sent, key) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }
}

/// Compares two secrets without telling by its time where they differ: what is compared are their keyed
/// digests, of equal length and unknown to the caller.
fn is_equal(sent: &str, key: &str) -> bool {
    match (digest(sent, key), digest(key, key)) {
        (Some(sent), Some(key)) => sent == key,
        _ => false,
    }
}

fn digest(text: &str, key: &str) -> Option<CtOutput<Hmac<Sha1>>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_is_equal() {
        assert!(is_equal("abc", "abc"));
        for other in ["", "ab", "abcd", "abC"] {
            assert!(!is_equal(other, "abc"), "{other:?}");
        }
    }
}
