//! Sends a command to every replica, and waits for their answers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::super::control::{Awaited, StreamId};
use super::super::super::{ControlAnswer, ControlCommand, ControlError, ControlOutcome};
use super::super::function;
use super::super::link_error::describe;
use super::super::links::RedisLinks;
use super::super::resend::{self, QueryError};
use super::super::state::RedisState;
use super::processes::{self, Processes};
use super::{COMMANDS, answers_key};

/// The first wait for answers, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How often to check which replicas still live.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The most answers of one read.
const PAGE: usize = 16;

/// Sends a command, and waits until `deadline` for the answers.
pub(in super::super) async fn issue(
    links: &RedisLinks,
    command: &ControlCommand,
    deadline: Duration,
) -> Result<ControlOutcome, ControlError> {
    command.check()?;
    let deadline = Instant::now() + deadline;
    let state = &links.control_link();
    let (id, awaited) = resend::query(state, async |commands| send(links, state, commands, command).await)
        .await
        .map_err(|error| match error {
            QueryError::Unavailable => ControlError::Unavailable,
            // A connection that broke may have sent the command.
            QueryError::Timeout | QueryError::Broken => ControlError::Timeout,
            QueryError::Refused(error) => classify(&error),
        })?;
    let mut waiting = Waiting { links, id, awaited, answers: BTreeMap::new(), read: StreamId::ZERO };
    // The command is sent, so from here on it is only a question who has answered.
    let _ = timeout_at(deadline, waiting.wait()).await;
    let missing = waiting.awaited.missing(&waiting.answers);
    state.metrics.control_answers_missing.inc_by(missing.len() as u64);
    Ok(ControlOutcome { id: waiting.id, replicas: waiting.answers, missing })
}

/// Sends a command. Returns its id, and the replicas that must answer it.
async fn send(
    links: &RedisLinks,
    state: &RedisState,
    mut connection: MultiplexedConnection,
    command: &ControlCommand,
) -> RedisResult<(String, Awaited)> {
    // Before the command: a replica that begins in between does not have to answer.
    let presence = links.presence_link();
    let Processes { all, now_ms } = match processes::read(&presence).await {
        // Another server has the leases. A command must not wait for it.
        Err(_) if presence.id() != state.id() => Processes { all: Vec::new(), now_ms: 0 },
        outcome => outcome?,
    };
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_control").arg(1).arg(state.options.names().control(COMMANDS));
    call.arg(command.to_text()).arg("count");
    let (id, receivers): (String, usize) = function::call(state, &mut connection, &call).await?;
    Ok((id, Awaited::new(&all, now_ms, &state.control.replica, receivers)))
}

fn classify(error: &RedisError) -> ControlError {
    let invalid = "gateway: the command is not valid: ";
    match (error.code(), error.detail()) {
        (Some(_), Some(detail)) if detail.contains(invalid) => {
            ControlError::BadCommand(detail.rsplit(invalid).next().unwrap_or_default().into())
        }
        (Some(_), _) => ControlError::Refused(function::reason(error)),
        (None, _) => ControlError::Refused(describe(error)),
    }
}

/// Waits for the answers to one command.
struct Waiting<'a> {
    links: &'a RedisLinks,
    id: String,
    awaited: Awaited,
    answers: BTreeMap<String, ControlAnswer>,
    /// The id of the last answer.
    read: StreamId,
}

impl Waiting<'_> {
    /// Reads answers until all are there. A failed read is repeated, because the connection may be replaced.
    async fn wait(&mut self) {
        let (mut wait, mut checked) = (FIRST_WAIT, Instant::now());
        while self.awaited.is_waiting(&self.answers) {
            sleep(wait.mul_f64(rand::random_range(0.8..1.2))).await;
            wait = wait.mul_f64(1.5).min(LONGEST_WAIT);
            let Some(mut commands) = self.links.control_link().commands() else { continue };
            while let Ok(PAGE) = self.read_answers(&mut commands).await {}
            if checked.elapsed() >= CHECK_INTERVAL {
                checked = Instant::now();
                if let Ok(Processes { all, now_ms }) = processes::read(&self.links.presence_link()).await {
                    self.awaited.update(&all, now_ms);
                }
            }
        }
    }

    /// Reads the next answers. Returns how many there were.
    async fn read_answers(&mut self, commands: &mut MultiplexedConnection) -> RedisResult<usize> {
        let mut range = redis::cmd("XRANGE");
        range.arg(answers_key(&self.links.process.options, &self.id)).arg(self.read.next().to_string());
        range.arg("+").arg("COUNT").arg(PAGE);
        let page: Vec<(String, HashMap<String, String>)> = range.query_async(commands).await?;
        let count = page.len();
        for (id, mut fields) in page {
            self.read = StreamId::parse(&id).unwrap_or(self.read);
            let affected = fields.get("affected").and_then(|text| text.parse().ok());
            if let (Some(replica), Some(affected)) = (fields.remove("replica"), affected) {
                let detail = fields.remove("detail").and_then(|text| RawValue::from_string(text).ok());
                self.answers.insert(replica, ControlAnswer { affected, detail });
            }
        }
        Ok(count)
    }
}
