//! Follows the commands and reads the revocations, while the link is up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::time::sleep;

use super::super::super::control::{Begin, LogEntry, StreamId};
use super::super::super::{ControlCommand, Revocation};
use super::super::link_error::describe;
use super::super::not_run::NotRun;
use super::super::state::RedisState;
use super::COMMANDS;
use super::questions::QUESTIONS;
use super::queued::QueuedCommand;
use crate::metrics::{ControlResult, Metrics, ResultLabel};

/// The most commands of one read. They have 400 KB at most.
const PAGE: usize = 100;
/// The most revocations of one read.
const REVOCATIONS_PAGE: usize = 1000;
/// How often to read the stream without an announcement.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// The same for a Redis user that may not subscribe to announcements.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The wait after a refused command, such as one that the ACL forbids.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The wait while Redis cannot answer, or after the connection broke.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);
/// How often a link compares the clocks when it begins.
const CLOCK_SAMPLES: usize = 4;

/// An entry of a stream: its id and its fields.
type CommandEntry = (String, HashMap<Vec<u8>, Vec<u8>>);

/// Why following ended.
enum FollowError {
    /// Redis refused a command, for this reason.
    Refused(String),
    /// The connection for commands broke.
    Disconnected,
    /// Redis did not run a command, but may run it soon.
    NotRun(NotRun),
}

impl From<RedisError> for FollowError {
    fn from(error: RedisError) -> Self {
        match (NotRun::of(&error), error.code()) {
            (Some(reason), _) => Self::NotRun(reason),
            (None, Some(_)) => Self::Refused(describe(&error)),
            (None, None) => Self::Disconnected,
        }
    }
}

/// Follows the commands until the link ends.
pub(in super::super) async fn run(state: &RedisState) -> Infallible {
    let is_subscribed = state.control.subscribed().await;
    let interval = if is_subscribed { CHECK_INTERVAL } else { POLL_INTERVAL };
    loop {
        let Some(commands) = state.commands() else { return std::future::pending().await };
        let wait = match (CommandFollower { state, commands }).run(interval).await {
            Ok(never) => match never {},
            Err(FollowError::Disconnected) => RECONNECT_INTERVAL,
            Err(FollowError::NotRun(reason)) => {
                state.note_not_run(reason);
                RECONNECT_INTERVAL
            }
            Err(FollowError::Refused(reason)) => {
                state.control.set_failure(Some(reason));
                // Clients are served without control rather than not at all.
                loaded(state);
                RETRY_INTERVAL
            }
        };
        sleep(wait.mul_f64(rand::random_range(0.8..1.2))).await;
    }
}

/// The link may be ready from now on.
fn loaded(state: &RedisState) {
    if !state.control.is_loaded() {
        state.control.set_loaded();
        state.probe_now.notify_one();
    }
}

struct CommandFollower<'a> {
    state: &'a RedisState,
    commands: MultiplexedConnection,
}

