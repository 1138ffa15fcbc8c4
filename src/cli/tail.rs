//! `tail`: a client that prints messages to standard output, one a line, and events to standard error. After a lost
//! connection it reconnects, resumes from its positions, and reports gaps.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use actix_http::ws::{Frame, Message};
use actix_rt::time::{sleep, timeout};
use clap::Args;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use serde_json::value::RawValue;

use self::event::{ChannelFields, EventFields};
use self::line::{channel_line, close_line, room_line, signal_line, stored_line, user_line};
use super::client::ANSWER_TIMEOUT;
use super::client::error::websocket_error;
use super::client::url::gateway_url;
use super::client::websocket::{self, FragmentBuffer, WebSocket};
use super::token::mint_for;
use super::{Failure, print, print_error};
use crate::backoff::Backoff;
use crate::settings::{AuthKind, Settings, format_duration, name_text, one_line, plain_io};
use protocol::close::CloseCode;
use protocol::command::op;

mod event;
mod line;

/// The maximum size of a received frame or message: more than the largest message the settings allow.
const MAX_FRAME_BYTES: usize = 128 << 20;
/// Bounds of the delay before a reconnect.
const RECONNECT_MIN: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(10);
/// The maximum of the delay that a gateway may ask for, and of `drain.window`.
const REQUESTED_DELAY_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// Connect as this user, with a token minted by the settings' own secret
    #[arg(long, value_name = "ID", required_unless_present = "token", conflicts_with = "token")]
    user: Option<String>,
    /// Connect with this token
    #[arg(long)]
    token: Option<String>,
    /// Also subscribe to this channel; may be repeated
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// Begin each --channel with its last N durable messages, where its namespace has max_last
    #[arg(long, value_name = "N", requires = "channels", conflicts_with = "v1",
          value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// Use version 1 of the protocol, as E-Magine's deployed clients do
    #[arg(long, conflicts_with = "channels")]
    v1: bool,
    /// Print every received frame instead of only messages
    #[arg(long)]
    frames: bool,
    /// Exit after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// URL of the gateway [default: ws:// and server.public_addr]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn tail(settings: &Settings, args: TailArgs) -> Result<ExitCode, Failure> {
    let url = gateway_url(args.url.as_deref(), settings.server.public_addr, args.v1)?;
    let remaining = args.count;
    let tail = TailClient {
        settings,
        args,
        url,
        cursors: BTreeMap::new(),
        remaining,
        is_ready: false,
        was_ready: false,
    };
    actix_rt::System::new().block_on(tail.run())
}

/// A client, across its connections.
struct TailClient<'a> {
    settings: &'a Settings,
    args: TailArgs,
    url: String,
    /// The latest position of each channel.
    cursors: BTreeMap<String, String>,
    /// Messages until the command exits; `None`: no limit.
    remaining: Option<u64>,
    /// Whether this connection, and whether an earlier one, was ready.
    is_ready: bool,
    was_ready: bool,
}

/// How a connection ended.
enum ConnectionEnd {
    /// `--count` messages were received.
    Complete,
    /// The connection was lost: the reason, and the reconnect delay if the gateway sent one.
    Lost(String, Option<Duration>),
}

