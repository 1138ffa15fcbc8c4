//! Reports users, channels and rooms of this process to Redis, under a lease (`gateway_presence.lua`).
//!
//! Each link takes a new lease and reports everything under it, because after a failover it is unknown which reports
//! the new master has. The lease before is retired when everything is reported again, so that no user seems to leave.

use std::convert::Infallible;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokio::time::{sleep, sleep_until};

use super::super::presence::LocalNames;
use super::function;
use super::link_error::describe;
use super::presence::{Ending, Presence, function_call};
use super::state::RedisState;
use protocol::channel::ChannelName;

/// How long a replica counts as alive after its latest beat.
const LEASE: Duration = Duration::from_secs(5);
/// The time from one beat to the next.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The wait after a refused call, such as one that the ACL forbids.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Waits are longer or shorter by up to this part, so that replicas do not wait together.
const JITTER: f64 = 0.2;
/// The wait after the connection broke. Its link ends within a probe, and with it this task.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// The answers of `gateway_bury` to the call that has finished a burial: of an earlier lease or a replica that has ended
/// properly, and of a replica that is dead or cut off.
const BURIED: u8 = 2;
const BURIED_REPLICA: u8 = 3;

/// Why a lease ended.
enum LeaseEnd {
    /// Redis counts this replica as dead.
    Lapsed,
    /// Redis refused a call, for this reason.
    Refused(String),
    /// The connection for commands broke, or Redis cannot run calls now.
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
    let mut quiet_until =
        Instant::now() + options.max_reconnect_delay + options.connect_timeout + BEAT_INTERVAL;
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
                log::warn!("redis: the presence lease of this replica lapsed; reporting everything again");
                // If Redis stood still, all leases have lapsed. The others notice at their next beat.
                quiet_until = quiet_until.max(Instant::now() + 2 * BEAT_INTERVAL);
            }
            Err(LeaseEnd::Ended) => return std::future::pending().await,
            Err(LeaseEnd::Disconnected) => {
                sleep(with_jitter(RECONNECT_INTERVAL)).await;
            }
            Err(LeaseEnd::Refused(reason)) => {
                if !std::mem::replace(&mut is_logged, true) {
                    log::warn!("redis: presence is not reported: {reason}; retrying every 5s");
                }
                presence.set_refusal(Some(reason));
                sleep(with_jitter(RETRY_INTERVAL)).await;
                // Most likely all replicas were refused, as when the memory of Redis is full. Then all leases have lapsed,
                // and the others try again later by up to this time.
                let others = RETRY_INTERVAL.mul_f64(1.0 + JITTER) + BEAT_INTERVAL;
                quiet_until = quiet_until.max(Instant::now() + others);
            }
        }
    }
}

fn with_jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(1.0 - JITTER..1.0 + JITTER))
}

/// One lease, while it lasts.
struct Lease<'a> {
    state: &'a RedisState,
    presence: &'a Presence,
    commands: MultiplexedConnection,
    name: String,
    /// Until then other replicas may still be connecting, so nothing is buried and no edge is written.
    quiet_until: Instant,
}

