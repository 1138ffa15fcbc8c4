//! `control`: sends a command to every replica, through the admin port of one of them.

use std::process::ExitCode;
use std::time::Duration;

use actix_http::StatusCode;
use actix_http::header::AUTHORIZATION;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::client::error::status_text;
use super::client::send;
use super::client::url::admin_url;
use super::{CommandArgs, Failure, print, print_error};
use crate::broker::{ChannelChange, ControlCommand, Disconnection, Revocation, SessionQuery};
use crate::http_client::OutgoingRequest;
use crate::settings::{Settings, format_duration, one_line};

/// The maximum time until a gateway answers. It waits 5 s for the replicas, besides the time for Redis.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    #[command(subcommand)]
    pub(super) action: ControlAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum ControlAction {
    /// End sessions of a user, one session, or all sessions on a channel (close code 4010)
    Disconnect(CommandArgs<ActionArgs<DisconnectArgs>>),
    /// Subscribe sessions to a channel, even if their tokens do not allow it
    Subscribe(CommandArgs<ActionArgs<SubscriptionArgs>>),
    /// End subscriptions of sessions to a channel
    Unsubscribe(CommandArgs<ActionArgs<SubscriptionArgs>>),
    /// Refuse a token, or the tokens of a user, and end the sessions that use them
    Revoke(CommandArgs<ActionArgs<RevokeArgs>>),
    /// List the sessions of all replicas
    Sessions(CommandArgs<ActionArgs<SessionsArgs>>),
}

