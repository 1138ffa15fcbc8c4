//! Checks the actions of a conversation.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::event::{ChannelOutcome, ChannelState, SoftError};
use crate::signal::MAX_SIGNAL_BYTES;

/// A silent client times out after at most 80 s, and the shortest heartbeat interval is 50 ms.
const MAX_DEADLINES: usize = 2_000;

/// A conversation whose actions are all checked.
pub(super) struct CheckedConversation {
    pub(super) conversation: Conversation,
    rules: Rules,
    now: Now,
    last_request: Option<Action>,
    /// Whether Close was sent or the peer closed the socket.
    pub(super) closed: bool,
    joins: usize,
    readys: usize,
    /// The subscriptions in the hub, including the session's own channels.
    subscribed: HashSet<ChannelName>,
    /// The two channels that the session never leaves.
    own: Vec<ChannelName>,
    /// The channels that the backend has subscribed the session to, or ended.
    by_server: HashSet<ChannelName>,
    /// The live channels.
    live: HashSet<ChannelName>,
    /// The channels that Ready listed as live and that have not gone live.
    listed: HashSet<ChannelName>,
    /// The channels that an event reported as recovering, and the ids of their requests.
    recovering: HashMap<ChannelName, u32>,
    /// The id of the last request for each channel.
    request_ids: HashMap<ChannelName, u32>,
    /// The number of requests for members and histories without an answer.
    open_requests: u8,
    /// The number of messages for the backend without an answer.
    open_sends: u8,
    /// The channels of the last token's claim `subscribe`.
    token_channels: HashSet<ChannelName>,
    /// When the last signal of each channel went out.
    signals: HashMap<ChannelName, Instant>,
    /// Whether a token is being verified.
    is_verifying: bool,
    /// Whether the test passed an answer without a request.
    got_unsolicited_answer: bool,
}

