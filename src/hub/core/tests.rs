//! The decisions of a hub, one input at a time, in virtual time.

use super::*;
use crate::broker::HistoryRange;
use crate::broker::{Cut, FrameSizes, NotRecovered, Recovered, SubscribeAck};
use crate::hub::recorder::FrameRecorder;
use crate::metrics::{Label as _, RecoveryResult};
use protocol::Version;
use protocol::conversation::{ChannelAnswer, ResumePoint, SubscribeRequest, WantedHistory};
use protocol::event::SubscriptionState;
use protocol::signal_payload::SignalPayload;

mod batches;
mod broker_calls;
mod last;
mod presence;
mod requests;
mod resume;
mod rooms;
mod signals;
mod user_reports;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HELD: usize = 3;
/// The limits of one request.
const LIMITS: RecoveryLimits = RecoveryLimits { messages: 100, bytes: 1_000 };

fn at(offset: u64) -> Position {
    Position { epoch: 9, offset }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

/// The message of a channel at 9-`offset`.
fn durable(name: &str, offset: u64) -> Arc<Publication> {
    let payload = format!("@9-{offset} {offset}");
    Arc::new(Publication::decode(channel(name), payload.as_bytes(), 100).unwrap())
}

fn plain(name: &str, number: u64) -> Arc<Publication> {
    Arc::new(Publication::decode(channel(name), number.to_string().as_bytes(), 100).unwrap())
}

/// A requested channel and the client's position on it. `?` is an invalid position; `last 5` is none, and asks for the
/// last five messages.
type ChannelSpec<'a> = (&'a str, Option<&'a str>);

fn wanted((name, since): ChannelSpec<'_>, request_id: u32) -> SubscribeRequest {
    let last = since.and_then(|text| text.strip_prefix("last "));
    let history = match (since, last) {
        (None, _) => WantedHistory::Nothing,
        (_, Some(count)) => WantedHistory::Last(count.parse().unwrap()),
        (Some(since), None) => {
            WantedHistory::Since(Position::parse(since).map_or(ResumePoint::Invalid, ResumePoint::Position))
        }
    };
    SubscribeRequest { channel: channel(name), history, request_id }
}

/// A hub with a manual clock. Every method that sends an input returns the resulting actions, one line each.
struct TestHub {
    core: HubCore<FrameRecorder>,
    metrics: Metrics,
    now: Instant,
    /// The ids of sessions by their keys.
    names: HashMap<SessionKey, u128>,
}

impl TestHub {
    fn unlinked() -> Self {
        Self::with_rules(HubRules { max_held: MAX_HELD, ..HubRules::new(LIMITS, TIMEOUT) })
    }

    fn with_rules(rules: HubRules) -> Self {
        let metrics = Metrics::default();
        let budget = Arc::new(InboxBudget::new(1 << 20, &metrics));
        let core = HubCore::new(rules, budget, &metrics);
        Self { core, metrics, now: Instant::now(), names: HashMap::new() }
    }

    fn linked() -> Self {
        let mut hub = Self::unlinked();
        assert_eq!(hub.set_link(true), [""; 0]);
        hub
    }

    fn connect(&mut self, session: u128) -> FrameRecorder {
        let sink = FrameRecorder::default();
        let key = self.core.connect(SessionId(session), Version::V2, sink.clone());
        self.names.insert(key, session);
        sink
    }

    /// Connects a session and joins its user's channel, confirmed at 9-0 and live.
    fn live_session(&mut self, session: u128) -> FrameRecorder {
        let sink = self.connect(session);
        let user = format!("user:{session}");
        let lines = self.join(session, &[(&user, None)]);
        self.ack_at(last_id(&lines), &user, at(0));
        self.go_live(session, None);
        sink
    }

    fn on(&mut self, input: HubInput) -> Vec<String> {
        let mut actions = Vec::new();
        self.core.on(self.now, input, &mut actions);
        actions.iter().map(|action| self.describe(action)).collect()
    }

    fn join(&mut self, session: u128, specs: &[ChannelSpec<'_>]) -> Vec<String> {
        let channels = (0..).zip(specs).map(|(request_id, spec)| wanted(*spec, request_id)).collect();
        self.on(HubInput::Join { session: SessionId(session), channels })
    }

    /// Subscribes to a channel with request id 7.
    fn subscribe(&mut self, session: u128, name: &str, since: Option<&str>) -> Vec<String> {
        self.on(HubInput::Subscribe { session: SessionId(session), channels: vec![wanted((name, since), 7)] })
    }

    fn unsubscribe(&mut self, session: u128, name: &str) -> Vec<String> {
        let answer = protocol::frame::encode(protocol::frame::FrameKind::Text, br#"{"op":6}"#);
        self.on(HubInput::Unsubscribe {
            session: SessionId(session),
            channels: vec![channel(name)],
            answer: Some(answer),
        })
    }

    fn leave(&mut self, session: u128) -> Vec<String> {
        self.on(HubInput::Leave { session: SessionId(session) })
    }

    fn go_live(&mut self, session: u128, name: Option<&str>) {
        let input = HubInput::GoLive { session: SessionId(session), channel: name.map(channel) };
        assert_eq!(self.on(input), [""; 0]);
    }

    fn set_link(&mut self, is_up: bool) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Link { is_up }))
    }

    fn ack_at(&mut self, call: BrokerCallId, name: &str, cut: Position) -> Vec<String> {
        self.ack(call, name, Cut::At(cut))
    }

    fn ack(&mut self, call: BrokerCallId, name: &str, cut: Cut) -> Vec<String> {
        let ack = SubscribeAck { channel: channel(name), call, cut };
        self.on(HubInput::Broker(HubEvent::Subscribed(vec![ack])))
    }

    fn publish(&mut self, publication: &Arc<Publication>) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Publication(Arc::clone(publication))))
    }

    fn announce_gap(&mut self, name: &str, reason: GapReason) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Gap { channel: channel(name), reason, position: None }))
    }

    /// Ends a read with the messages of a channel at these offsets, which are `bytes` long in total.
    fn finish_read(&mut self, read: ReadId, name: &str, offsets: &[u64], bytes: usize) -> Vec<String> {
        let publications = offsets.iter().map(|offset| durable(name, *offset)).collect();
        let position = at(offsets[0] - 1);
        // Above the budget, one message makes up all bytes; below it, the messages are short.
        let longest = if bytes > 1_000 { bytes } else { 0 };
        let sizes = FrameSizes { all: bytes, longest };
        self.end_read(read, Ok(Recovered { position, publications, sizes, has_more: false }))
    }

    fn end_read(&mut self, read: ReadId, outcome: Result<Recovered, NotRecovered>) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::HistoryRead { read, outcome }))
    }

    fn advance(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(HubInput::DeadlinePassed)
    }

    fn describe(&self, action: &HubAction) -> String {
        match action {
            HubAction::Notify { session, event } => {
                let session = self.names[session];
                match event {
                    SessionEvent::Joined(states) => {
                        let states: Vec<_> = states.iter().map(|state| describe_state(*state)).collect();
                        format!("{session} joined: {}", states.join(", "))
                    }
                    SessionEvent::Subscribed(answers) => {
                        let answers = answers.iter().map(|ChannelAnswer { channel, request_id, state }| {
                            format!("{channel} #{request_id}: {}", describe_state(*state))
                        });
                        format!("{session} subscribed {}", answers.collect::<Vec<_>>().join(", "))
                    }
                    other => panic!("{other:?}"),
                }
            }
            HubAction::Subscribe { call, channels, verify } => {
                format!("{} {call}: {}", if *verify { "verify" } else { "subscribe" }, join_names(channels))
            }
            HubAction::Unsubscribe(channels) => format!("unsubscribe {}", join_names(channels)),
            HubAction::Read(HistoryRequest { read, user, channel, range, limits }) => {
                let range = match range {
                    HistoryRange::Since { since, cut } => {
                        assert_eq!(*limits, LIMITS);
                        format!("from {since} to {cut}")
                    }
                    HistoryRange::Last { cut } => format!("the last {} up to {cut}", limits.messages),
                    HistoryRange::Page(_) => panic!("a hub reads no pages"),
                };
                format!("read {read} for {user}: {channel} {range}")
            }
            HubAction::CancelRead(read) => format!("cancel {read}"),
            HubAction::Report(report) => describe_report(report),
            HubAction::ObserveLatency { .. } => "observe latency".to_owned(),
            HubAction::ReadPresence { read, channel } => format!("presence {read}: {channel}"),
            HubAction::CancelPresence(read) => format!("cancel-presence {read}"),
            HubAction::Signal(signal) => {
                format!("signal {}: {}", signal.channel(), SignalPayload::encode(signal))
            }
        }
    }

    /// The number of recoveries with this result.
    fn recoveries(&self, result: &str) -> u64 {
        let label = format!("\"{result}\"");
        let text = self.metrics.render();
        let mut lines = text.lines().filter(|line| line.contains("recoveries") && line.contains(&label));
        lines.next().map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

fn describe_report(report: &LocalReport) -> String {
    let choose = |is: bool, yes, no| if is { yes } else { no };
    match report {
        LocalReport::User { user, is_online } => {
            format!("{user} {}", choose(*is_online, "online", "offline"))
        }
        LocalReport::Channel { channel, is_occupied } => {
            format!("{channel} {}", choose(*is_occupied, "occupied", "vacated"))
        }
        LocalReport::Member { channel, user, is_member } => {
            format!("{channel} {}{user}", choose(*is_member, "+", "-"))
        }
        LocalReport::Count { channel, sessions } => format!("{channel} has {sessions}"),
    }
}

fn describe_state(state: SubscriptionState) -> String {
    match state {
        SubscriptionState::Live { position, recovered, presence, last } => {
            let recovered = match recovered {
                None => "",
                Some(true) => " recovered",
                Some(false) => " not recovered",
            };
            let presence = presence.map(|presence| serde_json::to_string(&presence).unwrap());
            let last = last.map(|last| format!(" last {last}")).unwrap_or_default();
            format!("{position}{recovered}{last}{}", presence.unwrap_or_default())
        }
        SubscriptionState::Refused => "refused".to_owned(),
        SubscriptionState::Recovering { since: None } => "recovering".to_owned(),
        SubscriptionState::Recovering { since: Some(since) } => format!("recovering from {since}"),
    }
}

fn join_names(channels: &[ChannelName]) -> String {
    channels.iter().map(ChannelName::as_str).collect::<Vec<_>>().join(" ")
}

/// The id of the broker call or read that the last line names.
fn last_id(lines: &[String]) -> u64 {
    let line = lines.last().unwrap();
    let number = line.split([' ', ':']).nth(1).unwrap();
    number.parse().unwrap_or_else(|_| panic!("no number: {line}"))
}

#[test]
fn inputs_of_an_unknown_session_change_nothing() {
    let mut hub = TestHub::linked();
    assert_eq!(hub.join(1, &[("user:1", None)]), [""; 0]);
    assert_eq!(hub.subscribe(1, "room:7", None), [""; 0]);
    assert_eq!(hub.unsubscribe(1, "room:7"), [""; 0]);
    assert_eq!(hub.leave(1), [""; 0]);
    hub.go_live(1, None);
    assert_eq!(hub.core.registry().subscription_count(), 0);
    assert_eq!(hub.core.sessions().len(), 0);
}

#[test]
fn the_gauges_count_sessions_and_subscriptions() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.live_session(1), hub.live_session(2), hub.connect(3)];
    hub.subscribe(1, "room:7", None);
    let gauges = |hub: &TestHub| (hub.metrics.sessions.get(), hub.metrics.subscriptions.get());
    assert_eq!(gauges(&hub), (2, 3), "one session has not joined");
    hub.unsubscribe(1, "room:7");
    hub.leave(3);
    assert_eq!(gauges(&hub), (2, 2));
    hub.leave(1);
    hub.leave(2);
    assert_eq!(gauges(&hub), (0, 0));
}

#[test]
fn the_answer_to_unsubscribe_follows_the_last_message() {
    let mut hub = TestHub::linked();
    let sink = hub.live_session(1);
    hub.publish(&plain("user:1", 1));
    assert_eq!(hub.unsubscribe(1, "user:1"), ["unsubscribe user:1"]);
    hub.publish(&plain("user:1", 2));
    assert_eq!(sink.take_messages(), ["1", r#"{"op":6}"#]);
}

#[test]
fn delivered_publications_release_their_inbox_bytes() {
    let mut hub = TestHub::linked();
    let _sink = hub.live_session(1);
    for publication in [durable("user:1", 1), plain("user:1", 2), plain("room:9", 3)] {
        hub.core.inbox_budget.hold(publication.queued_bytes());
        hub.publish(&publication);
    }
    assert_eq!(hub.metrics.hub_inbox_bytes.get(), 0);
    assert_eq!(hub.metrics.publications_delivered.get(), 2);
}
