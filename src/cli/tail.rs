//! `tail`: a live client. Messages go to standard output, one a line; what happens besides, to standard error.

use std::process::ExitCode;
use std::time::Duration;

use actix_rt::time::timeout;
use awc::BoxedSocket;
use awc::ws::{Codec, Frame, Message};
use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::client::{ANSWER_TIMEOUT, reachable};
use super::token::mint_for;
use super::{Failure, complain, print};
use crate::settings::{AuthKind, Settings};
use protocol::command::op;

/// The longest frame that is taken: more than the largest message the settings allow.
const MAX_FRAME_BYTES: usize = 128 << 20;

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Connect as this user, with a token minted by the settings' own secret
    #[arg(long, value_name = "ID", required_unless_present = "token", conflicts_with = "token")]
    user: Option<String>,
    /// Connect with this token
    #[arg(long)]
    token: Option<String>,
    /// Subscribe to this channel, too; may be repeated
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// Speak version 1 of the protocol, as E-Magine's deployed clients do
    #[arg(long, conflicts_with = "channels")]
    v1: bool,
    /// Print every frame, and not only messages
    #[arg(long)]
    frames: bool,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The gateway [default: ws:// and server.public_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

type Connection = actix_codec::Framed<BoxedSocket, Codec>;

/// The fields of a frame that a client must look at.
#[derive(Deserialize)]
struct Event<'a> {
    op: u64,
    user: Option<String>,
    channel: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    time: Option<u64>,
    channels: Option<Vec<ReadyChannel>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// A channel of Ready. It has a state only while its history cannot be read.
#[derive(Deserialize)]
struct ReadyChannel {
    channel: String,
    state: Option<String>,
}

pub(super) fn tail(settings: &Settings, args: TailArgs) -> Result<ExitCode, Failure> {
    let token = match (&args.token, &args.user) {
        (Some(token), _) => token.clone(),
        (None, Some(user)) => {
            // Only a jwt can open channels; with other kinds only public ones can be subscribed to.
            let grants: &[String] = if settings.auth.kind == AuthKind::Jwt { &args.channels } else { &[] };
            mint_for(settings, user, grants, Duration::from_secs(86_400))?
        }
        (None, None) => return Err(Failure::Other("name a --user or give a --token".to_owned())),
    };
    let base = args
        .url
        .clone()
        .unwrap_or_else(|| format!("ws://{}/gateway", reachable(settings.server.public_addr)));
    let url = if args.v1 { base } else { format!("{base}?v=2") };
    actix_rt::System::new().block_on(follow(&url, &token, &args))
}

async fn follow(url: &str, token: &str, args: &TailArgs) -> Result<ExitCode, Failure> {
    let request = awc::Client::new().ws(url).max_frame_size(MAX_FRAME_BYTES);
    let (_, mut connection) = timeout(ANSWER_TIMEOUT, request.connect())
        .await
        .map_err(|_| Failure::Other(format!("{url}: no answer")))?
        .map_err(|error| Failure::Other(format!("{url}: {error}")))?;
    let mut identify = json!({"op": op::IDENTIFY, "token": token});
    if !args.channels.is_empty() {
        identify["channels"] = args.channels.iter().map(|channel| json!({"channel": channel})).collect();
    }
    say(&mut connection, identify.to_string()).await?;
    let mut left = args.count;
    while left != Some(0) {
        match connection.next().await {
            Some(Ok(Frame::Text(text))) => {
                if hear(&text, args, &mut connection).await? {
                    left = left.map(|left| left - 1);
                }
            }
            Some(Ok(Frame::Ping(payload))) => send(&mut connection, Message::Pong(payload)).await?,
            Some(Ok(Frame::Close(reason))) => {
                let reason = reason.map_or_else(String::new, |reason| {
                    format!(" with {} {}", u16::from(reason.code), reason.description.unwrap_or_default())
                });
                return Err(Failure::Other(format!("closed{reason}")));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Failure::Other(error.to_string())),
            None => return Err(Failure::Other("the connection was lost".to_owned())),
        }
    }
    // Whether the goodbye arrives makes no difference here.
    let _ = send(&mut connection, Message::Close(None)).await;
    Ok(ExitCode::SUCCESS)
}

/// Deals with one frame. Returns whether it was a message.
async fn hear(text: &[u8], args: &TailArgs, connection: &mut Connection) -> Result<bool, Failure> {
    let text = std::str::from_utf8(text).map_err(|error| Failure::Other(error.to_string()))?;
    let event: Event<'_> = serde_json::from_str(text).map_err(|error| Failure::Other(error.to_string()))?;
    if args.frames {
        print(text)?;
    }
    match event.op {
        op::READY => {
            complain(&format!("ready as user {}", event.user.unwrap_or_default()));
            for ReadyChannel { channel, state } in event.channels.unwrap_or_default() {
                if let Some(state) = state {
                    complain(&channel_line(&channel, &state, None));
                }
            }
        }
        op::MESSAGE => {
            if let (false, Some(message)) = (args.frames, event.message) {
                print(message.get())?;
            }
            return Ok(true);
        }
        op::SUBSCRIPTION => complain(&channel_line(
            &event.channel.unwrap_or_default(),
            &event.state.unwrap_or_default(),
            event.reason.as_deref(),
        )),
        op::HEARTBEAT => {
            let answer = json!({"op": op::HEARTBEAT_ACK, "time": event.time.unwrap_or_default()});
            say(connection, answer.to_string()).await?;
        }
        _ => {}
    }
    Ok(false)
}

/// The line for a channel's state, such as `room:7 recovering` or `room:7 refused: not_allowed`.
fn channel_line(channel: &str, state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{channel} {state}: {reason}"),
        None => format!("{channel} {state}"),
    }
}

async fn say(connection: &mut Connection, text: String) -> Result<(), Failure> {
    send(connection, Message::Text(text.into())).await
}

async fn send(connection: &mut Connection, message: Message) -> Result<(), Failure> {
    connection.send(message).await.map_err(|error| Failure::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_printed_with_its_reason_if_there_is_one() {
        assert_eq!(channel_line("room:7", "recovering", None), "room:7 recovering");
        assert_eq!(channel_line("room:7", "refused", Some("unavailable")), "room:7 refused: unavailable");
    }

    #[test]
    fn ready_names_the_state_of_recovering_channels_only() {
        let text = r#"{"op":2,"user":"42","channels":[{"channel":"all","position":"7-0"},
            {"channel":"room:7","state":"recovering"}]}"#;
        let event: Event<'_> = serde_json::from_str(text).unwrap();
        let states = event.channels.unwrap().into_iter().map(|one| (one.channel, one.state));
        let expected = [("all", None), ("room:7", Some("recovering"))]
            .map(|(channel, state): (&str, Option<&str>)| (channel.to_owned(), state.map(str::to_owned)));
        assert_eq!(states.collect::<Vec<_>>(), expected);
    }
}
