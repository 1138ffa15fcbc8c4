//! What a hub decides, one input at a time, in virtual time.

use super::*;
use crate::broker::{Cut, FrameSizes, NotRecovered, Recovered, SubscribeAck};
use crate::hub::recorder::FrameRecorder;
use crate::metrics::{Label as _, RecoveryResult};
use protocol::Version;
use protocol::conversation::{ResumePoint, SubscribeRequest};
use protocol::event::SubscriptionState;

mod calls;
mod requests;
mod resume;

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HELD: usize = 3;
/// What one client may be given of histories.
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

/// What a client asks for: a channel, and where it left it; `?` for something that is no position.
type Ask<'a> = (&'a str, Option<&'a str>);

fn wanted((name, since): Ask<'_>, request_id: u32) -> SubscribeRequest {
    let since = since.map(|since| Position::parse(since).map_or(ResumePoint::Invalid, ResumePoint::Position));
    SubscribeRequest { channel: channel(name), since, request_id }
}

/// A hub with the hands on its clock. Every verb returns the actions that it led to, a line each.
struct TestHub {
    core: HubCore<FrameRecorder>,
    metrics: Metrics,
    now: Instant,
    /// The sessions by their keys.
    names: HashMap<SessionKey, u128>,
}

impl TestHub {
    fn unlinked() -> Self {
        let rules = HubRules { max_held: MAX_HELD, ..HubRules::new(LIMITS, TIMEOUT) };
        let metrics = Metrics::default();
        let budget = Arc::new(InboxBudget::new(1 << 20, &metrics));
        let core = HubCore::new(rules, budget, &metrics);
        Self { core, metrics, now: Instant::now(), names: HashMap::new() }
    }

    fn linked() -> Self {
        let mut hub = Self::unlinked();
        assert_eq!(hub.link(true), [""; 0]);
        hub
    }

    fn connects(&mut self, session: u128) -> FrameRecorder {
        let sink = FrameRecorder::default();
        let key = self.core.connect(SessionId(session), Version::V2, sink.clone());
        self.names.insert(key, session);
        sink
    }

    /// A session that is on its user's channel, confirmed at 9-0 and live.
    fn session(&mut self, session: u128) -> FrameRecorder {
        let sink = self.connects(session);
        let user = format!("user:{session}");
        let lines = self.joins(session, &[(&user, None)]);
        self.acks(asked(&lines), &user, at(0));
        self.goes_live(session, None);
        sink
    }

    fn on(&mut self, input: HubInput) -> Vec<String> {
        let mut actions = Vec::new();
        self.core.on(self.now, input, &mut actions);
        actions.iter().map(|action| self.line(action)).collect()
    }

