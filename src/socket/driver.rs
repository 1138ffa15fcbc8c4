//! The task that drives one socket: it lets the actor run, writes what waits, keeps the deadlines, and closes.
//!
//! The actor is polled whether or not the peer reads. (Run as a response body, as `actix-web-actors` does by
//! itself, an actor stands still while its peer does not read, timers included: actix-web issue 2441.)

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep, timeout};
use actix_web::Error;
use bytes::Bytes;
use futures_util::Stream;
use socket2::SockRef;

use super::inbound::Reader;
use super::kernel;
use super::limits::ConnectionPermit;
use super::outbox::{Outbox, SocketState};
use super::postponement::Postponement;
use protocol::close::CloseCode;

/// How many pieces of output an actor may produce in a row before others run.
const MAX_OUTPUTS_PER_POLL: u32 = 16;

/// Carries one socket to its end.
///
/// A plain struct rather than an async function: that would hold all it is given twice, as its arguments and where it works
/// with them, and this is most of what a silent socket's task is made of (384 bytes a task as a function, 256 so).
pub(super) struct Driver<S> {
    stage: DriverStage<S>,
    outbox: Outbox,
    reader: Reader,
    write_stall: StallTimer<u64>,
    message_stall: StallTimer<u32>,
    /// Held until the end.
    _permit: ConnectionPermit,
}

enum DriverStage<S> {
    /// With the actor; what it yields goes into the outbox like everything else.
    Open(Pin<Box<S>>),
    /// Boxed, so that a socket that is open does not carry the timers of its end.
    Closing(Pin<Box<dyn Future<Output = ()>>>),
}

impl<S> Driver<S>
where
    S: Stream<Item = Result<Bytes, Error>>,
{
    pub(super) fn new(
        context: Pin<Box<S>>,
        outbox: Outbox,
        reader: Reader,
        permit: ConnectionPermit,
    ) -> Self {
        Self {
            stage: DriverStage::Open(context),
            outbox,
            reader,
            write_stall: StallTimer::default(),
            message_stall: StallTimer::default(),
            _permit: permit,
        }
    }
}

impl<S> Future for Driver<S>
where
    S: Stream<Item = Result<Bytes, Error>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stage, outbox, reader, write_stall, message_stall, .. } = &mut *self;
        if let DriverStage::Open(context) = stage {
            let open = poll_open(context.as_mut(), outbox, write_stall, cx);
            ready!(if open.is_pending() {
                poll_message_timeout(outbox, reader, message_stall, cx)
            } else {
                open
            });
            // With the context goes the actor.
            *stage = DriverStage::Closing(Box::pin(close(outbox.clone(), reader.clone())));
        }
        match stage {
            DriverStage::Closing(closing) => closing.as_mut().poll(cx),
            DriverStage::Open(_) => Poll::Pending,
        }
    }
}

