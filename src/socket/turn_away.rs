//! A refusal without the HTTP server: before it has the connection, or after it has given it up.

use std::io::{Read as _, Write as _};

use actix_rt::net::TcpStream;
use socket2::SockRef;

use super::Refusal;

/// Says why, as far as it can be said without waiting, and ends the connection.
pub(super) fn turn_away(stream: &TcpStream, refusal: &Refusal) {
    let reason = refusal.reason;
    let mut answer = format!("HTTP/1.1 {}\r\nconnection: close\r\n", refusal.status);
    for (name, value) in refusal.headers {
        answer += &format!("{name}: {value}\r\n");
    }
    answer += &format!("content-length: {}\r\n\r\n{reason}", reason.len());
    // Not through the runtime, which would have to wait until it knows that the stream is ready.
    let socket = SockRef::from(stream);
    let _ = (&*socket).write(answer.as_bytes());
    // What is left unread would make the kernel reset the connection, and the answer might be lost.
    let _ = (&*socket).read(&mut [0; 4_096]);
}
