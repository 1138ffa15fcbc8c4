//! The settings of heartbeats, and the timer of a session's actor, which times all deadlines of the session.
//!
//! Each session has its own heartbeat: an interval, a grace, and a deadline. [`protocol::heartbeat`] decides when a
//! heartbeat is due and when a client has been silent for too long. An actor has one timer for all its deadlines,
//! including the identify timeout and the expiry of its token.

use std::time::Instant;

use actix::{Actor, AsyncContext, SpawnHandle};

use crate::settings::SessionSettings;
use protocol::heartbeat::HeartbeatRules;

/// The interval and the grace of every session's heartbeat, from `[session]`.
pub fn rules(settings: &SessionSettings) -> HeartbeatRules {
    HeartbeatRules { interval: settings.heartbeat_interval, grace: settings.heartbeat_grace }
}

/// The one timer of a session's actor: heartbeats, the identify timeout and the expiry of the token.
#[derive(Debug, Default)]
pub(super) struct HeartbeatTimer {
    armed: Option<(SpawnHandle, Instant)>,
}

impl HeartbeatTimer {
    /// Calls `on_deadline` at `deadline`, or earlier if the timer is armed for an earlier time. Most deadlines move
    /// with every frame, and an early call costs less than arming the timer again.
    pub(super) fn arm<A>(
        &mut self,
        deadline: Instant,
        now: Instant,
        context: &mut A::Context,
        on_deadline: fn(&mut A, &mut A::Context),
    ) where
        A: Actor<Context: AsyncContext<A>>,
    {
        if let Some((handle, armed_for)) = self.armed {
            if armed_for <= deadline {
                return;
            }
            context.cancel_future(handle);
        }
        let handle = context.run_later(deadline.saturating_duration_since(now), on_deadline);
        self.armed = Some((handle, deadline));
    }

    /// Call when the timer has fired, so that the next call of [`HeartbeatTimer::arm`] arms it again.
    pub(super) fn clear(&mut self) {
        self.armed = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::{Context, System};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Arms its timer for each deadline in turn, and sends how long after the start the timer fired.
    struct TimerActor {
        timer: HeartbeatTimer,
        start: Instant,
        deadlines: Vec<Duration>,
        sender: std::sync::mpsc::Sender<Duration>,
    }

    impl Actor for TimerActor {
        type Context = Context<Self>;

        fn started(&mut self, context: &mut Self::Context) {
            for deadline in &self.deadlines {
                self.timer.arm(self.start + *deadline, self.start, context, |actor: &mut Self, _| {
                    actor.timer.clear();
                    assert!(actor.timer.armed.is_none());
                    let _ = actor.sender.send(actor.start.elapsed());
                    System::current().stop();
                });
            }
        }
    }

    /// How long after the start the timer fires when it is armed for these deadlines.
    fn fires_after(deadlines: &[Duration]) -> Duration {
        let (sender, receiver) = std::sync::mpsc::channel();
        let system = System::new();
        system.block_on(async {
            let (timer, start) = (HeartbeatTimer::default(), Instant::now());
            TimerActor { timer, start, deadlines: deadlines.to_vec(), sender }.start();
        });
        system.run().unwrap();
        receiver.recv().unwrap()
    }

    #[test]
    fn an_earlier_deadline_rearms_the_timer() {
        let hour = Duration::from_secs(3_600);
        let after = fires_after(&[hour, 20 * MS]);
        assert!(after >= 20 * MS && after < hour, "{after:?}");
    }

    #[test]
    fn a_later_deadline_keeps_the_timer() {
        let hour = Duration::from_secs(3_600);
        let after = fires_after(&[20 * MS, hour]);
        assert!(after >= 20 * MS && after < hour, "{after:?}");
    }
}
