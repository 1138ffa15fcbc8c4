//! A judge of everything that a conversation does.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::event::{ChannelState, SubscriptionOutcome};

/// While time passes the client is silent, which the rules below allow for 80 s, with a beat every 50 ms.
const MAX_DEADLINES: usize = 2_000;

/// A conversation whose every action is judged.
pub(super) struct Watched {
    pub(super) conversation: Conversation,
    rules: Rules,
    now: Now,
    asked: Option<Action>,
    /// Whether Close was sent or the peer has gone.
    pub(super) closed: bool,
    joins: usize,
    readys: usize,
    /// What the hub has been told that the session is on, its own channels among them.
    subscribed: HashSet<ChannelName>,
    /// The first two of them, which it never leaves.
    own: Vec<ChannelName>,
    /// Those that are live.
    live: HashSet<ChannelName>,
    /// Those that Ready listed as live, until they go live.
    listed: HashSet<ChannelName>,
    /// Those that the client was told to be recovering, each with its ticket.
    recovering: HashMap<ChannelName, u32>,
    /// The last ticket of each channel.
    tickets: HashMap<ChannelName, u32>,
    /// Whether an answer has come that no question led to.
    unasked_answer: bool,
}

impl Watched {
    pub(super) fn new(rules: Rules, version: Version, jitter: f64) -> Self {
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
            own: Vec::new(),
            live: HashSet::new(),
            listed: HashSet::new(),
            recovering: HashMap::new(),
            tickets: HashMap::new(),
            unasked_answer: false,
        }
    }

    pub(super) fn take(&mut self, step: &PropertyStep) {
        match step {
            PropertyStep::Text(text) => self.on(Input::Text(text)),
            PropertyStep::Binary => self.on(Input::Binary),
            PropertyStep::ControlFrame => self.on(Input::ControlFrame),
            PropertyStep::PeerClosed => {
                self.on(Input::PeerClosed);
                self.closed = true;
            }
            PropertyStep::Verified(result) => {
                self.unasked_answer = true;
                self.on(Input::Verified(result.clone()));
            }
            PropertyStep::OverLimit => self.on(Input::OverLimit),
            PropertyStep::Joined(are_live) => {
                self.on(Input::Joined(are_live.iter().map(|is_live| state(*is_live)).collect()));
            }
            PropertyStep::Subscribed { channel, ticket, is_live } => {
                self.subscribed(channel, *ticket, *is_live)
            }
            PropertyStep::Disconnected => self.on(Input::Disconnected),
            PropertyStep::Drain(after_ms) => self.on(Input::Drain { after_ms: *after_ms }),
            PropertyStep::Answered => self.answer(true),
            PropertyStep::AnsweredRecovering => self.answer(false),
            PropertyStep::Recovered => {
                for (channel, ticket) in self.recovering.clone() {
                    self.subscribed(&channel, ticket, true);
                    assert!(self.closed || self.live.contains(&channel), "{channel} stays recovering");
                }
            }
            PropertyStep::LookedAtTheClock => self.deadline_passed(),
            PropertyStep::Passed(time) => self.pass(*time),
            PropertyStep::Stalled(time) => self.stall(*time),
            PropertyStep::WallClockSet(unix_ms) => self.now.unix_ms = *unix_ms,
        }
    }

    fn subscribed(&mut self, channel: &ChannelName, ticket: u32, is_live: bool) {
        self.on(Input::Subscribed { channel: channel.clone(), ticket, state: state(is_live) });
    }

    /// Answers what was asked last.
    fn answer(&mut self, is_live: bool) {
        match self.asked.take() {
            Some(Action::Authenticate(_)) => {
                let user = ChannelName::of_user("42").unwrap();
                let grants = vec![ChannelPattern::new("room:*")];
                let expires_at_ms = Some(UNIX_START_MS + 60_000);
                self.on(Input::Verified(Ok(Identity { user, expires_at_ms, grants })));
            }
            Some(Action::Join { channels }) => self.on(Input::Joined(vec![state(is_live); channels.len()])),
            Some(Action::Subscribe(wanted)) => self.subscribed(&wanted.channel, wanted.ticket, is_live),
            _ => {}
        }
    }

    /// Whether a deadline would close is known before it does.
    fn deadline_passed(&mut self) {
        let (would_close, was_closed) = (self.conversation.would_close(self.now), self.closed);
        self.on(Input::DeadlinePassed);
        assert_eq!(would_close, self.closed && !was_closed);
    }

    fn stall(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix_ms = self.now.unix_ms.saturating_add(time.as_millis() as u64);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        let mut deadlines = 0;
        while let Some(due) = self.conversation.next_deadline().filter(|due| *due <= end) {
            self.stall(due.saturating_duration_since(self.now.monotonic));
            self.deadline_passed();
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
                self.own = channels[..2].iter().map(|wanted| wanted.channel.clone()).collect();
                channels.iter().for_each(|wanted| self.judge_wanted(wanted));
            }
            Action::Subscribe(wanted) => {
                assert_eq!(self.readys, 1, "Subscribe before Ready");
                self.judge_wanted(wanted);
            }
            Action::Unsubscribe { channel, answer } => {
                assert_eq!(self.readys, 1, "Unsubscribe before Ready");
                self.judge_event(answer);
                assert!(!self.own.contains(channel), "{channel} is its own");
                assert!(self.subscribed.remove(channel), "{channel} was not there");
                self.live.remove(channel);
                self.recovering.remove(channel);
            }
            Action::GoLive(None) => {
                assert!(matches!(before, Some(Action::Send(Event::Ready { .. }))), "{before:?}");
                self.live = std::mem::take(&mut self.listed);
            }
            Action::GoLive(Some(live)) => self.judge_live(before, live),
            Action::Close(_) => self.closed = true,
        }
        let limit = self.rules.max_subscriptions as usize;
        let subscribed = self.subscribed.len() - self.own.len();
        assert!(limit == 0 || subscribed <= limit, "over the limit: {:?}", self.subscribed);
        if matches!(action, Action::Authenticate(_) | Action::Join { .. } | Action::Subscribe { .. }) {
            self.asked = Some(action.clone());
        }
    }

    fn judge_wanted(&mut self, Wanted { channel, ticket, .. }: &Wanted) {
        assert!(self.subscribed.insert(channel.clone()), "{channel} twice");
        assert!(self.tickets.values().all(|other| other != ticket), "ticket {ticket} twice");
        self.tickets.insert(channel.clone(), *ticket);
    }

    /// One channel goes live: version 2 was told so just before, version 1 is told nothing.
    fn judge_live(&mut self, before: Option<&Action>, live: &ChannelName) {
        match (self.conversation.version(), before) {
            (Version::V1, None) => {}
            (Version::V2, Some(Action::Send(Event::Subscription { channel, outcome }))) => {
                assert!(
                    matches!(outcome, SubscriptionOutcome::Subscribed(state) if state.is_live()),
                    "{outcome:?}"
                );
                assert_eq!(**channel, *live.as_str());
            }
            _ => panic!("{live} goes live after {before:?}"),
        }
        assert!(self.subscribed.contains(live), "{live} goes live but is not there");
        assert!(self.live.insert(live.clone()), "{live} goes live twice");
        self.recovering.remove(live);
    }

    fn judge_event(&mut self, event: &Event) {
        match event {
            Event::Hello { .. } => panic!("a second Hello"),
            Event::Ready { channels, .. } => {
                self.readys += 1;
                assert_eq!(self.readys, 1, "a second Ready");
                for ChannelState { channel, state } in channels {
                    assert!(self.subscribed.contains(channel), "{channel} is listed but not there");
                    match state {
                        SubscriptionState::Live { .. } => drop(self.listed.insert(channel.clone())),
                        SubscriptionState::Recovering { .. } => self.note_recovering(channel),
                        SubscriptionState::Refused => panic!("{channel} is listed though refused"),
                    }
                }
            }
            Event::Subscription {
                channel,
                outcome: SubscriptionOutcome::Subscribed(SubscriptionState::Recovering { .. }),
            } => {
                assert_eq!(self.readys, 1, "{event:?} before Ready");
                let channel = ChannelName::parse(channel).unwrap();
                assert!(self.subscribed.contains(&channel), "{channel} recovers but is not there");
                assert!(!self.live.contains(&channel), "{channel} recovers but is live");
                self.note_recovering(&channel);
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

    fn note_recovering(&mut self, channel: &ChannelName) {
        self.recovering.insert(channel.clone(), self.tickets[channel]);
    }
}

fn state(is_live: bool) -> SubscriptionState {
    let position = Position { epoch: 9, offset: 9 };
    match is_live {
        true => SubscriptionState::Live { position, recovered: None },
        false => SubscriptionState::Recovering { since: Some(position) },
    }
}
