//! Addresses and requests of the commands that connect to a running gateway.
//!
//! - `error`: the texts of errors.
//! - `websocket`: the client's handshake, and whole messages of fragments.
//! - `url`: the value of `--url`.

use std::time::Duration;

use actix_http::StatusCode;

use super::Failure;
use crate::http_client::{HttpError, OutgoingRequest};
use crate::settings::plain_io;

pub(super) mod error;
pub(super) mod url;
pub(super) mod websocket;

/// The maximum time until a gateway answers.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request to the gateway at `url`; returns the status and the body of the response.
pub(super) fn send(
    url: &str,
    request: Result<OutgoingRequest, HttpError>,
) -> Result<(StatusCode, String), Failure> {
    let answer = actix_rt::System::new().block_on(async { request?.send().await });
    answer.map_err(|error| Failure::Other(format!("{url}: {}", plain_io(error))))
}