/// The arguments of one action, and where and how to send it.
#[derive(Debug, Args)]
pub(super) struct ActionArgs<A: Args> {
    #[command(flatten)]
    args: A,
    /// Print the response as JSON
    #[arg(long)]
    json: bool,
    /// URL of the admin port [default: http:// and server.admin_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DisconnectArgs {
    #[command(flatten)]
    target: DisconnectTarget,
    /// Reason in the Close frame, at most 123 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct DisconnectTarget {
    /// End all sessions of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// End the session with this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// End all sessions that are subscribed to this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SubscriptionArgs {
    #[command(flatten)]
    target: SubscriptionTarget,
    /// Channel, such as room:7
    #[arg(long, value_name = "NAME")]
    channel: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SubscriptionTarget {
    /// Change all sessions of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Change the session with this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    target: RevokeTarget,
    /// Only tokens issued before this Unix time in milliseconds [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "jti")]
    issued_before: Option<u64>,
    /// Unix time in milliseconds at which the revoked tokens have expired [default: after auth.max_age]
    #[arg(long, value_name = "TIME")]
    until: Option<u64>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RevokeTarget {
    /// Revoke the token with this id (claim jti)
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Revoke the tokens of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    /// List only sessions of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// List only sessions that are subscribed to this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// List only sessions with a greater id: `next` of the previous page
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// List at most this many sessions, 1 to 1000
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl ControlAction {
    /// Takes the settings given after the action's name.
    pub(super) fn take_overrides(&mut self) -> Vec<(String, String)> {
        let overrides = match self {
            Self::Disconnect(CommandArgs { overrides, .. }) => overrides,
            Self::Subscribe(CommandArgs { overrides, .. }) => overrides,
            Self::Unsubscribe(CommandArgs { overrides, .. }) => overrides,
            Self::Revoke(CommandArgs { overrides, .. }) => overrides,
            Self::Sessions(CommandArgs { overrides, .. }) => overrides,
        };
        std::mem::take(&mut overrides.set)
    }
}

pub(super) fn control(settings: &Settings, args: ControlArgs) -> Result<ExitCode, Failure> {
    let change = |SubscriptionArgs { target: SubscriptionTarget { user, session }, channel }| ChannelChange {
        user,
        session,
        channel,
    };
    match args.action {
        ControlAction::Disconnect(CommandArgs { args, .. }) => issue(settings, args, |args| {
            let DisconnectArgs { target: DisconnectTarget { user, session, channel }, reason } = args;
            ControlCommand::Disconnect(Disconnection { user, session, channel, reason })
        }),
        ControlAction::Subscribe(CommandArgs { args, .. }) => {
            issue(settings, args, |args| ControlCommand::Subscribe(change(args)))
        }
        ControlAction::Unsubscribe(CommandArgs { args, .. }) => {
            issue(settings, args, |args| ControlCommand::Unsubscribe(change(args)))
        }
        ControlAction::Revoke(CommandArgs { args, .. }) => issue(settings, args, |args| {
            let RevokeArgs { target: RevokeTarget { jti, user }, issued_before, until } = args;
            ControlCommand::Revoke(Revocation { jti, user, issued_before, until })
        }),
        ControlAction::Sessions(CommandArgs { args, .. }) => issue(settings, args, |args| {
            let SessionsArgs { user, channel, after, limit } = args;
            ControlCommand::Sessions(SessionQuery { user, channel, after, limit: Some(limit) })
        }),
    }
}

/// Sends a command and prints the answers. The exit code is 1 if a replica is missing.
fn issue<A: Args>(
    settings: &Settings,
    ActionArgs { args, json, url }: ActionArgs<A>,
    to_command: impl Fn(A) -> ControlCommand,
) -> Result<ExitCode, Failure> {
    let url = format!("{}/v1/control", admin_url(url.as_deref(), settings.server.admin_addr)?);
    let (status, body) = send_command(settings, &url, &to_command(args))?;
    let response: Value = serde_json::from_str(&body).unwrap_or_default();
    let (Some(replicas), Some(missing)) = (response["replicas"].as_object(), response["missing"].as_array())
    else {
        let status = status_text(status);
        return Err(Failure::Other(format!("{url} answered {status}: that is not a gateway's admin port")));
    };
    if json {
        print(body.trim_end())?;
    } else {
        print_response(&response, replicas, missing)?;
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (answered, all) = (replicas.len(), replicas.len() + missing.len());
    print_error(&format!("warning: {answered} of {all} replicas answered"));
    Ok(ExitCode::FAILURE)
}

/// Sends a command to the admin port. Returns the status and the body of a successful response.
fn send_command(
    settings: &Settings,
    url: &str,
    command: &ControlCommand,
) -> Result<(StatusCode, String), Failure> {
    let request = OutgoingRequest::post_json(url, json!(command).to_string());
    let request = request.and_then(|request| match &settings.admin.api_key {
        Some(key) => request.header(AUTHORIZATION, &format!("Bearer {}", key.expose())),
        None => Ok(request),
    });
    let (status, body) = send(url, request.map(|request| request.timeout(ANSWER_TIMEOUT)))?;
    if status.is_success() {
        return Ok((status, body));
    }
    let response: Value = serde_json::from_str(&body).unwrap_or_default();
    let detail = response["error"]["detail"].as_str().filter(|detail| !detail.trim().is_empty());
    let error = detail.map_or_else(|| format!("{url} answered {}", status_text(status)), one_line);
    Err(Failure::Other(error))
}

/// Prints the sessions, or the number of affected sessions of each replica, and the missing replicas.
fn print_response(response: &Value, replicas: &Map<String, Value>, missing: &[Value]) -> Result<(), Failure> {
    if let Some(sessions) = response["sessions"].as_array() {
        print_sessions(sessions, response)?;
    } else {
        for (replica, affected) in replicas {
            print(&one_line(format!("{replica}: {affected}")))?;
        }
    }
    for replica in missing.iter().filter_map(Value::as_str) {
        print(&one_line(format!("missing: {replica}")))?;
    }
    Ok(())
}

/// Prints one line for each session: id, user, replica, age and number of subscriptions.
fn print_sessions(sessions: &[Value], response: &Value) -> Result<(), Failure> {
    for session in sessions {
        let text = |name: &str| session[name].as_str().unwrap_or("-");
        let age = Duration::from_secs(session["age_ms"].as_u64().unwrap_or_default() / 1_000);
        let (age, subscriptions) = (format_duration(age), &session["subscriptions"]);
        let line = format!("{} {} {} {age} {subscriptions}", text("id"), text("user"), text("replica"));
        print(&one_line(line))?;
    }
    print(&format!("total: {}", response["total"]))?;
    if let Some(next) = response["next"].as_str() {
        print(&one_line(format!("next: {next}")))?;
    }
    Ok(())
}
