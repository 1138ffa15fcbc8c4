//! The deadlines of the actors of this thread, with one timer for all of them.
//!
//! Deadlines are rounded up to a common tick, so that one wake-up of the thread serves the heartbeats of many sockets,
//! and so that a socket has an entry of four bytes instead of a timer. A socket has one deadline at a time. An entry of
//! a socket that ended, or armed its deadline anew, stays until its tick and has no effect.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_rt::time::{Sleep, sleep_until};

use super::deadline_tick::{TICK, Tick};
use super::outbox::Outbox;
use super::outbox_registry::{OutboxKey, for_each};

thread_local! {
    static DEADLINES: RefCell<Deadlines> = RefCell::new(Deadlines::new(Instant::now()));
}

/// The deadlines of a thread.
struct Deadlines {
    /// The time of tick 0.
    start: Instant,
    ticks: BTreeMap<Tick, Vec<OutboxKey>>,
    has_timer: bool,
    /// Wakes the timer.
    waker: Option<Waker>,
}

/// Has the actor of a socket receive [`SocketEvent::DeadlinePassed`](super::SocketEvent::DeadlinePassed) at the first
/// tick after a time, or earlier if the deadline is armed for an earlier time. Most deadlines move with every frame, and
/// an early event costs less than arming the deadline again.
pub fn arm(outbox: &Outbox, key: OutboxKey, at: Instant) {
    DEADLINES.with_borrow_mut(|deadlines| {
        let tick = deadlines.tick_after(at);
        deadlines.arm(outbox, key, tick);
    });
}

/// Call when the deadline of a socket has passed. Postpones it by a tick and returns true if it would close the session
/// while data of the peer is unread.
pub fn postpone(outbox: &Outbox, key: OutboxKey, would_close: bool) -> bool {
    let is_postponed = outbox.postpone_deadline(would_close);
    if is_postponed {
        DEADLINES.with_borrow_mut(|deadlines| {
            // The current tick has been handled.
            let soon = Instant::now() + Duration::from_nanos(1);
            let tick = deadlines.tick_after(soon);
            deadlines.arm(outbox, key, tick);
        });
    }
    is_postponed
}

impl Deadlines {
    fn new(start: Instant) -> Self {
        Self { start, ticks: BTreeMap::new(), has_timer: false, waker: None }
    }

    /// The first tick at a time or after it.
    fn tick_after(&self, at: Instant) -> Tick {
        let ticks = at.saturating_duration_since(self.start).as_nanos().div_ceil(TICK.as_nanos());
        Tick(u32::try_from(ticks).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }

    fn time_of(&self, tick: Tick) -> Instant {
        self.start + TICK * tick.0
    }

    fn arm(&mut self, outbox: &Outbox, key: OutboxKey, tick: Tick) {
        if outbox.armed_tick() <= tick {
            return;
        }
        outbox.set_armed_tick(tick);
        let is_first = self.insert(tick, key);
        if !self.has_timer {
            self.has_timer = true;
            actix_rt::spawn(ThreadTimer { sleep: Box::pin(sleep_until(Instant::now().into())) });
        } else if is_first && let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Returns whether the tick is earlier than all others.
    fn insert(&mut self, tick: Tick, key: OutboxKey) -> bool {
        let is_first = self.next().is_none_or(|first| tick < first);
        self.ticks.entry(tick).or_default().push(key);
        is_first
    }

    fn next(&self) -> Option<Tick> {
        self.ticks.first_key_value().map(|(tick, _)| *tick)
    }

    /// Removes the first tick if it is due.
    fn take_due(&mut self, now: Instant) -> Option<(Tick, Vec<OutboxKey>)> {
        let next = self.next().filter(|next| self.time_of(*next) <= now)?;
        self.ticks.remove_entry(&next)
    }
}

/// The timer of a thread.
struct ThreadTimer {
    sleep: Pin<Box<Sleep>>,
}

impl Future for ThreadTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            while let Some((tick, keys)) = DEADLINES.with_borrow_mut(|deadlines| deadlines.take_due(now)) {
                for_each(&keys, |outbox| outbox.on_tick(tick));
            }
            let next = DEADLINES.with_borrow_mut(|deadlines| {
                deadlines.waker = Some(cx.waker().clone());
                deadlines.next().map(|next| deadlines.time_of(next))
            });
            let Some(next) = next else { return Poll::Pending };
            self.sleep.as_mut().reset(next.into());
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for ThreadTimer {
    /// A later runtime of the same thread starts a timer of its own.
    fn drop(&mut self) {
        // At the end of the thread, its deadlines may be dropped before its tasks.
        let _ = DEADLINES.try_with(|deadlines| {
            if let Ok(mut deadlines) = deadlines.try_borrow_mut() {
                *deadlines = Deadlines::new(Instant::now());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_deadline_is_rounded_up_to_a_tick() {
        let start = Instant::now();
        let deadlines = Deadlines::new(start);
        for (after, due) in [(0, 0), (1, 50), (50, 50), (51, 100), (45_000, 45_000)] {
            let tick = deadlines.tick_after(start + after * MS);
            assert_eq!(deadlines.time_of(tick), start + due * MS, "{after} ms");
        }
        assert_eq!(deadlines.tick_after(start + Duration::from_hours(24 * 365 * 20)), Tick(u32::MAX - 1));
    }

    #[test]
    fn ticks_are_due_in_order_and_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start);
        let [first, second, third] = [1, 2, 3].map(OutboxKey::for_test);
        assert!(deadlines.insert(Tick(2), first));
        assert!(!deadlines.insert(Tick(2), second));
        assert!(deadlines.insert(Tick(1), third));
        assert_eq!(deadlines.take_due(start + 49 * MS), None);
        assert_eq!(deadlines.take_due(start + 100 * MS), Some((Tick(1), vec![third])));
        assert_eq!(deadlines.take_due(start + 100 * MS), Some((Tick(2), vec![first, second])));
        assert_eq!(deadlines.take_due(start + 100 * MS), None);
        assert_eq!(deadlines.next(), None);
    }
}