impl TailClient<'_> {
    async fn run(mut self) -> Result<ExitCode, Failure> {
        let mut backoff =
            Backoff::new(RECONNECT_MIN, RECONNECT_MAX).map_err(|error| Failure::Other(error.to_string()))?;
        loop {
            let ended = self.connect_once().await?;
            if std::mem::take(&mut self.is_ready) {
                backoff.reset();
                self.was_ready = true;
            }
            match ended {
                ConnectionEnd::Complete => return Ok(ExitCode::SUCCESS),
                // A failure of the first connection is more likely a wrong argument than downtime.
                ConnectionEnd::Lost(reason, _) if !self.was_ready => return Err(Failure::Other(reason)),
                ConnectionEnd::Lost(reason, after) => {
                    let pause = after.unwrap_or_else(|| backoff.next(&mut rand::rng()));
                    print_error(&format!("{reason}; reconnecting in {}", format_duration(pause)));
                    sleep(pause).await;
                }
            }
        }
    }

    fn token(&self) -> Result<String, Failure> {
        match (&self.args.token, &self.args.user) {
            (Some(token), _) => Ok(token.clone()),
            (None, Some(user)) => {
                // Only a JWT can grant channels; other kinds of tokens allow only public channels.
                let is_jwt = self.settings.auth.kind == AuthKind::Jwt;
                let grants: &[String] = if is_jwt { &self.args.channels } else { &[] };
                mint_for(self.settings, user, grants, None)
            }
            (None, None) => Err(Failure::Other("give --user or --token".to_owned())),
        }
    }

    /// The Identify frame, with each channel's position.
    fn identify(&self) -> Result<String, Failure> {
        let mut identify = json!({"op": op::IDENTIFY, "token": self.token()?});
        let asked = self.args.channels.iter().filter(|channel| !self.cursors.contains_key(*channel));
        let asked = asked.map(|channel| match self.args.last {
            Some(last) => json!({"channel": channel, "last": last}),
            None => json!({"channel": channel}),
        });
        let known = self.cursors.iter().map(|(channel, since)| json!({"channel": channel, "since": since}));
        let channels: Vec<_> = known.chain(asked).collect();
        if !channels.is_empty() {
            identify["channels"] = channels.into();
        }
        Ok(identify.to_string())
    }

    /// Runs one connection. An error is final: the client does not reconnect.
    async fn connect_once(&mut self) -> Result<ConnectionEnd, Failure> {
        let opening = websocket::open(&self.url, MAX_FRAME_BYTES);
        let mut connection = match timeout(ANSWER_TIMEOUT, opening).await {
            Err(_) => {
                return Ok(ConnectionEnd::Lost(
                    format!("{}: timed out waiting for a response", self.url),
                    None,
                ));
            }
            Ok(Err(error)) => {
                return Ok(ConnectionEnd::Lost(format!("{}: {}", self.url, plain_io(error)), None));
            }
            Ok(Ok(connection)) => connection,
        };
        let identify = self.identify()?;
        let ended = self.exchange(&mut connection, identify).await?;
        // The server does not need the Close.
        let _ = connection.send(Message::Close(None)).await;
        Ok(ended)
    }

    async fn exchange(
        &mut self,
        connection: &mut WebSocket,
        identify: String,
    ) -> Result<ConnectionEnd, Failure> {
        let mut answer = Some(Message::Text(identify.into()));
        let (mut after, mut frame_timeout) = (None, ANSWER_TIMEOUT);
        let mut fragments = FragmentBuffer::default();
        while self.remaining != Some(0) {
            if let Some(answer) = answer.take()
                && let Err(error) = connection.send(answer).await
            {
                return Ok(ConnectionEnd::Lost(websocket_error(error), after));
            }
            let Ok(next) = timeout(frame_timeout, connection.next()).await else {
                return Ok(ConnectionEnd::Lost(
                    format!("no frame for {}", format_duration(frame_timeout)),
                    after,
                ));
            };
            let next = next.map(|frame| fragments.add(frame?, MAX_FRAME_BYTES));
            match next {
                Some(Ok(Some(Frame::Text(text)))) => {
                    let text = std::str::from_utf8(&text).map_err(|_| unknown_protocol())?;
                    let event: EventFields<'_> =
                        serde_json::from_str(text).map_err(|_| unknown_protocol())?;
                    after = event.after.map(requested_delay).or(after);
                    // The gateway sends a heartbeat in each interval, so two intervals without a frame are a lost
                    // connection.
                    if let Some(interval_ms) = event.heartbeat_interval {
                        frame_timeout =
                            ANSWER_TIMEOUT.max(Duration::from_millis(interval_ms.saturating_mul(2)));
                    }
                    answer = self.handle_frame(text, event)?.map(|text| Message::Text(text.into()));
                }
                Some(Ok(Some(Frame::Ping(payload)))) => answer = Some(Message::Pong(payload)),
                Some(Ok(Some(Frame::Close(reason)))) => {
                    let code = reason.as_ref().map(|reason| u16::from(reason.code));
                    let reason = close_line(reason);
                    let may_reconnect = code.is_none_or(|code| self.may_reconnect(code));
                    return if may_reconnect {
                        Ok(ConnectionEnd::Lost(reason, after))
                    } else {
                        Err(Failure::Other(self.explain_close(code, reason)))
                    };
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(ConnectionEnd::Lost(websocket_error(error), after)),
                None => return Ok(ConnectionEnd::Lost("the connection was lost".to_owned(), after)),
            }
        }
        Ok(ConnectionEnd::Complete)
    }

    /// Whether a retry may succeed after a close with this code.
    fn may_reconnect(&self, code: u16) -> bool {
        let known = CloseCode::ALL.iter().find(|known| known.code() == code);
        // A token given with --token cannot be renewed.
        let has_expired = code == CloseCode::SessionExpired.code() && self.args.token.is_some();
        !has_expired && known.is_none_or(|code| code.may_reconnect())
    }

    /// Adds to a refused token what the user can do: the gateway gives no reason.
    fn explain_close(&self, code: Option<u16>, reason: String) -> String {
        if code != Some(CloseCode::IdentifyFailed.code()) {
            return reason;
        }
        let hint = if self.args.token.is_some() {
            "token --check, with the settings of the gateway, prints why it refuses the token"
        } else {
            "give tail the settings of the gateway (--config, --set), or a token (--token)"
        };
        format!("{reason}; {hint}")
    }

    /// Handles one frame. Returns the reply, if any.
    fn handle_frame(&mut self, text: &str, event: EventFields<'_>) -> Result<Option<String>, Failure> {
        if self.args.frames {
            print(text)?;
        }
        match event.op {
            op::READY => self.ready(event),
            op::MESSAGE => {
                if let (false, Some(message)) = (self.args.frames, event.message) {
                    print(message.get())?;
                }
                self.remaining = self.remaining.map(|remaining| remaining - 1);
                self.store_position(event.channel, event.position);
            }
            op::SUBSCRIPTION => {
                let channel = event.channel.unwrap_or_default();
                let EventFields { position, state, reason, recovered, presence, last, .. } = event;
                let one = ChannelFields { channel, position, state, reason, recovered, presence, last };
                event
                    .channels
                    .unwrap_or_else(|| vec![one])
                    .into_iter()
                    .for_each(|one| self.subscription(one));
            }
            op::SIGNAL => {
                let (channel, user) = (event.channel.unwrap_or_default(), event.user.unwrap_or_default());
                let signal = event.signal.map_or("", RawValue::get);
                print_error(&signal_line(&channel, &user, signal));
            }
            op::ROOM => {
                let (channel, count) = (event.channel.unwrap_or_default(), event.count.unwrap_or_default());
                print_error(&room_line(&channel, count, &event.joined, &event.left));
            }
            op::GAP => {
                let (channel, reason) = (event.channel.unwrap_or_default(), event.reason.unwrap_or_default());
                let (channel, reason) = (name_text(&channel), one_line(reason));
                print_error(&format!("gap on {channel}: messages may be missing here ({reason})"));
            }
            op::HEARTBEAT => {
                let time = event.time.unwrap_or_default();
                return Ok(Some(json!({"op": op::HEARTBEAT_ACK, "time": time}).to_string()));
            }
            _ => {}
        }
        Ok(None)
    }

    fn ready(&mut self, event: EventFields<'_>) {
        print_error(&format!("ready as user {}", one_line(event.user.unwrap_or_default())));
        if self.was_ready {
            print_error("gap: plain messages published meanwhile may be missing");
        }
        self.is_ready = true;
        event.channels.unwrap_or_default().into_iter().for_each(|channel| self.subscription(channel));
    }

    fn subscription(&mut self, state: ChannelFields) {
        if let Some(name) = &state.state {
            print_error(&channel_line(&state.channel, name, state.reason.as_deref()));
        }
        match state.last {
            Some(count) => print_error(&stored_line(&state.channel, count)),
            None if self.lacks_stored(&state) => {
                let channel = name_text(&state.channel);
                print_error(&format!("{channel}: --last has no effect: max_last of its namespace is 0"));
            }
            None => {}
        }
        if let Some(presence) = &state.presence {
            print_error(&user_line(&state.channel, presence.online));
        }
        if state.recovered == Some(false) {
            let channel = name_text(&state.channel);
            print_error(&format!("gap on {channel}: messages published meanwhile cannot be recovered"));
        }
        self.store_position(Some(state.channel), state.position);
    }

    /// Whether the gateway ignored `--last` for this channel.
    fn lacks_stored(&self, state: &ChannelFields) -> bool {
        let is_requested = self.args.last.is_some() && self.args.channels.contains(&state.channel);
        let is_live =
            state.position.is_some() && state.state.as_deref().is_none_or(|name| name == "subscribed");
        is_requested && is_live && !self.cursors.contains_key(&state.channel)
    }

    fn store_position(&mut self, channel: Option<String>, position: Option<String>) {
        if let (Some(channel), Some(position)) = (channel, position) {
            self.cursors.insert(channel, position);
        }
    }
}

fn unknown_protocol() -> Failure {
    Failure::Other("the server does not speak the gateway's protocol".to_owned())
}

fn requested_delay(ms: u64) -> Duration {
    Duration::from_millis(ms).min(REQUESTED_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requested_delay_is_bounded() {
        assert_eq!(requested_delay(1_800), Duration::from_millis(1_800));
        assert_eq!(requested_delay(u64::MAX), REQUESTED_DELAY_MAX);
    }
}
