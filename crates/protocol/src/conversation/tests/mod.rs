//! Tests of the conversation in virtual time, without a socket and without a hub.
//!
//! - `batches.rs`: Subscribe and Unsubscribe of many channels, and `last`.
//! - `by_server.rs`: subscriptions, disconnects and revocations of the backend.
//! - `closing.rs`: how a conversation ends, except by a deadline or at Identify.
//! - `expiry.rs`: expiring tokens, and clocks that are set.
//! - `heartbeat.rs`: ops 10 and 11, and silent clients.
//! - `history.rs`: requests for pages of a channel's history.
//! - `identify.rs`, `identify_with_channels.rs`: from Hello to Ready.
//! - `members.rs`: requests for the members of a channel.
//! - `recovering.rs`: channels whose histories cannot be read.
//! - `refresh.rs`: a newer token.
//! - `sends.rs`: messages for the backend.
//! - `signals.rs`: signals of the client, and how they are coalesced.
//! - `subscriptions.rs`: Subscribe and Unsubscribe.
//! - `token_channels.rs`: the channels that a token names.

use super::*;
use crate::client_message::{ClientMessage, SendError};
use crate::command::MAX_LISTED_CHANNELS;
use crate::history_page::{HistoryPage, HistoryQuery};
use crate::members::{MembersPage, MembersRequest};
use crate::namespace_rules::ChannelRules;
use crate::page_error::PageError;
use crate::position::Position;
use crate::signal::ClientSignal;

mod batches;
mod by_server;
mod closing;
mod expiry;
mod heartbeat;
mod history;
mod identify;
mod identify_with_channels;
mod members;
mod recovering;
mod refresh;
mod sends;
mod signals;
mod subscriptions;
mod token_channels;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const IDENTIFY: &str = r#"{"op":1,"token":"secret"}"#;
const READY_V1: &str = r#"{"op":2,"user":"42"}"#;
/// The wall-clock time at the start of a test.
const UNIX_START_MS: u64 = 1_700_000_000_000;

fn rules() -> Rules {
    Rules {
        heartbeat: HeartbeatRules { interval: 45 * SECOND, grace: 15 * SECOND },
        identify_timeout: 10 * SECOND,
        max_message_bytes: 65_536,
        messages_per_minute: 120,
        max_subscriptions: 3,
        max_listed_channels: MAX_LISTED_CHANNELS,
        sends_per_minute: 60,
        signals_per_minute: 600,
        signal_interval: 250 * MS,
        max_send_bytes: 64,
        namespaces: NamespaceRules::new(
            ChannelRules::default(),
            [
                ("news".into(), ChannelRules { is_public: true, ..ChannelRules::default() }),
                ("room".into(), ChannelRules { send: true, signals: true, max_last: 30, is_public: false }),
            ],
        ),
    }
}

/// The identity of a token for `user` that allows every room and never expires.
fn token_of(user: &str) -> Identity {
    Identity {
        user: ChannelName::of_user(user).unwrap(),
        expires_at_ms: None,
        grants: vec![ChannelPattern::new("room:*")],
        subscribe: vec![],
    }
}

/// The identity of a token for user 42 that expires `lifetime` after the start of the test.
fn token_for(lifetime: Duration) -> Identity {
    Identity { expires_at_ms: Some(UNIX_START_MS + lifetime.as_millis() as u64), ..token_of("42") }
}

/// A conversation with a controlled clock. Each method returns the resulting actions, one line each.
struct ScriptedClient {
    conversation: Conversation,
    hello: Vec<String>,
    now: Now,
    /// The requests to the hub, in the order of their ids.
    requests: Vec<SubscribeRequest>,
}

impl ScriptedClient {
    fn connect(version: Version) -> Self {
        Self::connect_with(rules(), version, 0.5)
    }

    fn connect_with(rules: Rules, version: Version, jitter: f64) -> Self {
        let now = Now { monotonic: Instant::now(), unix_ms: UNIX_START_MS };
        let mut actions = Vec::new();
        let session = SessionId(0xABC);
        let conversation = Conversation::open(rules.into(), version, session, jitter, now, &mut actions);
        let hello = actions.iter().map(|action| line(version, action)).collect();
        Self { conversation, hello, now, requests: Vec::new() }
    }

    /// A client of version 2 whose token is being verified.
    fn verifying() -> Self {
        let mut client = Self::connect(Version::V2);
        client.send(IDENTIFY);
        client
    }

    /// A client of version 2 whose session is not yet registered with the hub.
    fn joining() -> Self {
        let mut client = Self::verifying();
        client.verified(token_of("42"));
        client
    }

    /// A client of version 2 that received Ready.
    fn ready() -> Self {
        Self::ready_as(Version::V2, token_of("42"))
    }

    fn ready_as(version: Version, identity: Identity) -> Self {
        let mut client = Self::connect(version);
        client.identify_as(identity);
        client
    }

