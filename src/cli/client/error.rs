//! Why a request has no response, and the text for each error of a peer.

use std::io::{self, ErrorKind};

use actix_http::StatusCode;
use actix_http::error::{ParseError, PayloadError};
use actix_http::header::InvalidHeaderValue;
use actix_http::uri::InvalidUri;
use actix_http::ws::ProtocolError;

use crate::settings::plain_io;

/// The text that the standard library puts before the reason of the system.
const LOOKUP_PREFIX: &str = "failed to lookup address information: ";

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HttpError {
    #[error("the URL is not valid")]
    Url(#[from] InvalidUri),
    #[error("the URL has no valid port")]
    Port,
    #[error("a header of the request has a value that HTTP does not allow")]
    RequestHeader(#[from] InvalidHeaderValue),
    #[error("cannot resolve the host name: {}", .0.to_string().trim_start_matches(LOOKUP_PREFIX))]
    Resolve(io::Error),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("cannot send the request: {0}")]
    Send(#[from] io::Error),
    #[error("the connection was closed without a response")]
    Closed,
    #[error("timed out waiting for a response")]
    Timeout,
    #[error("the server does not speak HTTP")]
    NotHttp,
    #[error("the response has an invalid header")]
    Header,
    #[error("the response has an invalid status")]
    Status,
    #[error("the response has too large a head")]
    HeadTooLarge,
    #[error("the response has an invalid body")]
    Body,
    #[error("the response has too large a body")]
    BodyTooLarge,
    #[error("the connection was closed before the end of the response")]
    Truncated,
    #[error("timed out before the end of the response")]
    BodyTimeout,
    #[error("cannot read the response: {0}")]
    Receive(io::Error),
}

impl From<ParseError> for HttpError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Header => Self::Header,
            ParseError::Status => Self::Status,
            ParseError::TooLarge => Self::HeadTooLarge,
            ParseError::Io(error) => Self::from_io(error),
            _ => Self::NotHttp,
        }
    }
}

impl From<PayloadError> for HttpError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Overflow => Self::BodyTooLarge,
            PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => Self::from_io(error),
            PayloadError::Incomplete(None) => Self::Truncated,
            _ => Self::Body,
        }
    }
}

impl HttpError {
    /// The codec reports its own errors as I/O errors too.
    fn from_io(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData => Self::Body,
            // "bytes remaining on stream".
            ErrorKind::Other | ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Receive(error),
        }
    }
}

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
