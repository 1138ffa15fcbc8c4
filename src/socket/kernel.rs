//! Asks the kernel about a socket, past the runtime.
//!
//! The runtime knows of a socket what its last poll of the kernel said. After the process was stopped or the machine was
//! paused, all timers that are due fire before that poll is made again: what peers sent meanwhile lies in the kernel,
//! and the runtime does not know it. So no deadline ends a socket before the kernel itself was asked.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;

use actix_rt::net::TcpStream;
use socket2::SockRef;

/// Whether bytes have arrived that were not read.
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

/// Reads what has arrived and drops it, up to what a peer may have sent before it saw our Close.
pub(super) fn discard(stream: &TcpStream) {
    const READS: usize = 64;
    let mut buffer = [0; 4 * 1024];
    for _ in 0..READS {
        if !read(stream, &mut buffer).is_ok_and(|length| length > 0) {
            return;
        }
    }
}
