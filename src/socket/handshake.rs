//! Checks the handshake of a client (RFC 6455, section 4.2.1).

use actix_http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::UpgradeRefusal;
use super::request::RequestHead;

/// The answer to a request for anything but a WebSocket of version 13.
const UPGRADE_REQUIRED: UpgradeRefusal = UpgradeRefusal {
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

/// Checks everything that RFC 6455 requires of a client's handshake, and that the request is unambiguous. Returns the
/// client's key.
pub(super) fn verify<'a>(request: &RequestHead<'a>) -> Result<&'a [u8], UpgradeRefusal> {
    if request.method() != "GET" {
        return Err(METHOD_NOT_ALLOWED);
    }
    if request.has_chunks() || !has_token(request, "upgrade", "websocket") {
        return Err(UPGRADE_REQUIRED);
    }
    if !has_token(request, "connection", "upgrade") {
        return Err(BAD_HANDSHAKE);
    }
    if request.values("sec-websocket-version").next() != Some(b"13") {
        return Err(UPGRADE_REQUIRED);
    }
    if !is_unambiguous(request) {
        return Err(BAD_HANDSHAKE);
    }
    request.values("sec-websocket-key").next().filter(|key| is_valid_key(key)).ok_or(BAD_HANDSHAKE)
}

/// Whether the comma-separated values of a header include `wanted`, ignoring case. Several lines of a header form one
/// list (RFC 9110, section 5.3).
fn has_token(request: &RequestHead<'_>, name: &str, wanted: &str) -> bool {
    request
        .texts(name)
        .flat_map(|line| line.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Whether the key is 16 bytes in base64.
fn is_valid_key(key: &[u8]) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
}

/// Whether the request is HTTP/1.1 with one key, one version (RFC 6455, section 11.3) and no body. A body would be read
/// as frames.
fn is_unambiguous(request: &RequestHead<'_>) -> bool {
    let count = |name| request.values(name).count();
    request.is_http_11()
        && count("sec-websocket-key") == 1
        && count("sec-websocket-version") == 1
        && !request.has_body()
}