/// One round while the socket is open. Ready when it is to be closed.
fn poll_open<S>(
    mut context: Pin<&mut S>,
    outbox: &Outbox,
    write_stall: &mut StallTimer<u64>,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: Stream<Item = Result<Bytes, Error>>,
{
    outbox.set_driver(cx.waker());
    for round in 0.. {
        // A panic ends this session only. The actor is not asked again: it is dropped next.
        let polled = catch_unwind(AssertUnwindSafe(|| context.as_mut().poll_next(cx)));
        match polled {
            Ok(Poll::Ready(Some(Ok(frames)))) => {
                outbox.push(frames);
            }
            Ok(Poll::Ready(Some(Err(_)) | None)) => return Poll::Ready(()),
            Ok(Poll::Pending) => break,
            Err(_) => {
                log::error!("a session's actor panicked; its socket is closed");
                outbox.close(CloseCode::InternalError);
                return Poll::Ready(());
            }
        }
        if round == MAX_OUTPUTS_PER_POLL {
            cx.waker().wake_by_ref();
            break;
        }
    }
    if outbox.state() != SocketState::Open {
        return Poll::Ready(());
    }
    match outbox.poll_flush(cx) {
        Poll::Ready(Ok(())) => {
            write_stall.disarm();
            Poll::Pending
        }
        Poll::Ready(Err(_)) => {
            outbox.fail();
            Poll::Ready(())
        }
        Poll::Pending => {
            if write_stall.poll(outbox.options().write_timeout, outbox.progress(), cx).is_pending() {
                return Poll::Pending;
            }
            if outbox.write_directly() {
                // The peer reads. The next round arms the timer again.
                write_stall.disarm();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            outbox.close(CloseCode::TooSlow);
            Poll::Ready(())
        }
    }
}

/// Ready when a message has been begun and not completed for too long: it is closed. A socket that is between
/// messages has no timer.
fn poll_message_timeout(
    outbox: &Outbox,
    reader: &Reader,
    timer: &mut StallTimer<u32>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(number) = reader.incomplete_message() else {
        timer.disarm();
        return Poll::Pending;
    };
    while timer.poll(outbox.options().message_timeout, number, cx).is_ready() {
        if !timer.postpone(outbox.has_unread()) {
            outbox.close(CloseCode::PolicyViolation);
            return Poll::Ready(());
        }
    }
    Poll::Pending
}

/// Writes the rest, waits for the peer's Close where one is due, and ends the connection in order: our side
/// first, then the peer's.
async fn close(outbox: Outbox, reader: Reader) {
    let options = outbox.options();
    // What we have written may still wait in the kernel when we let go of the socket. It would keep that for
    // minutes for a peer that does not read; so, as before, no longer than nothing of it is taken for a while.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(outbox.stream()).set_tcp_user_timeout(Some(options.write_timeout));
    let flush_timeout = match outbox.state() {
        SocketState::Failed => return,
        SocketState::Flushing => options.close_timeout,
        SocketState::Open | SocketState::Closing => options.write_timeout,
    };
    if !flush(&outbox, flush_timeout).await {
        // Reset: otherwise the kernel keeps what it could not send, for a peer that does not read, for minutes.
        let _ = SockRef::from(outbox.stream()).set_linger(Some(Duration::ZERO));
        return;
    }
    if outbox.state() == SocketState::Closing {
        let _ = timeout(options.close_timeout, poll_fn(|cx| reader.poll_close_answer(cx))).await;
    }
    if SockRef::from(outbox.stream()).shutdown(std::net::Shutdown::Write).is_ok() {
        let _ = timeout(options.close_timeout, poll_fn(|cx| reader.poll_peer_eof(cx))).await;
    }
    // Unread data would make the kernel reset the connection, and the peer might not see the Close.
    kernel::discard(outbox.stream());
}

/// Writes the rest. Returns whether all of it was written.
async fn flush(outbox: &Outbox, flush_timeout: Duration) -> bool {
    match timeout(flush_timeout, poll_fn(|cx| outbox.poll_flush(cx))).await {
        Ok(flushed) => flushed.is_ok(),
        Err(_) => {
            outbox.write_directly();
            !outbox.has_queued()
        }
    }
}

/// Notices that something has stood still for too long: a write without progress, a message without its end. It
/// has no timer until it is asked.
struct StallTimer<T>(Option<Box<ArmedTimer<T>>>);

struct ArmedTimer<T> {
    timer: Pin<Box<Sleep>>,
    progress: T,
    postponement: Postponement,
}

impl<T> Default for StallTimer<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq + Copy> StallTimer<T> {
    fn disarm(&mut self) {
        self.0 = None;
    }

    /// Ready when `progress` has been the same for so long.
    fn poll(&mut self, limit: Duration, progress: T, cx: &mut Context<'_>) -> Poll<()> {
        let armed = self.0.get_or_insert_with(|| {
            Box::new(ArmedTimer {
                timer: Box::pin(sleep(limit)),
                progress,
                postponement: Postponement::default(),
            })
        });
        if armed.progress != progress {
            armed.progress = progress;
            armed.postponement.reset();
            armed.timer.as_mut().reset(Instant::now() + limit);
        }
        armed.timer.as_mut().poll(cx)
    }

    /// Postpones the deadline if there is unread data. Returns whether it did.
    fn postpone(&mut self, has_unread: bool) -> bool {
        let Some(armed) = &mut self.0 else { return false };
        let Some(step) = armed.postponement.postpone(has_unread) else { return false };
        armed.timer.as_mut().reset(Instant::now() + step);
        true
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::Empty;

    use super::*;

    /// Tokio adds 104 bytes and rounds up to a multiple of 128. Every silent socket pays for what is above this.
    #[test]
    fn the_task_of_a_socket_fits_into_256_bytes() {
        let size = size_of::<Driver<Empty<Result<Bytes, Error>>>>();
        assert!(size <= 256 - 104, "{size} bytes");
    }
}
