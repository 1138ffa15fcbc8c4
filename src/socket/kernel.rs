//! Reads and writes a socket without the runtime.
//!
//! The runtime knows only the result of its last poll. When the process or the machine resumes after a pause, all due
//! timers fire before the next poll, while data from peers is unread in the kernel. So a deadline checks the kernel
//! before it closes a socket.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;

use actix_rt::net::TcpStream;
use socket2::SockRef;

/// Whether there is unread data.
pub(super) fn has_unread(stream: &TcpStream) -> bool {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|length| length > 0)
}

/// Reads data that has arrived. Fails with `WouldBlock` if there is none.
pub(super) fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    (&*SockRef::from(stream)).read(buffer)
}

/// Writes as much as the kernel accepts. Fails with `WouldBlock` if it accepts nothing.
pub(super) fn write(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    (&*SockRef::from(stream)).write_vectored(slices)
}

/// Reads and discards pending data, at most 256 KiB. The bound ends the loop for a peer that never stops sending.
pub(super) fn discard(stream: &TcpStream) {
    const READS: usize = 64;
    let mut buffer = [0; 4 * 1024];
    for _ in 0..READS {
        if !read(stream, &mut buffer).is_ok_and(|length| length > 0) {
            return;
        }
    }
}
