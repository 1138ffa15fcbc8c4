//! Applies commands in their order, and answers them. It goes on while the link is down, because a handler must not be
//! interrupted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::super::ControlAnswer;
use super::super::link_error::describe;
use super::super::links::RedisLinks;
use super::super::state::RedisState;
use super::super::{MultiplexedConnection, function};
use super::answers_key;
use super::questions::{QUESTION_TTL, is_expired};
use super::queued::QueuedCommand;
use crate::metrics::{ControlResult, Metrics};

/// How long to try to answer. Nobody waits longer, and the answers expire then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait before an answer is sent again over a broken connection.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Applies the commands that were read, one after the other.
pub(in super::super) async fn run(links: &RedisLinks) -> Infallible {
    let process = &links.process;
    let mut queued = process.control.queued.lock().await;
    loop {
        // Commands first: a question of an operator must not delay the end of a session.
        let (next, is_question) = tokio::select! {
            biased;
            // The sender is in the state, so the channel stays open.
            Some(command) = queued.recv() => (command, false),
            question = process.control.questions.next() => (question, true),
        };
        let QueuedCommand { id, command, issued, is_replayed } = next;
        if is_question && is_expired(issued) {
            Metrics::count(&process.metrics.control_commands, ControlResult::Dropped);
            continue;
        }
        let Some(answer) = process.control.applier.apply(command, issued).await else {
            Metrics::count(&process.metrics.control_commands, ControlResult::Failed);
            continue;
        };
        let result = if is_replayed { ControlResult::Replayed } else { ControlResult::Applied };
        Metrics::count(&process.metrics.control_commands, result);
        // While the link is down no commands are read, so it is no harm that the next one waits.
        let deadline = if is_question { QUESTION_TTL } else { ANSWER_TIMEOUT };
        let _ = timeout(deadline, send(links, &id.to_string(), &answer)).await;
    }
}

/// Sends an answer until Redis has it or refuses it. Sending it twice changes nothing.
async fn send(links: &RedisLinks, id: &str, answer: &ControlAnswer) {
    let process = &links.process;
    let mut call = redis::cmd("FCALL");
    call.arg("gateway_answer").arg(1).arg(answers_key(&process.options, id));
    call.arg(&process.control.replica).arg(answer.affected);
    if let Some(detail) = &answer.detail {
        call.arg(detail.get());
    }
    loop {
        let (state, mut commands) = connection(links).await;
        match function::call::<u8>(&state, &mut commands, &call).await {
            Ok(_) => return,
            Err(error) if error.code().is_some() && !state.is_not_run(&error) => {
                log::warn!("redis: control: a command was applied, but not answered: {}", describe(&error));
                return;
            }
            Err(_) => sleep(RETRY_INTERVAL).await,
        }
    }
}

/// Waits for a connection.
async fn connection(links: &RedisLinks) -> (Arc<RedisState>, MultiplexedConnection) {
    loop {
        let state = links.control_link();
        let commands = state.watch().borrow().publishing();
        if let Some(commands) = commands {
            return (state, commands.connection());
        }
        sleep(RETRY_INTERVAL).await;
    }
}
