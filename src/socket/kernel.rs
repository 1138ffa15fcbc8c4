//! Asks the kernel about a socket directly.
//!
//! The runtime knows only the result of its last poll. After the process was stopped or the machine paused, all due
//! timers fire before the next poll, while data from peers is unread in the kernel. So a deadline checks the kernel
//! before it ends a socket.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;

use actix_rt::net::TcpStream;
use socket2::SockRef;

/// Whether there is unread data.
pub(super) fn has_unread(stream: &TcpStream) -> bool {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|length| length > 0)
}

/// Reads what has arrived. Fails with `WouldBlock` if there is nothing.
pub(super) fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    (&*SockRef::from(stream)).read(buffer)
}

/// Writes what the kernel takes. Fails with `WouldBlock` if it takes nothing.
pub(super) fn write(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    (&*SockRef::from(stream)).write_vectored(slices)
}

/// Reads and drops pending data, up to the amount that a peer may have sent before it saw our Close.
pub(super) fn discard(stream: &TcpStream) {
    const READS: usize = 64;
    let mut buffer = [0; 4 * 1024];
    for _ in 0..READS {
        if !read(stream, &mut buffer).is_ok_and(|length| length > 0) {
            return;
        }
    }
}
