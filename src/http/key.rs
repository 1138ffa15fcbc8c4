//! Who may publish over HTTP.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::ApiError;
use crate::settings::Secret;

/// The key of the admin API.
#[derive(Debug, Clone)]
pub enum ApiKey {
    /// Callers must send this key.
    Required(Secret),
    /// No key is set and none is asked for: development, on loopback.
    Open,
    /// No key is set: publishing over HTTP is off.
    Closed,
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
        if key.matches(sent.as_bytes()) { Ok(()) } else { Err(ApiError::Unauthorized) }
    }
}
