//! Reports the users of this process to Redis, under a lease (`gateway_presence.lua`).
//!
//! Each link takes a new lease and reports everything under it, because after a failover it is unknown which reports the
//! new master has. The lease before is retired when everything is reported again, so that no user seems to leave.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokio::time::{sleep, sleep_until};

use super::super::presence::PresenceReport;
use super::function;
use super::link_error::describe;
use super::presence::{Ending, Presence};
use super::state::RedisState;

/// How long a replica counts as alive after its latest beat.
const LEASE: Duration = Duration::from_secs(5);
/// The time from one beat to the next.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The wait after a refused call, such as one that the ACL forbids.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The wait after the connection broke. Its link ends within a probe, and with it this task.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// Why a lease ended.
enum LeaseEnd {
    /// Redis counts this replica as dead.
    Lapsed,
    /// Redis refused a call, for this reason.
    Refused(String),
    /// The connection for commands broke.
    Disconnected,
    /// The process ends, and has given up the lease.
    Ended,
}

/// Keeps a lease and sends the reports, while the link is connected.
pub(super) async fn run(state: &RedisState) -> Infallible {
    let Some(presence) = &state.presence else { return std::future::pending().await };
    let mut is_logged = false;
    // After a downtime of Redis all leases have lapsed, and the other replicas connect later by up to this time.
    let options = &state.options;
    let quiet_until = Instant::now() + options.max_reconnect_delay + options.connect_timeout + BEAT_INTERVAL;
    loop {
        let Some(commands) = state.commands() else { return std::future::pending().await };
        if presence.has_ended() {
            return std::future::pending().await;
        }
        let name = presence.begin_lease();
        let ended = Lease { state, presence, commands, name, quiet_until }.keep().await;
        match ended {
            Ok(never) => match never {},
            Err(LeaseEnd::Lapsed) => {
                log::warn!("redis: the presence lease of this replica lapsed; reporting its users again");
            }
            Err(LeaseEnd::Ended) => return std::future::pending().await,
            Err(LeaseEnd::Disconnected) => {
                sleep(RECONNECT_INTERVAL.mul_f64(rand::random_range(0.8..1.2))).await;
            }
            Err(LeaseEnd::Refused(reason)) => {
                if !std::mem::replace(&mut is_logged, true) {
                    log::warn!("redis: presence is not reported: {reason}; retrying every 5s");
                }
                sleep(RETRY_INTERVAL.mul_f64(rand::random_range(0.8..1.2))).await;
            }
        }
    }
}

/// One lease, while it lasts.
struct Lease<'a> {
    state: &'a RedisState,
    presence: &'a Presence,
    commands: MultiplexedConnection,
    name: String,
    /// Until then other replicas may still be connecting, so nothing is buried and no user is away.
    quiet_until: Instant,
}

impl Drop for Lease<'_> {
    /// Also when the link ends.
    fn drop(&mut self) {
        self.state.metrics.presence_lease.set(0);
    }
}

