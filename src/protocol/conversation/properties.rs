//! What holds for any conversation, however its client, its hub and its clocks behave.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::{collection::vec, option, sample::select};

use super::*;
use crate::protocol::event::SubscriptionOutcome;

const UNIX_START_MS: u64 = 1_700_000_000_000;
/// While time passes the client is silent, which the rules below allow for 80 s, with a beat every 50 ms.
const MAX_DEADLINES: usize = 2_000;

/// One thing that happens. Unlike an input it can be made up before the conversation is there.
#[derive(Debug, Clone)]
enum Step {
    Text(String),
    Binary,
    ControlFrame,
    PeerClosed,
    Violation(CloseCode),
    Verified(Result<Identity, NotIdentified>),
    Joined(usize),
    Subscribed(u32),
    Drain(u64),
    Disconnect,
    /// The hub or the authenticator answers what was asked last, as it should.
    Answered,
    /// The deadline is looked at, whether it has come or not.
    LookedAtTheClock,
    /// Time passes, and every deadline is noticed when it comes.
    Passed(Duration),
    /// Time passes, and nobody looks.
    Stalled(Duration),
    /// The wall clock is set to another time.
    WallClockSet(u64),
}

fn rules() -> impl Strategy<Value = Rules> {
    let ms = |range| Strategy::prop_map(range, Duration::from_millis);
    (
        ms(50..60_000u64),
        ms(0..20_000u64),
        ms(0..15_000u64),
        select(vec![0, 2, 30, 600]),
        0..4u32,
        any::<bool>(),
    )
        .prop_map(|(interval, grace, identify, messages_per_minute, max_subscriptions, public)| Rules {
            heartbeat_interval: interval,
            heartbeat_grace: grace,
            identify_timeout: identify,
            max_message_bytes: 65_536,
            messages_per_minute,
            max_subscriptions,
            public_namespaces: if public { vec!["news".into()] } else { vec![] },
        })
}

fn identity() -> impl Strategy<Value = Identity> {
    let grants = vec(select(vec!["room:*", "room:1", "news:*", "bank:1", "*", ""]), 0..3);
    let expiry = option::of(prop_oneof![
        Just(0),
        Just(u64::MAX),
        UNIX_START_MS..UNIX_START_MS + 100_000,
        UNIX_START_MS..UNIX_START_MS + 3 * 86_400_000,
    ]);
    (prop_oneof![9 => Just("42"), 1 => Just("43")], expiry, grants).prop_map(
        |(user, expires_at_ms, grants)| Identity {
            user: ChannelName::of_user(user).unwrap(),
            expires_at_ms,
            grants: grants.into_iter().map(ChannelPattern::new).collect(),
        },
    )
}

fn channel() -> impl Strategy<Value = &'static str> {
    select(vec!["room:1", "room:2", "room:3", "news:1", "bank:1", "user:42", "user:43", "all", "room:", ""])
}