    fn joins(&mut self, session: u128, asks: &[Ask<'_>]) -> Vec<String> {
        let channels = (0..).zip(asks).map(|(request_id, ask)| wanted(*ask, request_id)).collect();
        self.on(HubInput::Join { session: SessionId(session), channels })
    }

    /// Asks for a channel with request id 7.
    fn subscribes(&mut self, session: u128, name: &str, since: Option<&str>) -> Vec<String> {
        self.on(HubInput::Subscribe { session: SessionId(session), wanted: wanted((name, since), 7) })
    }

    fn unsubscribes(&mut self, session: u128, name: &str) -> Vec<String> {
        let answer = protocol::frame::encode(protocol::frame::FrameKind::Text, br#"{"op":6}"#);
        self.on(HubInput::Unsubscribe { session: SessionId(session), channel: channel(name), answer })
    }

    fn leaves(&mut self, session: u128) -> Vec<String> {
        self.on(HubInput::Leave { session: SessionId(session) })
    }

    fn goes_live(&mut self, session: u128, name: Option<&str>) {
        let input = HubInput::GoLive { session: SessionId(session), channel: name.map(channel) };
        assert_eq!(self.on(input), [""; 0]);
    }

    fn link(&mut self, is_up: bool) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Link { is_up }))
    }

    fn acks(&mut self, request: RequestId, name: &str, cut: Position) -> Vec<String> {
        self.is_acked(request, name, Cut::At(cut))
    }

    fn is_acked(&mut self, request: RequestId, name: &str, cut: Cut) -> Vec<String> {
        let ack = SubscribeAck { channel: channel(name), request, cut };
        self.on(HubInput::Broker(HubEvent::Subscribed(vec![ack])))
    }

    fn comes(&mut self, publication: &Arc<Publication>) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Publication(Arc::clone(publication))))
    }

    fn gap(&mut self, name: &str, reason: GapReason) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::Gap { channel: channel(name), reason, position: None }))
    }

    /// A history was read: the messages of a channel at these offsets, of so many bytes.
    fn is_read(&mut self, read: ReadId, name: &str, offsets: &[u64], bytes: usize) -> Vec<String> {
        let publications = offsets.iter().map(|offset| durable(name, *offset)).collect();
        // Of many short messages, or of one that is longer than what may be given.
        let longest = if bytes > 1_000 { bytes } else { 0 };
        let sizes = FrameSizes { all: bytes, longest };
        self.read_ends(read, Ok(Recovered { publications, sizes }))
    }

    fn read_ends(&mut self, read: ReadId, outcome: Result<Recovered, NotRecovered>) -> Vec<String> {
        self.on(HubInput::Broker(HubEvent::HistoryRead { read, outcome }))
    }

    fn passes(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(HubInput::DeadlinePassed)
    }

    fn line(&self, action: &HubAction) -> String {
        match action {
            HubAction::Notify { session, event } => {
                let session = self.names[session];
                match event {
                    SessionEvent::Joined(states) => {
                        let states: Vec<_> = states.iter().map(|state| spelt(*state)).collect();
                        format!("{session} joined: {}", states.join(", "))
                    }
                    SessionEvent::Subscribed { channel, request_id, state } => {
                        format!("{session} subscribed {channel} #{request_id}: {}", spelt(*state))
                    }
                    other => panic!("{other:?}"),
                }
            }
            HubAction::Subscribe { request, channels, verify } => {
                format!("{} {request}: {}", if *verify { "verify" } else { "ask" }, listed(channels))
            }
            HubAction::Unsubscribe(channels) => format!("leave {}", listed(channels)),
            HubAction::Read(HistoryRequest { read, user, channel, since, cut, limits }) => {
                assert_eq!(*limits, LIMITS);
                format!("read {read} for {user}: {channel} from {since} to {cut}")
            }
            HubAction::CancelRead(read) => format!("cancel {read}"),
            HubAction::Delivered { .. } => "delivered".to_owned(),
        }
    }

    /// How often a client continued with this result.
    fn recoveries(&self, result: &str) -> u64 {
        let label = format!("\"{result}\"");
        let text = self.metrics.render();
        let mut lines = text.lines().filter(|line| line.contains("recoveries") && line.contains(&label));
        lines.next().map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

fn spelt(state: SubscriptionState) -> String {
    match state {
        SubscriptionState::Live { position, recovered: None } => position.to_string(),
        SubscriptionState::Live { position, recovered: Some(true) } => format!("{position} recovered"),
        SubscriptionState::Live { position, recovered: Some(false) } => format!("{position} not recovered"),
        SubscriptionState::Refused => "refused".to_owned(),
        SubscriptionState::Recovering { since: None } => "recovering".to_owned(),
        SubscriptionState::Recovering { since: Some(since) } => format!("recovering from {since}"),
    }
}

fn listed(channels: &[ChannelName]) -> String {
    channels.iter().map(ChannelName::as_str).collect::<Vec<_>>().join(" ")
}

/// The number of the call of the broker, or of the read, that the last of these lines names.
fn asked(lines: &[String]) -> u64 {
    let line = lines.last().unwrap();
    let number = line.split([' ', ':']).nth(1).unwrap();
    number.parse().unwrap_or_else(|_| panic!("no number: {line}"))
}

#[test]
fn a_session_that_is_not_here_changes_nothing() {
    let mut hub = TestHub::linked();
    assert_eq!(hub.joins(1, &[("user:1", None)]), [""; 0]);
    assert_eq!(hub.subscribes(1, "room:7", None), [""; 0]);
    assert_eq!(hub.unsubscribes(1, "room:7"), [""; 0]);
    assert_eq!(hub.leaves(1), [""; 0]);
    hub.goes_live(1, None);
    assert_eq!(hub.core.registry().subscriptions(), 0);
    assert_eq!(hub.core.sessions().len(), 0);
}

#[test]
fn the_gauges_count_sessions_and_subscriptions() {
    let mut hub = TestHub::linked();
    let _sinks = [hub.session(1), hub.session(2), hub.connects(3)];
    hub.subscribes(1, "room:7", None);
    let gauges = |hub: &TestHub| (hub.metrics.sessions.get(), hub.metrics.subscriptions.get());
    assert_eq!(gauges(&hub), (2, 3), "one has not joined");
    hub.unsubscribes(1, "room:7");
    hub.leaves(3);
    assert_eq!(gauges(&hub), (2, 2));
    hub.leaves(1);
    hub.leaves(2);
    assert_eq!(gauges(&hub), (0, 0));
}

#[test]
fn the_answer_to_unsubscribe_comes_behind_the_last_message() {
    let mut hub = TestHub::linked();
    let sink = hub.session(1);
    hub.comes(&plain("user:1", 1));
    assert_eq!(hub.unsubscribes(1, "user:1"), ["leave user:1"]);
    hub.comes(&plain("user:1", 2));
    assert_eq!(sink.take_messages(), ["1", r#"{"op":6}"#]);
}

#[test]
fn publications_give_their_bytes_back_to_the_inbox() {
    let mut hub = TestHub::linked();
    let _sink = hub.session(1);
    for publication in [durable("user:1", 1), plain("user:1", 2), plain("room:9", 3)] {
        hub.core.inbox.hold(publication.queued_bytes());
        hub.comes(&publication);
    }
    assert_eq!(hub.metrics.hub_inbox_bytes.get(), 0);
    assert_eq!(hub.metrics.publications_delivered.get(), 2);
}