impl CheckedConversation {
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
            last_request: None,
            closed: false,
            joins: 0,
            readys: 0,
            subscribed: HashSet::new(),
            own: Vec::new(),
            by_server: HashSet::new(),
            live: HashSet::new(),
            listed: HashSet::new(),
            recovering: HashMap::new(),
            request_ids: HashMap::new(),
            open_requests: 0,
            open_sends: 0,
            token_channels: HashSet::new(),
            signals: HashMap::new(),
            is_verifying: false,
            got_unsolicited_answer: false,
        }
    }

    pub(super) fn apply(&mut self, step: &PropertyStep) {
        match step {
            PropertyStep::Text(text) => self.handle(Input::Text(text)),
            PropertyStep::Binary => self.handle(Input::Binary),
            PropertyStep::ControlFrame => self.handle(Input::ControlFrame),
            PropertyStep::PeerClosed => {
                self.handle(Input::PeerClosed);
                self.closed = true;
            }
            PropertyStep::Verified(result) => {
                self.got_unsolicited_answer = true;
                self.handle(Input::Verified(result.clone()));
            }
            PropertyStep::Unverifiable => {
                self.got_unsolicited_answer = true;
                self.handle(Input::Unverifiable);
            }
            PropertyStep::OverLimit => self.handle(Input::OverLimit),
            PropertyStep::Joined(are_live) => {
                self.handle(Input::Joined(are_live.iter().map(|is_live| state(*is_live)).collect()));
            }
            PropertyStep::Subscribed { channel, request_id, is_live } => {
                self.answer_subscribe(channel, *request_id, *is_live)
            }
            PropertyStep::Disconnected => self.handle(Input::Disconnected(None)),
            PropertyStep::TokenRevoked => self.handle(Input::TokenRevoked),
            PropertyStep::RevocationsUnknown => self.handle(Input::RevocationsUnknown),
            PropertyStep::SetSubscription { channel, is_subscribed } => {
                // The limit is for clients.
                self.by_server.insert(channel.clone());
                self.handle(Input::SetSubscription {
                    channel: channel.clone(),
                    is_subscribed: *is_subscribed,
                });
            }
            PropertyStep::Drain(after_ms) => self.handle(Input::Drain { after_ms: *after_ms }),
            PropertyStep::Answered => self.answer(true),
            PropertyStep::AnsweredRecovering => self.answer(false),
            PropertyStep::Recovered => {
                for (channel, request_id) in self.recovering.clone() {
                    self.answer_subscribe(&channel, request_id, true);
                    assert!(self.closed || self.live.contains(&channel), "{channel} is still recovering");
                }
            }
            PropertyStep::Members { channel, is_read } => {
                let outcome = is_read.then(MembersPage::default).ok_or(PageError::Unavailable);
                self.handle(Input::Members { id: "m1".into(), channel: channel.clone(), outcome });
            }
            PropertyStep::History { channel, is_read } => {
                let outcome = is_read.then(HistoryPage::default).ok_or(PageError::Unavailable);
                self.handle(Input::History { id: "h1".into(), channel: channel.clone(), outcome });
            }
            PropertyStep::Sent { is_accepted } => {
                let outcome = is_accepted.then_some(()).ok_or(SendError::Unavailable);
                self.handle(Input::Sent { id: "c1".into(), outcome });
            }
            PropertyStep::DeadlineChecked => self.deadline_passed(),
            PropertyStep::Passed(time) => self.advance(*time),
            PropertyStep::Stalled(time) => self.stall(*time),
            PropertyStep::WallClockSet(unix_ms) => self.now.unix_ms = *unix_ms,
        }
    }

    fn answer_subscribe(&mut self, channel: &ChannelName, request_id: u32, is_live: bool) {
        let answer = ChannelAnswer { channel: channel.clone(), request_id, state: state(is_live) };
        self.handle(Input::Subscribed(vec![answer]));
    }

    /// Answers the last request.
    fn answer(&mut self, is_live: bool) {
        match self.last_request.take() {
            Some(Action::Authenticate(_)) => {
                let user = ChannelName::of_user("42").unwrap();
                let grants = vec![ChannelPattern::new("room:*")];
                let expires_at_ms = Some(UNIX_START_MS + 60_000);
                self.handle(Input::Verified(Ok(Identity { user, expires_at_ms, grants, subscribe: vec![] })));
            }
            Some(Action::Join { channels }) => {
                self.handle(Input::Joined(vec![state(is_live); channels.len()]))
            }
            Some(Action::Subscribe(requests)) => {
                let answer = |SubscribeRequest { channel, request_id, .. }: SubscribeRequest| ChannelAnswer {
                    channel,
                    request_id,
                    state: state(is_live),
                };
                self.handle(Input::Subscribed(requests.into_iter().map(answer).collect()));
            }
            _ => {}
        }
    }

    /// Passes `DeadlinePassed`, and checks that `would_close` predicts its effect.
    fn deadline_passed(&mut self) {
        let (would_close, was_closed) = (self.conversation.would_close(self.now), self.closed);
        self.handle(Input::DeadlinePassed);
        assert_eq!(would_close, self.closed && !was_closed);
    }

    fn stall(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.unix_ms = self.now.unix_ms.saturating_add(time.as_millis() as u64);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let end = self.now.monotonic + time;
        let mut deadlines = 0;
        while let Some(due) = self.conversation.next_deadline().filter(|due| *due <= end) {
            self.stall(due.saturating_duration_since(self.now.monotonic));
            self.deadline_passed();
            deadlines += 1;
            assert!(deadlines <= MAX_DEADLINES, "too many deadlines within {time:?}");
        }
        self.stall(end - self.now.monotonic);
    }

    fn handle(&mut self, input: Input<'_>) {
        let is_deadline = matches!(input, Input::DeadlinePassed);
        if matches!(input, Input::Verified(_) | Input::Unverifiable) {
            self.is_verifying = false;
        }
        match &input {
            Input::Members { .. } | Input::History { .. } => {
                self.open_requests = self.open_requests.saturating_sub(1);
            }
            Input::Sent { .. } => self.open_sends = self.open_sends.saturating_sub(1),
            Input::Verified(Ok(identity)) => self.token_channels.extend(identity.subscribe.iter().cloned()),
            _ => {}
        }
        let mut actions = Vec::new();
        self.conversation.handle(self.now, input, &mut actions);
        let mut before = None;
        for action in &actions {
            self.check_action(before, action);
            // All channels of a batch go live directly after its event.
            let is_batch = matches!(before, Some(Action::Send(Event::Subscriptions(_))));
            if !(is_batch && matches!(action, Action::GoLive(Some(_)))) {
                before = Some(action);
            }
        }
        assert_eq!(self.conversation.next_deadline().is_none(), self.conversation.is_closed());
        if is_deadline && let Some(next) = self.conversation.next_deadline() {
            assert!(next > self.now.monotonic, "the next deadline is not in the future");
        }
        if let Some(Action::Send(Event::Ready { .. })) = before {
            panic!("no GoLive after Ready: {actions:?}");
        }
    }

    fn check_action(&mut self, before: Option<&Action>, action: &Action) {
        assert!(!self.closed, "{action:?} after the conversation closed");
        match action {
            Action::Send(event) => self.check_event(event),
            Action::Authenticate(_) => {
                assert!(self.joins == 0 || self.readys == 1, "Authenticate while joining");
                assert!(!self.is_verifying, "a second token is verified at the same time");
                self.is_verifying = true;
            }
            Action::Join { channels } => {
                self.joins += 1;
                assert_eq!(self.joins, 1, "a second Join");
                self.own = channels[..2].iter().map(|request| request.channel.clone()).collect();
                channels.iter().for_each(|request| self.check_request(request));
            }
            Action::Subscribe(requests) => {
                assert_eq!(self.readys, 1, "Subscribe before Ready");
                assert!(!requests.is_empty(), "an empty Subscribe");
                requests.iter().for_each(|request| self.check_request(request));
            }
            Action::Unsubscribe { channels, answer } => {
                assert_eq!(self.readys, 1, "Unsubscribe before Ready");
                assert_eq!(answer.is_some(), self.conversation.version() == Version::V2, "{answer:?}");
                answer.iter().for_each(|answer| self.check_event(answer));
                assert!(!channels.is_empty(), "an empty Unsubscribe");
                for channel in channels {
                    assert!(!self.own.contains(channel), "{channel} is one of the session's own channels");
                    assert!(self.subscribed.remove(channel), "the session is not subscribed to {channel}");
                    self.live.remove(channel);
                    self.recovering.remove(channel);
                    self.signals.remove(channel);
                }
            }
            Action::GoLive(None) => {
                assert!(matches!(before, Some(Action::Send(Event::Ready { .. }))), "{before:?}");
                self.live = std::mem::take(&mut self.listed);
            }
            Action::GoLive(Some(live)) => self.check_going_live(before, live),
            Action::ReadMembers(request) => {
                self.open_requests += 1;
                assert!(self.open_requests <= MAX_OPEN_REQUESTS);
                assert!(self.subscribed.contains(&request.channel), "{request:?} without a subscription");
            }
            Action::SendMessage(message) => {
                self.open_sends += 1;
                assert!(self.open_sends <= MAX_OPEN_SENDS);
                assert!(self.rules.namespaces.of(&message.channel).send, "{message:?} is not allowed");
                assert!(message.message.get().len() <= self.rules.max_send_bytes);
            }
            Action::Signal(signal) => self.check_signal(signal),
            Action::ReadHistory(query) => {
                self.open_requests += 1;
                assert!(self.open_requests <= MAX_OPEN_REQUESTS);
                assert!(self.subscribed.contains(&query.channel), "{query:?} without a subscription");
                assert!((1..=30).contains(&query.limit), "{query:?}");
            }
            Action::Close(_) | Action::CloseWith(..) => self.closed = true,
        }
        let limit = self.rules.max_subscriptions as usize;
        let by_client = |channel: &&ChannelName| {
            let others = [&self.by_server, &self.token_channels];
            !self.own.contains(channel) && !others.iter().any(|set| set.contains(*channel))
        };
        let subscribed = self.subscribed.iter().filter(by_client).count();
        assert!(
            limit == 0 || subscribed <= limit,
            "more subscriptions than the limit: {:?}",
            self.subscribed
        );
        if matches!(action, Action::Authenticate(_) | Action::Join { .. } | Action::Subscribe { .. }) {
            self.last_request = Some(action.clone());
        }
    }

    fn check_signal(&mut self, ClientSignal { channel, signal }: &ClientSignal) {
        assert!(self.subscribed.contains(channel), "a signal on {channel} without a subscription");
        assert!(self.rules.namespaces.of(channel).signals && signal.get().len() <= MAX_SIGNAL_BYTES);
        let now = self.now.monotonic;
        if let Some(last) = self.signals.insert(channel.clone(), now) {
            assert!(now - last >= self.rules.signal_interval, "two signals on {channel} within the interval");
        }
    }

    fn check_request(&mut self, request: &SubscribeRequest) {
        let SubscribeRequest { channel, history, request_id } = request;
        if let WantedHistory::Last(last) = history {
            let allowed = 1..=self.rules.namespaces.of(channel).max_last;
            assert!(allowed.contains(last), "{request:?} asks for none or too many");
        }
        assert!(self.subscribed.insert(channel.clone()), "a second subscription to {channel}");
        let is_new = self.request_ids.values().all(|other| other != request_id);
        assert!(is_new, "request id {request_id} is used twice");
        self.request_ids.insert(channel.clone(), *request_id);
    }

    /// Checks that a channel goes live directly after its event in version 2, and without an event in version 1.
    fn check_going_live(&mut self, before: Option<&Action>, live: &ChannelName) {
        match (self.conversation.version(), before) {
            (Version::V1, None) => {}
            (Version::V2, Some(Action::Send(Event::Subscription { channel, outcome }))) => {
                assert!(says_live(outcome), "{outcome:?}");
                assert_eq!(**channel, *live.as_str());
            }
            (Version::V2, Some(Action::Send(Event::Subscriptions(channels)))) => {
                let listed = channels.iter().find(|listed| *listed.channel == *live.as_str());
                assert!(listed.is_some_and(|listed| says_live(&listed.outcome)), "{channels:?}");
            }
            _ => panic!("{live} goes live after {before:?}"),
        }
        assert!(self.subscribed.contains(live), "{live} goes live without a subscription");
        assert!(self.live.insert(live.clone()), "{live} goes live twice");
        self.recovering.remove(live);
    }

    fn check_event(&mut self, event: &Event) {
        match event {
            Event::Hello { .. } => panic!("a second Hello"),
            Event::Ready { channels, .. } => {
                self.readys += 1;
                assert_eq!(self.readys, 1, "a second Ready");
                for ChannelState { channel, state } in channels {
                    assert!(self.subscribed.contains(channel), "{channel} is listed without a subscription");
                    match state {
                        SubscriptionState::Live { .. } => drop(self.listed.insert(channel.clone())),
                        SubscriptionState::Recovering { .. } => self.mark_recovering(channel),
                        SubscriptionState::Refused => panic!("{channel} is listed as refused"),
                    }
                }
            }
            Event::Subscription {
                channel,
                outcome: SubscriptionOutcome::Subscribed(SubscriptionState::Recovering { .. }),
            } => {
                assert_eq!(self.readys, 1, "{event:?} before Ready");
                let channel = ChannelName::parse(channel).unwrap();
                assert!(self.subscribed.contains(&channel), "{channel} recovers without a subscription");
                assert!(!self.live.contains(&channel), "{channel} recovers although it is live");
                self.mark_recovering(&channel);
            }
            Event::Subscriptions(channels) => {
                assert_eq!(self.readys, 1, "{event:?} before Ready");
                assert!(!channels.is_empty(), "an empty batch");
                for ChannelOutcome { channel, outcome } in channels {
                    if let SubscriptionOutcome::Subscribed(SubscriptionState::Recovering { .. }) = outcome {
                        self.mark_recovering(&ChannelName::parse(channel).unwrap());
                    }
                }
            }
            Event::Subscription { .. } | Event::Refreshed { .. } => {
                assert_eq!(self.readys, 1, "{event:?} before Ready");
            }
            Event::History { channel, .. } | Event::Members { channel, .. } => {
                assert!(self.subscribed.contains(channel), "{event:?} without a subscription");
            }
            Event::RequestError { error, .. } => {
                assert!(!matches!(error, SoftError::AlreadySubscribed | SoftError::OwnChannel));
            }
            _ => {}
        }
        let version = self.conversation.version();
        let json: serde_json::Value = serde_json::from_str(&event.to_json(version)).unwrap();
        let is_v1_op = [2, 10, 11].contains(&json["op"].as_u64().unwrap());
        let is_allowed = is_v1_op || version != Version::V1 || self.got_unsolicited_answer;
        assert!(is_allowed, "a client of version 1 received {json}");
    }

    fn mark_recovering(&mut self, channel: &ChannelName) {
        self.recovering.insert(channel.clone(), self.request_ids[channel]);
    }
}