impl Drop for Lease<'_> {
    /// Also when the link ends.
    fn drop(&mut self) {
        self.state.metrics.presence_lease.set(0);
        self.presence.end_lease();
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
                // Reports under this lease were not refused either, because that ends it.
                self.presence.set_refusal(None);
                if now >= self.quiet_until {
                    (lapsed, may_settle) = (found, true);
                }
            }
            let has_reported = self.send_reports().await?;
            let mut has_read = false;
            if !has_reported {
                self.retire_previous().await?;
                if self.presence.is_ending() {
                    return Err(self.end().await?);
                }
                // A room is read after it is reported, so that the answer includes its sessions here.
                has_read = self.read_rooms().await?;
            }
            if let Some(replica) = lapsed.take() {
                lapsed = self.bury_slice(&replica).await?;
            }
            may_settle = may_settle && self.settle().await?;
            if has_reported || has_read || lapsed.is_some() || may_settle {
                continue;
            }
            tokio::select! {
                () = self.presence.changed.notified() => {}
                () = sleep_until(self.next_count().map_or(next_beat, |due| due.min(next_beat)).into()) => {}
            }
        }
    }

    /// Sends the next report of each kind that has one. Returns whether there was one.
    async fn send_reports(&mut self) -> Result<bool, LeaseEnd> {
        let presence = self.presence;
        let user = |call: &mut Cmd, user: &ChannelName| {
            call.arg(user.user_id());
        };
        let channel = |call: &mut Cmd, channel: &ChannelName| {
            call.arg(channel.as_str());
        };
        let member = |call: &mut Cmd, (room, user): &(ChannelName, ChannelName)| {
            call.arg(format!("{room} {}", user.user_id().unwrap_or_default()));
        };
        let sent = [
            self.send_names("users", &presence.users, user).await?,
            self.send_names("channels", &presence.channels, channel).await?,
            self.send_names("members", &presence.members, member).await?,
            self.send_counts().await?,
        ];
        Ok(sent.contains(&true))
    }

    /// Sends the next report of one kind of names, if there is one.
    async fn send_names<N: Clone + Eq + Hash>(
        &mut self,
        kind: &str,
        names: &Mutex<LocalNames<N>>,
        add_name: impl Fn(&mut Cmd, &N),
    ) -> Result<bool, LeaseEnd> {
        let report = names.lock().reporter.next_report();
        let Some(report) = report else { return Ok(false) };
        let mut call = self.function(if report.is_present { "gateway_enter" } else { "gateway_leave" });
        call.arg(kind).arg(&self.name);
        match (report.is_present, kind) {
            (false, _) => call.arg(self.grace_ms()),
            (true, "members") => call.arg(self.presence.options.max_members),
            (true, _) => call.arg(self.presence.options.max_edges),
        };
        report.names.iter().for_each(|name| add_name(&mut call, name));
        let answer = self.call::<u8>(&call).await;
        names.lock().reporter.answered(matches!(answer, Ok(1)));
        self.check_report(answer)
    }

    /// Reports how many sessions are in the rooms that are due, if any are.
    async fn send_counts(&mut self) -> Result<bool, LeaseEnd> {
        let report = self.presence.counts.lock().next_report(Instant::now());
        let Some(report) = report else { return Ok(false) };
        let mut call = self.function("gateway_count");
        call.arg(&self.name);
        for (room, sessions) in report {
            let is_published = self.presence.options.has_room_events(&room);
            call.arg(room.as_str()).arg(sessions).arg(u8::from(is_published));
        }
        let answer = self.call::<u8>(&call).await;
        self.presence.counts.lock().answered(matches!(answer, Ok(1)), Instant::now());
        self.check_report(answer)
    }

    fn check_report(&self, answer: Result<u8, LeaseEnd>) -> Result<bool, LeaseEnd> {
        if answer? == 0 {
            return Err(LeaseEnd::Lapsed);
        }
        self.state.metrics.presence_reports.inc();
        Ok(true)
    }

    /// Has Redis publish the rooms whose state is not known, so that they arrive in order with the changes. Returns
    /// whether there were any.
    async fn read_rooms(&mut self) -> Result<bool, LeaseEnd> {
        let rooms = self.presence.rooms.lock().next_read();
        if rooms.is_empty() {
            return Ok(false);
        }
        let mut call = self.function("gateway_rooms");
        call.arg(&self.state.control.replica);
        for room in &rooms {
            call.arg(room.as_str());
        }
        self.call::<u8>(&call).await.map(|_| true)
    }

    /// When the next count may be reported.
    fn next_count(&self) -> Option<Instant> {
        self.presence.counts.lock().next_due()
    }

    /// Ends the lease before, because everything is reported under this one.
    async fn retire_previous(&mut self) -> Result<(), LeaseEnd> {
        let previous = self.presence.leases.lock().previous.take();
        let Some(name) = previous else { return Ok(()) };
        let mut call = self.function("gateway_beat");
        call.arg(&name).arg(LEASE.as_millis() as u64).arg("retire");
        // If this fails, the lease lapses by itself.
        self.call::<(u8, String)>(&call).await.map(drop)
    }

    /// Gives up the lease of a process that ends, and buries it, so that its users need not wait until it lapses.
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

    /// Removes a slice of what a replica without a lease had reported, so that no call blocks Redis for long. Returns a
    /// replica to bury next.
    async fn bury_slice(&mut self, replica: &str) -> Result<Option<String>, LeaseEnd> {
        let mut call = self.function("gateway_bury");
        call.arg(replica).arg(self.grace_ms());
        let answer = self.call::<u8>(&call).await?;
        if answer >= BURIED {
            self.state.metrics.presence_burials.inc();
        }
        if answer == BURIED_REPLICA {
            self.state.metrics.presence_replicas_buried.inc();
        }
        self.beat("renew").await
    }

    /// Writes the edges that are due. Returns whether there may be more.
    async fn settle(&mut self) -> Result<bool, LeaseEnd> {
        let mut call = self.function("gateway_settle");
        let options = &self.presence.options;
        call.arg(options.max_edges).arg(self.grace_ms()).arg(options.max_members);
        Ok(self.call::<u8>(&call).await? == 1)
    }

    fn grace_ms(&self) -> u64 {
        u64::try_from(self.presence.options.grace.as_millis()).unwrap_or(u64::MAX)
    }

    fn function(&self, name: &str) -> Cmd {
        function_call(&self.state.options, name)
    }

    async fn call<T: FromRedisValue>(&mut self, call: &Cmd) -> Result<T, LeaseEnd> {
        let answer = function::call(self.state, &mut self.commands, call).await;
        answer.map_err(|error| match error.code() {
            Some(_) if self.state.is_not_run(&error) => LeaseEnd::Disconnected,
            Some(_) => LeaseEnd::Refused(describe(&error)),
            None => LeaseEnd::Disconnected,
        })
    }
}