impl Lease<'_> {
    /// Runs one call of each kind in turn, so that neither many reports nor a large burial delays the next beat.
    async fn keep(&mut self) -> Result<Infallible, LeaseEnd> {
        self.beat("enter").await?;
        self.state.metrics.presence_lease.set(1);
        let mut next_beat = Instant::now() + BEAT_INTERVAL;
        let (mut lapsed, mut may_settle) = (None, false);
        loop {
            let now = Instant::now();
            if now >= next_beat {
                next_beat = now + BEAT_INTERVAL;
                let found = self.beat("renew").await?;
                if now >= self.quiet_until {
                    (lapsed, may_settle) = (found, true);
                }
            }
            let has_reported = self.send_report().await?;
            if !has_reported {
                self.retire_previous().await?;
                if self.presence.is_ending() {
                    return Err(self.end().await?);
                }
            }
            if let Some(replica) = lapsed.take() {
                lapsed = self.bury_slice(&replica).await?;
            }
            may_settle = may_settle && self.settle().await?;
            if has_reported || lapsed.is_some() || may_settle {
                continue;
            }
            tokio::select! {
                () = self.presence.changed.notified() => {}
                () = sleep_until(next_beat.into()) => {}
            }
        }
    }

    /// Sends the next report. Returns whether there was one.
    async fn send_report(&mut self) -> Result<bool, LeaseEnd> {
        let report = self.presence.users.lock().reporter.next_report();
        let Some(report) = report else { return Ok(false) };
        let call = self.report_call(&report);
        let answer = self.call::<u8>(&call).await;
        self.presence.users.lock().reporter.answered(matches!(answer, Ok(1)));
        if answer? == 0 {
            return Err(LeaseEnd::Lapsed);
        }
        self.state.metrics.presence_reports.inc();
        Ok(true)
    }

    fn report_call(&self, report: &PresenceReport) -> Cmd {
        let mut call = self.function(if report.is_present { "gateway_enter" } else { "gateway_leave" });
        call.arg("users").arg(&self.name);
        if report.is_present {
            call.arg(self.presence.options.max_edges);
        } else {
            call.arg(self.grace_ms());
        }
        for user in &report.names {
            call.arg(user.user_id());
        }
        call
    }

    /// Ends the lease before, whose users are reported under this one.
    async fn retire_previous(&mut self) -> Result<(), LeaseEnd> {
        let previous = self.presence.leases.lock().previous.take();
        let Some(name) = previous else { return Ok(()) };
        let mut call = self.function("gateway_beat");
        call.arg(&name).arg(LEASE.as_millis() as u64).arg("retire");
        // If this fails, the lease lapses by itself.
        self.call::<(u8, String)>(&call).await.map(drop)
    }

    /// Gives up the lease of a process that ends, and buries it. Its users have left, or are counted down now.
    async fn end(&mut self) -> Result<LeaseEnd, LeaseEnd> {
        let mut call = self.function("gateway_beat");
        call.arg(&self.name).arg(LEASE.as_millis() as u64).arg("end");
        self.call::<(u8, String)>(&call).await?;
        let mut call = self.function("gateway_bury");
        call.arg(&self.name).arg(self.grace_ms());
        while self.call::<u8>(&call).await? == 1 {}
        self.presence.ending.send_replace(Ending::Done);
        Ok(LeaseEnd::Ended)
    }

    /// Begins or renews the lease. Returns a replica to bury, if there is one.
    async fn beat(&mut self, step: &str) -> Result<Option<String>, LeaseEnd> {
        let mut call = self.function("gateway_beat");
        call.arg(&self.name).arg(LEASE.as_millis() as u64).arg(step);
        match self.call::<(u8, String)>(&call).await? {
            (0, _) => Err(LeaseEnd::Lapsed),
            (_, lapsed) => Ok(Some(lapsed).filter(|replica| !replica.is_empty())),
        }
    }

    /// Takes back a slice of what a replica without a lease had reported, so that no call blocks Redis for long. Returns
    /// a replica to bury next.
    async fn bury_slice(&mut self, replica: &str) -> Result<Option<String>, LeaseEnd> {
        let mut call = self.function("gateway_bury");
        call.arg(replica).arg(self.grace_ms());
        self.call::<u8>(&call).await?;
        self.state.metrics.presence_burials.inc();
        self.beat("renew").await
    }

    /// Writes the edges that are due. Returns whether there may be more.
    async fn settle(&mut self) -> Result<bool, LeaseEnd> {
        let mut call = self.function("gateway_settle");
        call.arg(self.presence.options.max_edges);
        Ok(self.call::<u8>(&call).await? == 1)
    }

    fn grace_ms(&self) -> u64 {
        u64::try_from(self.presence.options.grace.as_millis()).unwrap_or(u64::MAX)
    }

    /// A call of a function on the key of the leases.
    fn function(&self, name: &str) -> Cmd {
        let mut call = redis::cmd("FCALL");
        call.arg(name).arg(1).arg(self.state.options.redis_channel("{presence}:replicas"));
        call
    }

    async fn call<T: FromRedisValue>(&mut self, call: &Cmd) -> Result<T, LeaseEnd> {
        let answer = function::call(self.state, &mut self.commands, call).await;
        answer.map_err(|error| match error.code() {
            Some(_) => LeaseEnd::Refused(describe(&error)),
            None => LeaseEnd::Disconnected,
        })
    }
}
