//! The TCP stream below the HTTP parser: enforces the deadlines of the handshake and rewrites the Upgrade header.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::StatusCode;
use actix_rt::net::TcpStream;
use actix_rt::time::{Instant, Sleep, sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::raw_refusal::write_refusal;
use super::upgrade_header::UpgradeHeaderRewriter;
use super::{UpgradeRefusal, kernel};

/// How many bytes of a head are read at once.
const READ_BYTES: usize = 4 * 1024;

/// The answer to a request whose head is incomplete at the deadline.
const TIMED_OUT: UpgradeRefusal =
    UpgradeRefusal { status: StatusCode::REQUEST_TIMEOUT, reason: "timed_out", headers: &[] };

/// A connection from its accept until its request is answered.
#[derive(Debug)]
pub struct HandshakeStream {
    stream: TcpStream,
    rewriter: UpgradeHeaderRewriter,
    /// Bytes for the parser. It has read the first `consumed` of them.
    parser_input: Vec<u8>,
    consumed: usize,
    timeout: Duration,
    /// The deadline of the head; once the head is complete, the deadline of the body. An upgrade request has no body,
    /// but the parser waits for the end of any other request's body even after the answer.
    deadline: Pin<Box<Sleep>>,
}

impl HandshakeStream {
    /// `timeout` bounds the head, and again the body.
    pub(super) fn new(stream: TcpStream, timeout: Duration) -> Self {
        let deadline = Box::pin(sleep(timeout));
        Self {
            stream,
            rewriter: UpgradeHeaderRewriter::default(),
            parser_input: Vec::new(),
            consumed: 0,
            timeout,
            deadline,
        }
    }

    /// The stream, and the bytes after the request that the parser did not read.
    pub(super) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.parser_input[self.consumed..].to_vec())
    }

    /// Reads more of the head. Ready with 0 at the end of the stream.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        let length = match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len())?,
            Poll::Pending => ready!(self.poll_deadline(cx, &mut bytes))?,
        };
        self.rewriter.push(&bytes[..length], &mut self.parser_input);
        if self.rewriter.is_complete() {
            self.deadline.as_mut().reset(Instant::now() + self.timeout);
        }
        Poll::Ready(Ok(length))
    }

    /// Reads bytes after the head. Fails at the deadline even if more bytes arrive.
    fn poll_body(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            // The request has been answered, so the connection just ends.
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Ready when the deadline has passed: with data that has arrived, or with an error if there is none.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.deadline.as_mut().poll(cx));
        Poll::Ready(match kernel::read(&self.stream, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                write_refusal(&self.stream, &TIMED_OUT);
                Err(ErrorKind::TimedOut.into())
            }
            result => result,
        })
    }
}

impl AsyncRead for HandshakeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let this = &mut *self;
            let unread = &this.parser_input[this.consumed..];
            if !unread.is_empty() {
                let length = unread.len().min(buffer.remaining());
                buffer.put_slice(&unread[..length]);
                this.consumed += length;
                return Poll::Ready(Ok(()));
            }
            this.parser_input.clear();
            this.consumed = 0;
            if this.rewriter.is_complete() {
                return this.poll_body(cx, buffer);
            }
            if ready!(this.poll_head(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for HandshakeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
