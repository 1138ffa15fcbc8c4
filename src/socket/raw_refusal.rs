//! Refuses a connection with an HTTP response.

use std::io::{Read as _, Write as _};

use actix_rt::net::TcpStream;
use socket2::SockRef;

use super::UpgradeRefusal;

/// Writes the refusal as an HTTP response without waiting. The caller drops the connection.
pub(super) fn write_refusal(stream: &TcpStream, refusal: &UpgradeRefusal) {
    let reason = refusal.reason;
    let mut answer = format!("HTTP/1.1 {}\r\nconnection: close\r\n", refusal.status);
    for (name, value) in refusal.headers {
        answer += &format!("{name}: {value}\r\n");
    }
    answer += &format!("content-length: {}\r\n\r\n{reason}", reason.len());
    // Bypasses the runtime, which refuses to write until it has polled the stream as ready.
    let socket = SockRef::from(stream);
    let _ = (&*socket).write(answer.as_bytes());
    // With unread data the kernel would reset the connection, and the peer might lose the answer.
    let _ = (&*socket).read(&mut [0; 4_096]);
}
