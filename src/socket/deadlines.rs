//! The deadlines of the actors of this thread, with one timer for all of them.
//!
//! Deadlines are rounded up to common ticks, so that one wake-up of the thread serves the heartbeats of many sockets, and
//! so that a socket has an entry of four bytes instead of a timer. A socket has one deadline at a time. An entry of a
//! socket that ended, or armed another deadline, has no effect. It stays until its tick; entries of ended sockets are
//! also removed when most sockets have left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_rt::time::{Sleep, sleep_until};

use super::outbox::Outbox;
use super::outbox_registry::{OutboxKey, for_each, on_shrink};
use super::thread_millis::ThreadMillis;

thread_local! {
    static DEADLINES: RefCell<Deadlines> = RefCell::new(Deadlines::new(Instant::now()));
}

/// The deadlines of a thread.
struct Deadlines {
    /// The time of tick 0.
    start: Instant,
    ticks: BTreeMap<ThreadMillis, Vec<OutboxKey>>,
    /// Wakes the timer.
    waker: Option<Waker>,
}

/// Has the actor of a socket receive [`SocketEvent::DeadlinePassed`](super::SocketEvent::DeadlinePassed) at a time or
/// soon after it, and not at the time for which the deadline was armed before. A later deadline is armed again, too: that
/// costs less than an event that is too early. It happens when a client identifies, and once for each heartbeat.
pub fn arm(outbox: &Outbox, key: OutboxKey, at: Instant, now: Instant) {
    // At the end of the thread, its deadlines may be dropped before its last actor.
    let _ = DEADLINES.try_with(|deadlines| deadlines.borrow_mut().arm(outbox, key, at, now));
}

/// Removes the entries of sockets that are not open. They would stay until their ticks, and one small block in use keeps a
/// whole page of the allocator.
fn remove_closed(is_open: &dyn Fn(OutboxKey) -> bool) {
    let _ = DEADLINES.try_with(|deadlines| deadlines.borrow_mut().retain(is_open));
}

/// Starts the timer of the thread. Call it once on each worker thread.
pub(super) fn start_timer() {
    on_shrink(remove_closed);
    actix_rt::spawn(ThreadTimer { sleep: Box::pin(sleep_until(Instant::now().into())) });
}

impl Deadlines {
    fn new(start: Instant) -> Self {
        Self { start, ticks: BTreeMap::new(), waker: None }
    }

    /// A time in milliseconds since the start, rounded up.
    fn millis(&self, at: Instant) -> ThreadMillis {
        let since = at.saturating_duration_since(self.start);
        ThreadMillis(since.as_secs() * 1_000 + u64::from(since.subsec_nanos().div_ceil(1_000_000)))
    }

    fn time_of(&self, tick: ThreadMillis) -> Instant {
        self.start + Duration::from_millis(tick.0)
    }

    fn arm(&mut self, outbox: &Outbox, key: OutboxKey, at: Instant, now: Instant) {
        let at = self.millis(at);
        if outbox.deadline() == at {
            return;
        }
        outbox.set_deadline(at);
        if self.insert(at.to_tick(self.millis(now)), key)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Returns whether the tick is earlier than all others.
    fn insert(&mut self, tick: ThreadMillis, key: OutboxKey) -> bool {
        let is_first = self.next().is_none_or(|first| tick < first);
        self.ticks.entry(tick).or_default().push(key);
        is_first
    }

    fn retain(&mut self, is_open: impl Fn(OutboxKey) -> bool) {
        self.ticks.retain(|_, keys| {
            keys.retain(|key| is_open(*key));
            keys.shrink_to_fit();
            !keys.is_empty()
        });
    }

    fn next(&self) -> Option<ThreadMillis> {
        self.ticks.first_key_value().map(|(tick, _)| *tick)
    }

    /// Removes the first tick if it is due.
    fn take_due(&mut self, now: Instant) -> Option<(ThreadMillis, Vec<OutboxKey>)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_tick_is_not_before_its_deadline() {
        let start = Instant::now();
        let deadlines = Deadlines::new(start);
        let nanosecond = Duration::from_nanos(1);
        for (at, millis) in
            [(Duration::ZERO, 0), (nanosecond, 1), (MS, 1), (MS + nanosecond, 2), (1_500 * MS, 1_500)]
        {
            assert_eq!(deadlines.millis(start + at), ThreadMillis(millis), "{at:?}");
            assert!(deadlines.time_of(ThreadMillis(millis)) >= start + at);
        }
    }

    #[tokio::test]
    async fn a_deadline_replaces_an_earlier_one() {
        let now = Instant::now();
        let mut deadlines = Deadlines::new(now);
        let (outbox, key) = (Outbox::for_test().0, OutboxKey::for_test(1));
        deadlines.arm(&outbox, key, now + 10 * MS, now);
        deadlines.arm(&outbox, key, now + 50 * MS, now);
        for (due, passes) in [(10, false), (50, true)] {
            while let Some((tick, _)) = deadlines.take_due(now + (due + 5) * MS) {
                outbox.on_tick(tick);
            }
            assert_eq!(outbox.take_deadline(), passes, "{due} ms");
        }
    }

    #[test]
    fn ticks_are_due_in_order_and_once() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start);
        let [first, second, third] = [1, 2, 3].map(OutboxKey::for_test);
        assert!(deadlines.insert(ThreadMillis(100), first));
        assert!(!deadlines.insert(ThreadMillis(100), second));
        assert!(deadlines.insert(ThreadMillis(50), third));
        assert_eq!(deadlines.take_due(start + 49 * MS), None);
        assert_eq!(deadlines.take_due(start + 100 * MS), Some((ThreadMillis(50), vec![third])));
        assert_eq!(deadlines.take_due(start + 100 * MS), Some((ThreadMillis(100), vec![first, second])));
        assert_eq!(deadlines.take_due(start + 100 * MS), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn entries_of_closed_sockets_are_removed() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(start);
        let [closed, open, alone] = [1, 2, 3].map(OutboxKey::for_test);
        for (tick, key) in [(100, closed), (100, open), (50, alone)] {
            deadlines.insert(ThreadMillis(tick), key);
        }
        deadlines.retain(|key| key == open);
        assert_eq!(deadlines.take_due(start + 100 * MS), Some((ThreadMillis(100), vec![open])));
        assert_eq!(deadlines.next(), None);
    }
}
