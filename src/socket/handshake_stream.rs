//! Reads the request of a connection, within the deadline of the handshake.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::StatusCode;
use actix_rt::net::TcpStream;
use actix_rt::time::{Sleep, sleep};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::http_response::FinalResponse;
use super::raw_refusal::write_refusal;
use super::request::{RequestHead, parse_head};
use super::{UpgradeRefusal, kernel};

/// How many bytes are read at once.
const READ_BYTES: usize = 4 * 1024;

/// The answer to a request whose head is incomplete at the deadline.
const TIMED_OUT: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::REQUEST_TIMEOUT, reason: "timed_out", headers: &[] };

/// A connection from its accept until its request is answered.
#[derive(Debug)]
pub(super) struct HandshakeStream {
    stream: TcpStream,
    /// The bytes of the incomplete head; afterwards those that follow the head.
    received: Vec<u8>,
    /// Whether more bytes than the head belong to the request, as far as is known.
    has_more: bool,
    deadline: Pin<Box<Sleep>>,
}

impl HandshakeStream {
    /// `timeout` bounds the time until the request has arrived, or until a refused client has ended the connection.
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> Self {
        Self { stream, received: Vec::new(), has_more: true, deadline: Box::pin(sleep(timeout)) }
    }

    /// The stream, and the bytes that followed the request.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    /// Reads the head of the request and passes it to `decide`. Returns the result of `decide`, or the refusal of a
    /// request that is not valid; `None` if the client left or was too slow.
    pub(super) async fn read_head<T>(
        &mut self,
        decide: impl Fn(&RequestHead<'_>) -> Result<T, FinalResponse>,
    ) -> Option<Result<T, FinalResponse>> {
        loop {
            let read = poll_fn(|cx| self.poll_read(cx)).await;
            if !read.is_ok_and(|length| length > 0) {
                return None;
            }
            match parse_head(&self.received, |head| (head.has_body(), decide(head))) {
                Ok(None) => {}
                Ok(Some((length, (has_body, decided)))) => {
                    self.received = self.received.split_off(length);
                    self.has_more = has_body;
                    return Some(decided);
                }
                Err(refusal) => return Some(Err(refusal.into())),
            }
        }
    }

    /// Writes a response and ends the connection. If more of the request is on its way, waits until the client has ended
    /// its side: with unread data the kernel would reset the connection, and the client might lose the answer.
    pub(super) async fn refuse(mut self, response: &FinalResponse) {
        write_refusal(&self.stream, response);
        if self.has_more && SockRef::from(&self.stream).shutdown(Shutdown::Write).is_ok() {
            poll_fn(|cx| self.poll_end(cx)).await;
        }
    }

    /// Appends bytes to those received. At the deadline, reads bytes that have arrived, or fails if there are none.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => result?,
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(cx));
                let length = self.read_at_deadline(buffer.initialize_unfilled())?;
                buffer.advance(length);
            }
        }
        self.received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn read_at_deadline(&self, bytes: &mut [u8]) -> io::Result<usize> {
        kernel::read(&self.stream, bytes).inspect_err(|error| {
            if error.kind() == ErrorKind::WouldBlock {
                write_refusal(&self.stream, &TIMED_OUT.into());
            }
        })
    }

    /// Reads and drops bytes. Ready at the end of the stream, or at the deadline even if more bytes arrive.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        while self.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }
}