impl CommandFollower<'_> {
    async fn run(&mut self, interval: Duration) -> Result<Infallible, FollowError> {
        let control = &self.state.control;
        for _ in 0..CLOCK_SAMPLES {
            self.compare_clocks().await?;
        }
        // Before the revocations, so that those which are added meanwhile are among the commands.
        self.begin().await?;
        self.read_revocations().await?;
        control.set_failure(None);
        loaded(self.state);
        let (mut is_replay, mut has_questions) = (true, true);
        loop {
            // Before the commands, so that a question is answered after all commands that were sent before it.
            let questions = if has_questions { self.read_questions().await? } else { Vec::new() };
            let mut count = questions.len();
            loop {
                let page = self.read_page(is_replay).await?;
                count += page;
                if page < PAGE {
                    break;
                }
            }
            if count == 0 && !is_replay {
                // A command was announced that is not after the last one, or nothing happened for long.
                self.begin().await?;
            }
            is_replay = false;
            self.drop_questions(control.questions.add(questions));
            has_questions = tokio::select! {
                is_question = control.announced() => is_question,
                () = sleep(interval.mul_f64(rand::random_range(0.8..1.2))) => true,
            };
        }
    }

    async fn compare_clocks(&mut self) -> Result<(), FollowError> {
        let sent = Instant::now();
        let time: (u64, u64) = self.query(&redis::cmd("TIME")).await?;
        self.note_time(sent, Instant::now(), time);
        Ok(())
    }

    fn note_time(&self, sent: Instant, answered: Instant, (seconds, micros): (u64, u64)) {
        let redis_us = seconds.saturating_mul(1_000_000).saturating_add(micros);
        self.state.control.clock.lock().measured(sent, answered, redis_us);
    }

    /// Finds out where to begin to read, and whether Redis lost commands.
    async fn begin(&mut self) -> Result<(), FollowError> {
        let mut info = redis::cmd("XINFO");
        info.arg("STREAM").arg(self.key(COMMANDS));
        let last = match info.query_async::<HashMap<String, redis::Value>>(&mut self.commands).await {
            Ok(mut fields) => last_id(fields.remove("last-generated-id")),
            // There is no stream yet.
            Err(error) if error.detail().is_some_and(|detail| detail.contains("no such key")) => {
                StreamId::ZERO
            }
            Err(error) => return Err(error.into()),
        };
        let control = &self.state.control;
        let started_ms = control.clock.lock().redis_ms(control.started);
        let begin = control.log.lock().begin(last, started_ms);
        if begin == Begin::Rewound {
            self.lost("Redis has lost the commands that this replica applied last");
        }
        Ok(())
    }

    fn lost(&self, what: &str) {
        Metrics::count(&self.state.metrics.control_commands, ControlResult::Lost);
        log::error!("redis: control: {what}; commands may not have reached this replica");
    }

    /// Reads the next commands and queues them. Returns how many entries were read.
    async fn read_page(&mut self, is_replayed: bool) -> Result<usize, FollowError> {
        let control = &self.state.control;
        let first = control.log.lock().position().next().to_string();
        let mut range = redis::cmd("XRANGE");
        range.arg(self.key(COMMANDS)).arg(first).arg("+").arg("COUNT").arg(PAGE);
        let (sent, mut for_time, time) = (Instant::now(), self.commands.clone(), redis::cmd("TIME"));
        let (entries, time) = tokio::join!(
            range.query_async::<Vec<CommandEntry>>(&mut self.commands),
            time.query_async::<(u64, u64)>(&mut for_time)
        );
        let (entries, read) = (entries?, Instant::now());
        self.note_time(sent, read, time?);
        let count = entries.len();
        for (id, fields) in entries {
            // Redis returns only valid ids.
            let Some(id) = StreamId::parse(&id) else { continue };
            // Waits before the entry counts as read, because this task may end at each wait.
            let Ok(permit) = control.queue.reserve().await else { return std::future::pending().await };
            if let Some(command) = self.accept(id, &fields) {
                let issued = control.clock.lock().local(id.ms, read);
                permit.send(QueuedCommand { id, command, issued, is_replayed });
            }
        }
        Ok(count)
    }

    /// Reads the questions that somebody may wait for.
    async fn read_questions(&mut self) -> Result<Vec<QueuedCommand>, FollowError> {
        let control = &self.state.control;
        let now_ms = control.clock.lock().redis_ms(Instant::now());
        let mut range = redis::cmd("XRANGE");
        range.arg(self.key(QUESTIONS)).arg(control.questions.first_unread(now_ms).to_string()).arg("+");
        let found = self.query::<Vec<CommandEntry>>(range.arg("COUNT").arg(PAGE)).await;
        let (entries, read) = match found {
            Ok(entries) => (entries, Instant::now()),
            // Commands are followed also if the questions cannot be read.
            Err(FollowError::Refused(reason)) => {
                log::debug!("redis: control: questions cannot be read: {reason}");
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut questions = Vec::with_capacity(entries.len());
        for (id, fields) in entries {
            let Some(id) = StreamId::parse(&id) else { continue };
            control.questions.note_read(id);
            let command = fields.get("command".as_bytes()).and_then(|text| serde_json::from_slice(text).ok());
            let Some(command @ ControlCommand::Sessions(_)) = command else {
                self.count_invalid(id);
                continue;
            };
            let issued = control.clock.lock().local(id.ms, read);
            questions.push(QueuedCommand { id, command, issued, is_replayed: false });
        }
        Ok(questions)
    }

    fn drop_questions(&self, count: usize) {
        let dropped = ResultLabel::from(ControlResult::Dropped);
        self.state.metrics.control_commands.get_or_create(&dropped).inc_by(count as u64);
    }

    fn count_invalid(&self, id: StreamId) {
        Metrics::count(&self.state.metrics.control_commands, ControlResult::Invalid);
        log::warn!("redis: control: the entry {id} is no command; a newer gateway may know it");
    }

    /// The command of an entry, if it was not read before. Its revocations are in force at once.
    fn accept(&self, id: StreamId, fields: &HashMap<Vec<u8>, Vec<u8>>) -> Option<ControlCommand> {
        let control = &self.state.control;
        let field = |name: &str| fields.get(name.as_bytes());
        let after = field("after").and_then(|text| StreamId::parse(std::str::from_utf8(text).ok()?));
        match control.log.lock().read(id, after) {
            LogEntry::Known => return None,
            LogEntry::Next => {}
            LogEntry::AfterHole => self.lost("commands are missing before the next one"),
        }
        let command = field("command").and_then(|text| serde_json::from_slice(text).ok());
        if command.is_none() {
            self.count_invalid(id);
        }
        if let Some(ControlCommand::Revoke(revocation)) = &command {
            self.add_revocations(std::slice::from_ref(revocation));
        }
        command
    }

    fn add_revocations(&self, revocations: &[Revocation]) {
        let control = &self.state.control;
        // A slow clock keeps them longer.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        control.revocations.add_all(revocations, u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let count = i64::try_from(control.revocations.count()).unwrap_or(i64::MAX);
        self.state.metrics.control_revocations.set(count);
    }

    /// Reads all revocations. They are in the order of the times when they end. The next page begins at the latest of
    /// these times, after those that were read with the same time, because others may be pruned before it meanwhile.
    async fn read_revocations(&mut self) -> Result<(), FollowError> {
        let now = self.state.control.clock.lock().redis_ms(Instant::now());
        let (mut from, mut skipped) = (now, 0);
        loop {
            let mut range = redis::cmd("ZRANGEBYSCORE");
            range.arg(self.key("revoked")).arg(from).arg("+inf").arg("WITHSCORES");
            range.arg("LIMIT").arg(skipped).arg(REVOCATIONS_PAGE);
            let page: Vec<(Vec<u8>, f64)> = self.query(&range).await?;
            let count = page.len();
            let ends = |member: &(Vec<u8>, f64)| member.1 as u64;
            if let Some(last) = page.last().map(ends) {
                let with_last = page.iter().rev().take_while(|member| ends(member) == last).count();
                skipped = if last == from { skipped + with_last } else { with_last };
                from = last;
            }
            let found = page.iter().filter_map(|(member, until)| parse_revocation(member, *until as u64));
            self.add_revocations(&found.collect::<Vec<_>>());
            if count < REVOCATIONS_PAGE {
                return Ok(());
            }
        }
    }

    fn key(&self, name: &str) -> String {
        self.state.options.names().control(name)
    }

    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, FollowError> {
        Ok(command.query_async(&mut self.commands).await?)
    }
}

fn last_id(value: Option<redis::Value>) -> StreamId {
    let text = value.and_then(|value| redis::from_redis_value::<String>(value).ok());
    text.and_then(|text| StreamId::parse(&text)).unwrap_or(StreamId::ZERO)
}

/// Parses a member of the set of revocations: `jti:<id>`, or `user:<issued before>:<user>`.
fn parse_revocation(member: &[u8], until: u64) -> Option<Revocation> {
    let text = std::str::from_utf8(member).ok()?;
    let until = Some(until);
    if let Some(jti) = text.strip_prefix("jti:") {
        return Some(Revocation { jti: Some(jti.into()), until, ..Revocation::default() });
    }
    let (issued_before, user) = text.strip_prefix("user:")?.split_once(':')?;
    let issued_before = Some(issued_before.parse().ok()?);
    Some(Revocation { user: Some(user.into()), issued_before, until, ..Revocation::default() })
}
