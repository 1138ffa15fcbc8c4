//! The task of one socket: polls the actor, writes queued frames, enforces the deadlines, and closes the connection.
//!
//! The task polls the actor whether or not the peer reads. `actix-web-actors` runs an actor as a response body, which
//! stops the actor and its timers while the peer does not read (actix-web issue 2441).

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

use super::inbound::{poll_close_answer, poll_peer_eof};
use super::kernel;
use super::limits::ConnectionPermit;
use super::outbox::{Outbox, SocketState};
use super::postponement::Postponement;
use protocol::close::CloseCode;

/// How many outputs of an actor one poll handles before other tasks run.
const MAX_OUTPUTS_PER_POLL: u32 = 16;

/// The task of one socket, until the connection is closed.
///
/// Tokio rounds a task up to a multiple of 128 bytes. So that it needs one such block, the rest of an open socket is
/// boxed together with the context of its actor, which the allocator rounds up to 640 bytes anyway.
pub(super) struct SocketTask<S> {
    stage: TaskStage<S>,
    outbox: Outbox,
}

enum TaskStage<S> {
    Open(Box<OpenSocket<S>>),
    /// Boxed, so that an open socket does not reserve memory for the timers of closing.
    Closing(Pin<Box<dyn Future<Output = ()>>>),
}

struct OpenSocket<S> {
    /// The context of the actor. Frames that the context yields go into the outbox.
    context: S,
    write_stall: StallTimer<u64>,
    message_stall: StallTimer<u32>,
    /// Released when the task ends.
    permit: Option<ConnectionPermit>,
}

impl<S> SocketTask<S>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin,
{
    pub(super) fn new(context: S, outbox: Outbox, permit: ConnectionPermit) -> Self {
        let (write_stall, message_stall) = (StallTimer::default(), StallTimer::default());
        let open = OpenSocket { context, write_stall, message_stall, permit: Some(permit) };
        Self { stage: TaskStage::Open(Box::new(open)), outbox }
    }
}

impl<S> Future for SocketTask<S>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { stage, outbox } = &mut *self;
        if let TaskStage::Open(open) = stage {
            let OpenSocket { context, write_stall, message_stall, permit } = &mut **open;
            ready!(if poll_open(context, outbox, write_stall, cx).is_pending() {
                poll_message_timeout(outbox, message_stall, cx)
            } else {
                Poll::Ready(())
            });
            let closing = close(outbox.clone(), permit.take());
            // Drops the context, and with it the actor.
            *stage = TaskStage::Closing(Box::pin(closing));
        }
        match stage {
            TaskStage::Closing(closing) => closing.as_mut().poll(cx),
            TaskStage::Open(_) => Poll::Pending,
        }
    }
}

/// Polls the actor and writes queued frames. Ready when the socket must be closed.
fn poll_open<S>(
    context: &mut S,
    outbox: &Outbox,
    write_stall: &mut StallTimer<u64>,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    S: Stream<Item = Result<Bytes, Error>> + Unpin,
{
    outbox.set_task_waker(cx.waker());
    for round in 0.. {
        // A panic ends this session only. The actor is not polled again: the caller drops it.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *context).poll_next(cx)));
        match polled {
            Ok(Poll::Ready(Some(Ok(frames)))) => {
                outbox.push(frames);
            }
            Ok(Poll::Ready(Some(Err(_)) | None)) => return Poll::Ready(()),
            Ok(Poll::Pending) => break,
            Err(_) => {
                log::error!("the actor of a session panicked; closing its socket with 1011");
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
                // The peer reads. The next poll arms the timer again.
                write_stall.disarm();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            outbox.close(CloseCode::TooSlow);
            Poll::Ready(())
        }
    }
}

/// Ready when a message has been incomplete for `message_timeout`; the socket is then closing. A socket between
/// messages has no timer.
fn poll_message_timeout(outbox: &Outbox, timer: &mut StallTimer<u32>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(number) = outbox.reading().borrow().incomplete_message() else {
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

/// Writes queued frames, waits for the peer's Close if the peer owes one, and shuts the connection down: first the
/// gateway's side, then the peer's. The permit is released at the end.
async fn close(outbox: Outbox, _permit: Option<ConnectionPermit>) {
    let options = outbox.options();
    // Written data may still be in the kernel's send buffer when the socket is dropped. By default the kernel keeps it
    // for minutes for a peer that does not read.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(outbox.stream()).set_tcp_user_timeout(Some(options.write_timeout));
    let flush_timeout = match outbox.state() {
        SocketState::Failed => return,
        SocketState::Flushing => options.close_timeout,
        SocketState::Open | SocketState::Closing => options.write_timeout,
    };
    if !flush(&outbox, flush_timeout).await {
        // Resets the connection. Otherwise the kernel keeps unsent data for minutes for a peer that does not read.
        let _ = SockRef::from(outbox.stream()).set_linger(Some(Duration::ZERO));
        return;
    }
    if outbox.state() == SocketState::Closing {
        let _ = timeout(options.close_timeout, poll_fn(|cx| poll_close_answer(&outbox, cx))).await;
    }
    if SockRef::from(outbox.stream()).shutdown(std::net::Shutdown::Write).is_ok() {
        let _ = timeout(options.close_timeout, poll_fn(|cx| poll_peer_eof(&outbox, cx))).await;
    }
    // Unread data would make the kernel reset the connection, and the peer might not see the Close.
    kernel::discard(outbox.stream());
}

/// Writes all queued frames. Returns false if this fails or takes longer than `limit`.
async fn flush(outbox: &Outbox, limit: Duration) -> bool {
    match timeout(limit, poll_fn(|cx| outbox.poll_flush(cx))).await {
        Ok(flushed) => flushed.is_ok(),
        Err(_) => {
            outbox.write_directly();
            !outbox.has_queued()
        }
    }
}

/// Fires when something makes no progress for too long: a write, or an incomplete message. It allocates its timer at
/// the first poll.
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

    /// Ready when `progress` has not changed for `limit`.
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

    /// Postpones the deadline if there is unread data. Returns whether the deadline was postponed.
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

    /// Tokio adds 104 bytes and rounds up to a multiple of 128, for every idle socket.
    #[test]
    fn the_task_of_a_socket_fits_into_128_bytes() {
        let size = size_of::<SocketTask<Empty<Result<Bytes, Error>>>>();
        assert!(size <= 128 - 104, "{size} bytes");
    }
}
