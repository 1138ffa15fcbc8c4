//! Checks the handshake of a client (RFC 6455, section 4.2.1).

use actix_http::header::{self, HeaderName};
use actix_http::{Method, RequestHead, StatusCode, Version};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::UpgradeRefusal;

/// The answer to a request for anything but a WebSocket of version 13.
pub(super) const UPGRADE_REQUIRED: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::UPGRADE_REQUIRED,
    reason: "upgrade_required",
    headers: &[("upgrade", "websocket"), ("sec-websocket-version", "13")],
};

pub(super) const METHOD_NOT_ALLOWED: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::METHOD_NOT_ALLOWED,
    reason: "method_not_allowed",
    headers: &[("allow", "GET")],
};

const BAD_HANDSHAKE: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::BAD_REQUEST, reason: "bad_handshake", headers: &[] };

/// Checks everything that RFC 6455 requires of a client's handshake, and that the request is unambiguous.
pub(super) fn verify(request: &RequestHead) -> Result<(), UpgradeRefusal> {
    if request.method != Method::GET {
        return Err(METHOD_NOT_ALLOWED);
    }
    if !has_token(request, &header::UPGRADE, "websocket")
        || !has_token(request, &header::CONNECTION, "upgrade")
    {
        return Err(BAD_HANDSHAKE);
    }
    if request.headers().get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(UPGRADE_REQUIRED);
    }
    if has_valid_key(request) && is_unambiguous(request) { Ok(()) } else { Err(BAD_HANDSHAKE) }
}

/// Whether the comma-separated values of a header include `wanted`, ignoring case. Several lines of a header form one
/// list (RFC 9110, section 5.3).
fn has_token(request: &RequestHead, name: &HeaderName, wanted: &str) -> bool {
    let lines = request.headers().get_all(name).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Whether the key is 16 bytes in base64.
fn has_valid_key(request: &RequestHead) -> bool {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    key.and_then(|key| BASE64_STANDARD.decode(key.as_bytes()).ok()).is_some_and(|key| key.len() == 16)
}

/// Whether the request is HTTP/1.1 with one key, one version (RFC 6455, section 11.3) and no body. A body would be read
/// as frames.
fn is_unambiguous(request: &RequestHead) -> bool {
    let count = |name| request.headers().get_all(name).count();
    request.version >= Version::HTTP_11
        && count(header::SEC_WEBSOCKET_KEY) == 1
        && count(header::SEC_WEBSOCKET_VERSION) == 1
        && request.headers().get_all(header::CONTENT_LENGTH).all(|length| length == "0")
}
