//! A refusal without the HTTP server: before it gets the connection, or after it released it.

use std::io::{Read as _, Write as _};

use actix_rt::net::TcpStream;
use socket2::SockRef;

use super::UpgradeRefusal;

/// Writes the reason as far as possible without waiting, and ends the connection.
pub(super) fn write_refusal(stream: &TcpStream, refusal: &UpgradeRefusal) {
    let reason = refusal.reason;
    let mut answer = format!("HTTP/1.1 {}\r\nconnection: close\r\n", refusal.status);
    for (name, value) in refusal.headers {
        answer += &format!("{name}: {value}\r\n");
    }
    answer += &format!("content-length: {}\r\n\r\n{reason}", reason.len());
    // Bypasses the runtime, which would wait until it knows that the stream is ready.
    let socket = SockRef::from(stream);
    let _ = (&*socket).write(answer.as_bytes());
    // Unread data would make the kernel reset the connection, and the answer might be lost.
    let _ = (&*socket).read(&mut [0; 4_096]);
}
