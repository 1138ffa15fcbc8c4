//! Waits for conditions with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Polls `probe` until it returns a value; fails the test after `deadline`. Tests wait in no other way.
#[track_caller]
pub(crate) fn eventually<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "the condition did not become true within {deadline:?}");
        pause(Duration::from_millis(2));
    }
}

/// Polls `actual` until it returns `expected`; a failure shows the last value.
#[track_caller]
pub(crate) fn eventually_eq<T: PartialEq + Debug>(
    deadline: Duration,
    expected: &T,
    mut actual: impl FnMut() -> T,
) {
    let end = Instant::now() + deadline;
    loop {
        let value = actual();
        if value == *expected {
            return;
        }
        assert!(
            Instant::now() < end,
            "expected {expected:?} within {deadline:?}, the last value was {value:?}"
        );
        pause(Duration::from_millis(2));
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's thread has no sockets to serve")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
