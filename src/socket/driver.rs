//! The task that drives one socket: it lets the actor run, writes what waits, keeps the deadlines, and closes.
//!
//! The actor is polled whether or not the peer reads. (Run as a response body, as `actix-web-actors` does by
//! itself, an actor stands still while its peer does not read, timers included: actix-web issue 2441.)

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_rt::time::{Instant, Sleep, sleep, timeout};
use actix_web::Error;
use bytes::Bytes;
use futures_util::Stream;
use socket2::SockRef;

use super::SocketOptions;
use super::inbound::Reader;
use super::limits::Place;
use super::outbox::{Outbox, State};
use crate::protocol::close::CloseCode;

/// How many pieces of output an actor may produce in a row before others run.
const OUTPUT_IN_A_ROW: u32 = 16;

/// Carries one socket to its end. `context` is the actor; what it yields goes into the outbox like everything
/// else. `place` is held until the end.
pub(super) async fn drive(
    mut context: Pin<Box<impl Stream<Item = Result<Bytes, Error>>>>,
    outbox: Outbox,
    reader: Reader,
    options: Rc<SocketOptions>,
    place: Place,
) {
    let mut stall = StandstillTimer::new(options.write_timeout);
    let mut unfinished = StandstillTimer::new(options.message_timeout);
    poll_fn(|cx| {
        let open = poll_open(context.as_mut(), &outbox, &mut stall, cx);
        if open.is_pending() { poll_unfinished(&outbox, &reader, &mut unfinished, cx) } else { open }
    })
    .await;
    // With the context goes the actor.
    drop(context);
    // Boxed, so that a socket that is open does not carry the timers of its end.
    Box::pin(close(&outbox, &reader, &options)).await;
    drop(place);
}

/// One round while the socket is open. Ready when it is to be closed.
fn poll_open<S>(
    mut context: Pin<&mut S>,
    outbox: &Outbox,
    stall: &mut StandstillTimer<u64>,
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
        if round == OUTPUT_IN_A_ROW {
            cx.waker().wake_by_ref();
            break;
        }
    }
    if outbox.state() != State::Open {
        return Poll::Ready(());
    }
    match outbox.poll_flush(cx) {
        Poll::Ready(Ok(())) => {
            stall.disarm();
            Poll::Pending
        }
        Poll::Ready(Err(_)) => {
            outbox.fail();
            Poll::Ready(())
        }
        Poll::Pending => {
            if stall.poll(outbox.progress(), cx).is_ready() {
                outbox.close(CloseCode::TooSlow);
                return Poll::Ready(());
            }
            Poll::Pending
        }
    }
}

/// Ready when a message has been begun and not completed for too long: it is closed. A socket that is between
/// messages has no timer.
fn poll_unfinished(
    outbox: &Outbox,
    reader: &Reader,
    timer: &mut StandstillTimer<u32>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(number) = reader.unfinished() else {
        timer.disarm();
        return Poll::Pending;
    };
    if timer.poll(number, cx).is_pending() {
        return Poll::Pending;
    }
    outbox.close(CloseCode::PolicyViolation);
    Poll::Ready(())
}

/// Writes the rest, waits for the peer's Close where one is due, and ends the connection in order: our side
/// first, then the peer's.
async fn close(outbox: &Outbox, reader: &Reader, options: &SocketOptions) {
    // What we have written may still wait in the kernel when we let go of the socket. It would keep that for
    // minutes for a peer that does not read; so, as before, no longer than nothing of it is taken for a while.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(outbox.stream()).set_tcp_user_timeout(Some(options.write_timeout));
    let patience = match outbox.state() {
        State::Broken => return,
        State::Leaving => options.close_timeout,
        State::Open | State::Closing => options.write_timeout,
    };
    let flushed = timeout(patience, poll_fn(|cx| outbox.poll_flush(cx))).await;
    if !matches!(flushed, Ok(Ok(()))) {
        // Reset: otherwise the kernel keeps what it could not send, for a peer that does not read, for minutes.
        let _ = SockRef::from(outbox.stream()).set_linger(Some(Duration::ZERO));
        return;
    }
    if outbox.state() == State::Closing {
        let _ = timeout(options.close_timeout, poll_fn(|cx| reader.poll_answer(cx))).await;
    }
    if SockRef::from(outbox.stream()).shutdown(std::net::Shutdown::Write).is_ok() {
        let _ = timeout(options.close_timeout, poll_fn(|cx| reader.poll_silence(cx))).await;
    }
}

/// Notices that something has stood still for too long: a write without progress, a message without its end. It
/// has no timer until it is asked.
struct StandstillTimer<T> {
    limit: Duration,
    armed: Option<(Pin<Box<Sleep>>, T)>,
}

impl<T: PartialEq + Copy> StandstillTimer<T> {
    fn new(limit: Duration) -> Self {
        Self { limit, armed: None }
    }

    fn disarm(&mut self) {
        self.armed = None;
    }

    /// Ready when `mark` has been the same for the limit.
    fn poll(&mut self, mark: T, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let (timer, seen) = self.armed.get_or_insert_with(|| (Box::pin(sleep(limit)), mark));
        if *seen != mark {
            *seen = mark;
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(cx)
    }
}
