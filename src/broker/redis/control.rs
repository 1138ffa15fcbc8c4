//! Control over Redis (`gateway_control.lua`).
//!
//! - `state`: what this process knows, shared by its link and its handles.
//! - `follow`: reads the commands and the revocations, while the link is up.
//! - `apply`: applies the commands in their order and answers them, also while the link is down.
//! - `questions`: the commands that change nothing. They are not kept. `queued`: a command or a question that was read.
//! - `processes`: reads which replicas must answer.
//! - `ask`: sends a command and waits for the answers.

mod apply;
mod ask;
mod follow;
mod processes;
mod questions;
mod queued;
mod state;

pub(super) use apply::run as apply;
pub(super) use ask::issue;
pub(super) use follow::run as follow;
pub(in crate::broker) use state::ControlState;

use super::options::RedisOptions;

/// The channel of commands among the names of control, and the key of their stream.
pub(super) const COMMANDS: &str = "commands";

/// The key of the answers to a command.
fn answers_key(options: &RedisOptions, id: &str) -> String {
    options.names().control(&format!("answers:{id}"))
}
