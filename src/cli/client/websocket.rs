//! The client's side of the WebSocket handshake (RFC 6455, section 4.1).

use actix_codec::Framed;
use actix_http::header::{self, HeaderMap, HeaderName};
use actix_http::ws::{Codec, Frame, Item, ProtocolError, hash_key};
use actix_http::{ConnectionType, ResponseHead, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpStream;

use super::error::status_text;
use crate::http_client::{HttpError, OutgoingRequest};

/// The client's end of an open WebSocket.
pub(in crate::cli) type WebSocket = Framed<TcpStream, Codec>;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HandshakeError {
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("the server answered {} and opened no WebSocket{}", status_text(*.0), admin_port_hint(*.0))]
    Status(StatusCode),
    #[error("the response has no valid Upgrade header")]
    Upgrade,
    #[error("the response has an invalid Connection header")]
    Connection,
    #[error("the response has no Connection header")]
    NoConnection,
    #[error("the response has a wrong Sec-WebSocket-Accept header")]
    Accept,
    #[error("the response has no Sec-WebSocket-Accept header")]
    NoAccept,
}

/// The admin port answers a request for the gateway's route with a redirect or 404.
fn admin_port_hint(status: StatusCode) -> &'static str {
    if status.is_redirection() || status == StatusCode::NOT_FOUND {
        "; this may be the admin port"
    } else {
        ""
    }
}

/// Joins the fragments of a message (RFC 6455, section 5.4).
#[derive(Default)]
pub(in crate::cli) struct FragmentBuffer {
    /// `None` outside of a fragmented text message, and inside a binary one, which the gateway never sends.
    text: Option<Vec<u8>>,
}

impl FragmentBuffer {
    /// Returns the frame, and the whole message instead of its last fragment. `None`: the message is not complete.
    pub(in crate::cli) fn add(
        &mut self,
        frame: Frame,
        max_bytes: usize,
    ) -> Result<Option<Frame>, ProtocolError> {
        let Frame::Continuation(item) = frame else { return Ok(Some(frame)) };
        let (fragment, is_last) = match item {
            Item::FirstBinary(_) => return Ok(None),
            Item::FirstText(fragment) => {
                self.text = Some(Vec::new());
                (fragment, false)
            }
            Item::Continue(fragment) => (fragment, false),
            Item::Last(fragment) => (fragment, true),
        };
        let Some(text) = &mut self.text else { return Ok(None) };
        if text.len() + fragment.len() > max_bytes {
            return Err(ProtocolError::Overflow);
        }
        text.extend_from_slice(&fragment);
        Ok(if is_last { self.text.take().map(|text| Frame::Text(text.into())) } else { None })
    }
}

/// Opens a WebSocket that accepts frames of at most `max_frame_bytes`.
pub(in crate::cli) async fn open(url: &str, max_frame_bytes: usize) -> Result<WebSocket, HandshakeError> {
    let key = STANDARD.encode(rand::random::<[u8; 16]>());
    let mut request = OutgoingRequest::get(url)?
        .header(header::UPGRADE, "websocket")?
        .header(header::SEC_WEBSOCKET_VERSION, "13")?
        .header(header::SEC_WEBSOCKET_KEY, &key)?;
    request.head.set_connection_type(ConnectionType::Upgrade);
    let (answer, connection) = request.exchange_heads().await?;
    check(&answer, &key)?;
    Ok(connection.into_map_codec(|_| Codec::new().max_size(max_frame_bytes).client_mode()))
}

/// Checks that the server accepted the upgrade and answered the key.
fn check(answer: &ResponseHead, key: &str) -> Result<(), HandshakeError> {
    if answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandshakeError::Status(answer.status));
    }
    let mut upgrades = options(&answer.headers, header::UPGRADE);
    if !upgrades.any(|option| option.eq_ignore_ascii_case("websocket")) {
        return Err(HandshakeError::Upgrade);
    }
    let has = |name: &str| {
        options(&answer.headers, header::CONNECTION).any(|option| option.eq_ignore_ascii_case(name))
    };
    if !answer.headers.contains_key(header::CONNECTION) {
        return Err(HandshakeError::NoConnection);
    }
    if has("close") || !has("upgrade") {
        return Err(HandshakeError::Connection);
    }
    let accept = answer.headers.get(header::SEC_WEBSOCKET_ACCEPT).ok_or(HandshakeError::NoAccept)?;
    if accept.as_bytes() != hash_key(key.as_bytes()) {
        return Err(HandshakeError::Accept);
    }
    Ok(())
}

/// The elements of a header with a comma-separated list.
fn options(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_become_one_message_of_bounded_size() {
        let first = || Frame::Continuation(Item::FirstText("ab".into()));
        let middle = || Frame::Continuation(Item::Continue("cd".into()));
        let last = || Frame::Continuation(Item::Last("e".into()));
        let mut buffer = FragmentBuffer::default();
        for _ in 0..2 {
            assert_eq!(buffer.add(first(), 5).unwrap(), None);
            assert_eq!(buffer.add(Frame::Ping("p".into()), 5).unwrap(), Some(Frame::Ping("p".into())));
            assert_eq!(buffer.add(middle(), 5).unwrap(), None);
            assert_eq!(buffer.add(last(), 5).unwrap(), Some(Frame::Text("abcde".into())));
        }
        assert_eq!(buffer.add(Frame::Continuation(Item::FirstBinary("x".into())), 5).unwrap(), None);
        assert_eq!(buffer.add(last(), 5).unwrap(), None);
        assert_eq!(buffer.add(first(), 4).unwrap(), None);
        assert_eq!(buffer.add(middle(), 4).unwrap(), None);
        assert!(matches!(buffer.add(last(), 4), Err(ProtocolError::Overflow)));
    }
}
