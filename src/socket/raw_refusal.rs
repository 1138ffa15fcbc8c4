//! Ends a connection with an HTTP response.

use std::io::{Read as _, Write as _};

use actix_rt::net::TcpStream;
use socket2::SockRef;

use super::http_response::FinalResponse;

/// Writes a response without waiting. The caller drops the connection.
pub(super) fn write_refusal(stream: &TcpStream, response: &FinalResponse) {
    // Bypasses the runtime, which refuses to write until it has polled the stream as ready.
    let socket = SockRef::from(stream);
    let _ = (&*socket).write(&response.to_bytes());
    // With unread data the kernel would reset the connection, and the peer might lose the answer.
    let _ = (&*socket).read(&mut [0; 4_096]);
}
