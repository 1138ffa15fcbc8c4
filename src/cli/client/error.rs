//! The text for each error of a peer.

use std::io::ErrorKind;

use actix_http::StatusCode;
use actix_http::ws::ProtocolError;

use crate::settings::plain_io;

/// The status, with its name if it has one.
pub(in crate::cli) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    }
}

/// Why a WebSocket cannot be used any longer.
pub(in crate::cli) fn websocket_error(error: ProtocolError) -> String {
    let sent = match error {
        ProtocolError::MaskedFrame => "a masked frame".to_owned(),
        ProtocolError::InvalidOpcode(opcode) => format!("a frame with the unknown opcode {opcode}"),
        ProtocolError::InvalidLength(_) => "a control frame of an invalid length".to_owned(),
        // The codec has one error for a code that must not be sent and for a reason that is not UTF-8.
        ProtocolError::BadOpCode => "a Close with an invalid code or reason".to_owned(),
        ProtocolError::Overflow => "too large a message".to_owned(),
        ProtocolError::ContinuationNotStarted
        | ProtocolError::ContinuationStarted
        | ProtocolError::ContinuationFragment(_) => "fragments in an invalid order".to_owned(),
        ProtocolError::Io(error) => match error.kind() {
            ErrorKind::InvalidData => "a frame with reserved bits".to_owned(),
            ErrorKind::Other => return "the connection was closed inside a frame".to_owned(),
            _ => return plain_io(error),
        },
        ProtocolError::UnmaskedFrame => "an invalid frame".to_owned(),
    };
    format!("the server sent {sent}")
}