    fn identify_as(&mut self, identity: Identity) {
        self.send(IDENTIFY);
        self.verified(identity);
        self.joined();
        assert!(self.conversation.is_ready());
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<String> {
        let mut actions = Vec::new();
        self.conversation.handle(self.now, input, &mut actions);
        for action in &actions {
            match action {
                Action::Join { channels } => self.requests.clone_from(channels),
                Action::Subscribe(requests) => self.requests.extend_from_slice(requests),
                _ => {}
            }
        }
        actions.iter().map(|action| line(self.conversation.version(), action)).collect()
    }

    fn send(&mut self, text: &str) -> Vec<String> {
        self.handle(Input::Text(text))
    }

    fn verified(&mut self, identity: Identity) -> Vec<String> {
        self.handle(Input::Verified(Ok(identity)))
    }

    fn not_verified(&mut self) -> Vec<String> {
        self.handle(Input::Verified(Err(NotIdentified)))
    }

    /// The hub answers Join: the channels are at 9-1, 9-2 and so on, and no message was recovered.
    fn joined(&mut self) -> Vec<String> {
        let states =
            (1..).zip(&self.requests).map(|(offset, request)| live_at(offset, not_recovered(request)));
        self.handle(Input::Joined(states.collect()))
    }

    /// The hub answers Subscribe: the channel is at 9-7, and no message was recovered.
    fn subscribed(&mut self, request_id: u32) -> Vec<String> {
        let recovered = self.find_request(request_id).and_then(not_recovered);
        self.answer(request_id, live_at(7, recovered))
    }

    /// The hub cannot read the history of the channel now.
    fn recovering(&mut self, request_id: u32, since: Option<Position>) -> Vec<String> {
        self.answer(request_id, SubscriptionState::Recovering { since })
    }

    fn answer(&mut self, request_id: u32, state: SubscriptionState) -> Vec<String> {
        self.answer_all(&[(request_id, state)])
    }

    /// The hub answers a Subscribe of several channels as one.
    fn answer_all(&mut self, states: &[(u32, SubscriptionState)]) -> Vec<String> {
        let answer = |(request_id, state): &(u32, SubscriptionState)| {
            let channel = self.find_request(*request_id).map_or_else(room, |request| request.channel.clone());
            ChannelAnswer { channel, request_id: *request_id, state: *state }
        };
        self.handle(Input::Subscribed(states.iter().map(answer).collect()))
    }

    fn find_request(&self, request_id: u32) -> Option<&SubscribeRequest> {
        self.requests.iter().find(|request| request.request_id == request_id)
    }

    /// Lets time pass, with `DeadlinePassed` at each deadline.
    fn advance(&mut self, time: Duration) -> Vec<String> {
        let end = self.now.monotonic + time;
        let mut lines = Vec::new();
        while let Some(due) = self.conversation.next_deadline().filter(|due| *due <= end) {
            self.stall(due.saturating_duration_since(self.now.monotonic));
            lines.extend(self.handle(Input::DeadlinePassed));
            let next = self.conversation.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now.monotonic),
                "the next deadline is not in the future"
            );
        }
        self.stall(end - self.now.monotonic);
        lines
    }

    /// Lets time pass without `DeadlinePassed`.
    fn stall(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix_ms += time.as_millis() as u64;
    }

    /// Sets the wall clock forward, or back if `seconds` is negative. No time passes.
    fn shift_wall_clock(&mut self, seconds: i64) {
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(seconds * 1_000);
    }
}

fn line(version: Version, action: &Action) -> String {
    match action {
        Action::Send(event) => event.to_json(version),
        Action::Authenticate(Token(token)) => format!("authenticate {token}"),
        Action::Join { channels } => {
            channels.iter().fold("join".to_owned(), |line, request| format!("{line} {}", describe(request)))
        }
        Action::Subscribe(requests) => {
            let requests = requests
                .iter()
                .map(|request| format!("{} with request id {}", describe(request), request.request_id));
            format!("subscribe {}", requests.collect::<Vec<_>>().join(", "))
        }
        Action::Unsubscribe { channels, answer } => {
            let answer =
                answer.as_ref().map_or_else(|| "nothing".to_owned(), |answer| answer.to_json(version));
            let channels: Vec<_> = channels.iter().map(ChannelName::as_str).collect();
            format!("unsubscribe {}, then {answer}", channels.join(" "))
        }
        Action::GoLive(None) => "go live".to_owned(),
        Action::GoLive(Some(channel)) => format!("go live on {channel}"),
        Action::ReadMembers(MembersRequest { id, channel, after }) => {
            let after = after.as_ref().map(|after| format!(" after {after}")).unwrap_or_default();
            format!("read members of {channel}{after} for {id}")
        }
        Action::SendMessage(ClientMessage { id, channel, message }) => {
            format!("put {message} of {channel} into the inbox for {id}")
        }
        Action::Signal(ClientSignal { channel, signal }) => format!("signal {signal} on {channel}"),
        Action::ReadHistory(HistoryQuery { id, channel, before, limit }) => {
            let before = before.map(|before| format!(" before {before}")).unwrap_or_default();
            format!("read {limit} of {channel}{before} for {id}")
        }
        Action::Close(code) => format!("close {}", code.code()),
        Action::CloseWith(code, reason) => format!("close {} {reason}", code.code()),
    }
}

fn describe(SubscribeRequest { channel, history, .. }: &SubscribeRequest) -> String {
    match history {
        WantedHistory::Nothing => channel.to_string(),
        WantedHistory::Last(last) => format!("the last {last} of {channel}"),
        WantedHistory::Since(ResumePoint::Position(position)) => format!("{channel}@{position}"),
        WantedHistory::Since(ResumePoint::Invalid) => format!("{channel}@?"),
    }
}

/// The `recovered` of the answer to a request, if nothing is recovered.
fn not_recovered(request: &SubscribeRequest) -> Option<bool> {
    matches!(request.history, WantedHistory::Since(_)).then_some(false)
}

/// The state of a channel that is live after position 9-`offset`.
fn live_at(offset: u64, recovered: Option<bool>) -> SubscriptionState {
    SubscriptionState::Live { position: Position { epoch: 9, offset }, recovered, presence: None, last: None }
}

fn room() -> ChannelName {
    ChannelName::parse("room:7").unwrap()
}

fn no_actions() -> Vec<String> {
    Vec::new()
}
