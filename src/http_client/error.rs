//! Why a request has no response.

use std::io::{self, ErrorKind};

use actix_http::error::{ParseError, PayloadError};
use actix_http::header::InvalidHeaderValue;
use actix_http::uri::InvalidUri;

/// The text that the standard library puts before the reason of the system.
const LOOKUP_PREFIX: &str = "failed to lookup address information: ";

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
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
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("TLS is not supported here")]
    TlsNotSupported,
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