fn identify() -> impl Strategy<Value = String> {
    let one = (channel(), any::<bool>()).prop_map(|(channel, resumes)| match resumes {
        true => format!(r#"{{"channel":"{channel}","since":"9-1"}}"#),
        false => format!(r#"{{"channel":"{channel}"}}"#),
    });
    option::of(vec(one, 0..6)).prop_map(|channels| match channels {
        Some(channels) => format!(r#"{{"op":1,"token":"t","channels":[{}]}}"#, channels.join(",")),
        None => r#"{"op":1,"token":"t"}"#.to_owned(),
    })
}

fn command() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => identify(),
        8 => channel().prop_map(|channel| format!(r#"{{"op":4,"channel":"{channel}"}}"#)),
        2 => channel().prop_map(|channel| format!(r#"{{"op":4,"channel":"{channel}","since":"9-1"}}"#)),
        5 => channel().prop_map(|channel| format!(r#"{{"op":5,"channel":"{channel}"}}"#)),
        3 => Just(r#"{"op":12,"token":"t"}"#.to_owned()),
        3 => Just(r#"{"op":11,"time":1}"#.to_owned()),
        2 => Just(r#"{"op":10,"time":1579276740336}"#.to_owned()),
        1 => Just(r#"{"op":10}"#.to_owned()),
    ]
}

/// A command with one piece cut out, doubled or replaced.
fn nearly_a_command() -> impl Strategy<Value = String> {
    (command(), any::<prop::sample::Index>(), option::of(any::<char>())).prop_map(|(text, at, put)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        match put {
            Some(put) => chars[at] = put,
            None => drop(chars.remove(at)),
        }
        chars.into_iter().collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let ms = |range| Strategy::prop_map(range, Duration::from_millis);
    prop_oneof![
        24 => command().prop_map(Step::Text),
        1 => nearly_a_command().prop_map(Step::Text),
        1 => any::<String>().prop_map(Step::Text),
        1 => Just(Step::Binary),
        2 => Just(Step::ControlFrame),
        1 => Just(Step::PeerClosed),
        1 => select(CloseCode::ALL.to_vec()).prop_map(Step::Violation),
        4 => identity().prop_map(|identity| Step::Verified(Ok(identity))),
        1 => Just(Step::Verified(Err(NotIdentified))),
        4 => (0..12usize).prop_map(Step::Joined),
        8 => (0..6u32).prop_map(Step::Subscribed),
        1 => any::<u64>().prop_map(Step::Drain),
        1 => Just(Step::Disconnect),
        16 => Just(Step::Answered),
        4 => Just(Step::LookedAtTheClock),
        8 => ms(0..20_000u64).prop_map(Step::Passed),
        1 => ms(0..2 * 86_400_000u64).prop_map(Step::Passed),
        2 => ms(0..100_000u64).prop_map(Step::Stalled),
        1 => prop_oneof![Just(0), Just(u64::MAX), UNIX_START_MS - 100_000..UNIX_START_MS + 100_000]
            .prop_map(Step::WallClockSet),
    ]
}

/// Half of all conversations begin well, so that what comes after Ready is seen often enough.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begins_well = identify().prop_map(|text| vec![Step::Text(text), Step::Answered, Step::Answered]);
    (prop_oneof![Just(vec![]), begins_well], vec(step(), 0..=57))
        .prop_map(|(beginning, rest)| beginning.into_iter().chain(rest).collect())
}

/// A conversation whose every action is judged.
struct Watched {
    conversation: Conversation,
    rules: Rules,
    now: Now,
    asked: Option<Action>,
    closed: bool,
    joins: usize,
    readys: usize,
    /// What the hub has been told that the session is on, besides its own channels.
    subscribed: HashSet<ChannelName>,
    /// Whether an answer has come that no question led to.
    unasked_answer: bool,
}

impl Watched {
    fn new(rules: Rules, version: Version, jitter: f64) -> Self {
        let now = Now { monotonic: Instant::now(), unix_ms: UNIX_START_MS };
        let mut actions = Vec::new();
        let conversation =
            Conversation::open(rules.clone().into(), version, SessionId(1), jitter, now, &mut actions);
        assert!(matches!(actions[..], [Action::Send(Event::Hello { .. })]), "{actions:?}");
        Self {
            conversation,
            rules,
            now,
            asked: None,
            closed: false,
            joins: 0,
            readys: 0,
            subscribed: HashSet::new(),
            unasked_answer: false,
        }
    }

    fn take(&mut self, step: &Step) {
        let position = Position { epoch: 9, offset: 9 };
        match step {
            Step::Text(text) => self.on(Input::Text(text)),
            Step::Binary => self.on(Input::Binary),
            Step::ControlFrame => self.on(Input::ControlFrame),
            Step::PeerClosed => {
                self.on(Input::PeerClosed);
                self.closed = true;
            }
            Step::Violation(code) => self.on(Input::Violation(*code)),
            Step::Verified(result) => {
                self.unasked_answer = true;
                self.on(Input::Verified(result.clone()));
            }
            Step::Joined(positions) => self.on(Input::Joined(vec![position; *positions])),
            Step::Subscribed(ticket) => self.on(Input::Subscribed { ticket: *ticket, position }),
            Step::Drain(after_ms) => self.on(Input::Drain { after_ms: *after_ms }),
            Step::Disconnect => self.on(Input::Disconnect),
            Step::Answered => self.answer(position),
            Step::LookedAtTheClock => self.on(Input::DeadlinePassed),
            Step::Passed(time) => self.pass(*time),
            Step::Stalled(time) => self.stall(*time),
            Step::WallClockSet(unix_ms) => self.now.unix_ms = *unix_ms,
        }
    }

    fn answer(&mut self, position: Position) {
        match self.asked.take() {
            Some(Action::Authenticate(_)) => {
                let user = ChannelName::of_user("42").unwrap();
                let grants = vec![ChannelPattern::new("room:*")];
                self.on(Input::Verified(Ok(Identity { user, expires_at_ms: None, grants })));
            }
            Some(Action::Join { channels }) => self.on(Input::Joined(vec![position; channels.len()])),
            Some(Action::Subscribe { ticket, .. }) => self.on(Input::Subscribed { ticket, position }),
            _ => {}
        }
    }

    fn stall(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix_ms = self.now.unix_ms.saturating_add(time.as_millis() as u64);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        let mut deadlines = 0;
        while let Some(due) = self.conversation.next_deadline().filter(|due| *due <= end) {
            self.stall(due.saturating_duration_since(self.now.monotonic));
            self.on(Input::DeadlinePassed);
            deadlines += 1;
            assert!(deadlines <= MAX_DEADLINES, "spins");
        }
        self.stall(end - self.now.monotonic);
    }

    fn on(&mut self, input: Input<'_>) {
        let looked = matches!(input, Input::DeadlinePassed);
        let mut actions = Vec::new();
        self.conversation.on(self.now, input, &mut actions);
        let mut before = None;
        for action in &actions {
            self.judge(before, action);
            before = Some(action);
        }
        assert_eq!(self.conversation.next_deadline().is_none(), self.conversation.is_closed());
        if looked && let Some(next) = self.conversation.next_deadline() {
            assert!(next > self.now.monotonic, "the next deadline has passed already");
        }
        if let Some(Action::Send(Event::Ready { .. })) = before {
            panic!("Ready without going live: {actions:?}");
        }
    }

    fn judge(&mut self, before: Option<&Action>, action: &Action) {
        assert!(!self.closed, "{action:?} after the end");
        match action {
            Action::Send(event) => self.judge_event(event),
            Action::Authenticate(_) => {
                assert!(self.joins == 0 || self.readys == 1, "Authenticate while joining");
            }
            Action::Join { channels } => {
                self.joins += 1;
                assert_eq!(self.joins, 1, "a second Join");
                self.subscribed.extend(channels[2..].iter().cloned());
                assert_eq!(self.subscribed.len(), channels.len() - 2, "a channel twice: {channels:?}");
            }
            Action::Subscribe { channel, .. } => {
                assert_eq!(self.readys, 1, "Subscribe before Ready");
                assert!(self.subscribed.insert(channel.clone()), "{channel} twice");
            }
            Action::Unsubscribe(channel) => {
                assert_eq!(self.readys, 1, "Unsubscribe before Ready");
                assert!(self.subscribed.remove(channel), "{channel} was not there");
            }
            Action::GoLive(None) => {
                assert!(matches!(before, Some(Action::Send(Event::Ready { .. }))), "{before:?}");
            }
            Action::GoLive(Some(live)) => {
                let Some(Action::Send(Event::Subscription { channel, outcome })) = before else {
                    panic!("{live} goes live after {before:?}");
                };
                assert!(matches!(outcome, SubscriptionOutcome::Subscribed { .. }), "{outcome:?}");
                assert_eq!(**channel, *live.as_str());
                assert!(self.subscribed.contains(live), "{live} goes live but is not there");
            }
            Action::Close(_) => self.closed = true,
        }
        let limit = self.rules.max_subscriptions as usize;
        assert!(limit == 0 || self.subscribed.len() <= limit, "over the limit: {:?}", self.subscribed);
        if matches!(action, Action::Authenticate(_) | Action::Join { .. } | Action::Subscribe { .. }) {
            self.asked = Some(action.clone());
        }
    }

    fn judge_event(&mut self, event: &Event) {
        match event {
            Event::Hello { .. } => panic!("a second Hello"),
            Event::Ready { .. } => {
                self.readys += 1;
                assert_eq!(self.readys, 1, "a second Ready");
            }
            Event::Subscription { .. } | Event::Refreshed { .. } => {
                assert_eq!(self.readys, 1, "{event:?} before Ready");
            }
            _ => {}
        }
        let version = self.conversation.version();
        let json: serde_json::Value = serde_json::from_str(&event.to_json(version)).unwrap();
        if version == Version::V1 && !self.unasked_answer {
            assert!([2, 10, 11].contains(&json["op"].as_u64().unwrap()), "version 1 is sent {json}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_conversation_keeps_its_order(
        rules in rules(),
        version in select(vec![Version::V1, Version::V2]),
        jitter in 0.0..=1.0,
        steps in steps(),
    ) {
        let mut watched = Watched::new(rules, version, jitter);
        for step in &steps {
            watched.take(step);
        }
    }

    #[test]
    fn whatever_has_happened_a_silent_client_is_closed_in_the_end(
        rules in rules(),
        version in select(vec![Version::V1, Version::V2]),
        steps in steps(),
    ) {
        let silence = rules.heartbeat_interval + rules.heartbeat_grace;
        let mut watched = Watched::new(rules, version, 0.5);
        for step in &steps {
            watched.take(step);
        }
        watched.pass(silence);
        prop_assert!(watched.closed && watched.conversation.is_closed());
    }
}
