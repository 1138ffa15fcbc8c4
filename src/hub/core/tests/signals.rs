//! Signals, from a session to the other sessions of a channel.

use super::*;
use crate::hub::signals::{MAX_WAITING_BYTES, WINDOW};
use crate::metrics::{ResultLabel, SignalDelivery, SignalResult};
use crate::settings::{NamespaceSettings, Namespaces};
use protocol::signal::{ClientSignal, Signal};
use serde_json::value::RawValue;

const ROOM: &str = "room:7";
const LATER: Duration = Duration::from_millis(51);

fn rules() -> HubRules {
    let options = NamespaceSettings { signals: true, ..Default::default() };
    let namespaces = Namespaces::from_iter([("room".to_owned(), options)]);
    HubRules { namespaces: Arc::new(namespaces), ..HubRules::new(LIMITS, TIMEOUT) }
}

/// A hub with sessions that are live on the room.
fn hub_with(sessions: &[u128], rules: HubRules) -> (TestHub, Vec<FrameRecorder>) {
    let mut hub = TestHub::with_rules(rules);
    hub.set_link(true);
    let sinks = sessions.iter().map(|session| live_in_room(&mut hub, *session)).collect();
    (hub, sinks)
}

fn live_in_room(hub: &mut TestHub, session: u128) -> FrameRecorder {
    let sink = hub.live_session(session);
    let lines = hub.subscribe(session, ROOM, None);
    if lines.last().is_some_and(|line| line.starts_with("subscribe")) {
        hub.ack_at(last_id(&lines), ROOM, at(0));
    }
    hub.go_live(session, Some(ROOM));
    sink
}

fn signal(session: u128, user: &str, json: &str) -> Arc<Signal> {
    let signal = RawValue::from_string(json.to_owned()).unwrap();
    Arc::new(Signal::new(channel(ROOM), SessionId(session), user.into(), signal))
}

fn quiet_room(number: u64) -> ChannelName {
    channel(&format!("room:quiet-{number}"))
}

impl TestHub {
    /// A signal arrives from the broker, and the hub has time for a turn unless it writes already.
    fn receive(&mut self, session: u128, json: &str) {
        self.receive_signal(signal(session, &session.to_string(), json));
    }

    fn receive_signal(&mut self, signal: Arc<Signal>) {
        let is_busy = self.core.has_writes();
        self.queue_signal(signal);
        if !is_busy {
            self.run_turn();
        }
    }

    /// A signal arrives from the broker, with other inputs behind it.
    fn queue_signal(&mut self, signal: Arc<Signal>) {
        // The inbox counts the bytes of an accepted signal.
        assert!(self.core.inbox_budget.accept_signal(&signal));
        assert_eq!(self.on(HubInput::Broker(HubEvent::Signal(signal))), [""; 0]);
    }

    fn run_turn(&mut self) {
        if self.core.has_writes() {
            assert_eq!(self.on(HubInput::WriteTurn), [""; 0]);
        }
    }

    /// Time passes for all windows to end.
    fn end_windows(&mut self) {
        assert_eq!(self.advance(LATER), [""; 0]);
        self.run_turn();
    }

    /// Subscribes a session to a room of its own.
    fn live_in(&mut self, session: u128, number: u64) {
        let room = quiet_room(number);
        let lines = self.subscribe(session, room.as_str(), None);
        self.ack_at(last_id(&lines), room.as_str(), at(0));
        self.go_live(session, Some(room.as_str()));
    }

    fn send(&mut self, session: u128, name: &str, json: &str) -> Vec<String> {
        let signal = RawValue::from_string(json.to_owned()).unwrap();
        let signal = ClientSignal { channel: channel(name), signal };
        self.on(HubInput::Signal { session: SessionId(session), signal })
    }

    fn signals(&self, result: SignalResult) -> u64 {
        self.metrics.signals.get_or_create(&ResultLabel::from(result)).get()
    }

    fn deliveries(&self, result: SignalDelivery) -> u64 {
        self.metrics.signal_deliveries.get_or_create(&ResultLabel::from(result)).get()
    }

    /// Asserts that nothing is counted in the inbox any more.
    fn assert_released(&self) {
        assert_eq!(self.metrics.hub_inbox_bytes.get(), 0);
    }
}

#[test]
fn a_signal_goes_to_the_broker_with_its_sender() {
    let (mut hub, _sinks) = hub_with(&[1], rules());
    assert_eq!(hub.send(1, ROOM, "{}"), [format!("signal room:7: ~{:032x} 1 {{}}", 1)]);
    assert_eq!(hub.send(1, "room:8", "{}"), [""; 0]);
    assert_eq!((hub.signals(SignalResult::Received), hub.signals(SignalResult::NotSubscribed)), (1, 1));
}

#[test]
fn a_signal_reaches_every_session_except_its_own() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], rules());
    hub.receive(1, r#"{"typing":true}"#);
    let received: Vec<_> = sinks.iter().map(FrameRecorder::take_messages).collect();
    assert_eq!(received[0], [""; 0]);
    assert_eq!(received[1..], [[r#"1 {"typing":true}"#], [r#"1 {"typing":true}"#]]);
    assert_eq!(hub.deliveries(SignalDelivery::Delivered), 2);
    hub.assert_released();
}

#[test]
fn signals_of_one_window_are_written_together() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], rules());
    hub.receive(1, "1");
    for (session, json) in [(1, "2"), (2, "3"), (1, "4"), (3, "5")] {
        hub.receive(session, json);
    }
    assert_eq!(sinks[1].take_messages(), ["1 1"], "the first signal does not wait");
    hub.end_windows();
    assert_eq!(sinks[0].take_messages(), ["2 3", "3 5"]);
    assert_eq!(sinks[1].take_messages(), ["1 4", "3 5"], "the newer signal replaces the older one");
    assert_eq!(sinks[2].take_messages(), ["1 1", "2 3", "1 4"]);
    assert_eq!(sinks.iter().map(FrameRecorder::offers).collect::<Vec<_>>(), [1, 2, 2]);
    assert_eq!(hub.signals(SignalResult::Replaced), 1);
    hub.assert_released();
}

#[test]
fn a_quiet_channel_has_no_deadline() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    hub.receive(1, "1");
    assert_eq!(hub.core.signals.next_deadline(), Some(hub.now + WINDOW));
    hub.end_windows();
    assert_eq!(hub.core.signals.next_deadline(), None);
    hub.receive(1, "2");
    assert_eq!(sinks[1].take_messages(), ["1 1", "1 2"]);
}

#[test]
fn only_live_sessions_of_version_2_receive_signals() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    let old = FrameRecorder::default();
    let key = hub.core.connect(SessionId(3), Version::V1, old.clone());
    hub.names.insert(key, 3);
    hub.join(3, &[("user:3", None), (ROOM, None)]);
    let pending = hub.live_session(4);
    hub.subscribe(4, ROOM, None);
    hub.receive(1, "1");
    assert_eq!(sinks[1].take_messages(), ["1 1"]);
    hub.go_live(4, Some(ROOM));
    assert_eq!((old.take_messages(), pending.take_messages()), (vec![], vec![]), "nothing was held");
}

#[test]
fn a_slow_reader_gets_no_signal_and_stays_connected() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], rules());
    sinks[1].set_slow();
    hub.receive(1, "1");
    hub.publish(&durable(ROOM, 1));
    assert_eq!(sinks[1].take_messages(), ["1"], "it still gets messages");
    assert_eq!(sinks[2].take_messages(), ["1 1", "1"]);
    assert!(!sinks[1].is_overflowed());
    assert_eq!(hub.deliveries(SignalDelivery::SlowReader), 1);
}

#[test]
fn a_namespace_without_signals_drops_them() {
    let (mut hub, sinks) = hub_with(&[1, 2], HubRules::new(LIMITS, TIMEOUT));
    hub.receive(1, "1");
    assert_eq!(sinks[1].take_messages(), [""; 0]);
    assert_eq!(hub.signals(SignalResult::NotEnabled), 1);
    hub.assert_released();
}

#[test]
fn a_channel_collects_a_bounded_number_of_bytes() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    let json = format!("\"{}\"", "x".repeat(1_000));
    let fits = MAX_WAITING_BYTES / signal(100, "100", &json).queued_bytes();
    (100..200).for_each(|session| hub.receive(session, &json));
    hub.end_windows();
    assert_eq!(sinks[0].take_messages().len(), 1 + fits);
    assert_eq!(hub.signals(SignalResult::ChannelFull), 100 - 1 - fits as u64);
    hub.assert_released();
}

#[test]
fn longer_signals_do_not_exceed_the_bound_of_a_channel() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    let json = format!("\"{}\"", "x".repeat(1_000));
    hub.receive(9, "0");
    (100..200).for_each(|session| hub.receive(session, "1"));
    (100..200).for_each(|session| hub.receive(session, &json));
    hub.end_windows();
    let messages = sinks[0].take_messages();
    assert_eq!(messages.len(), 1 + 100, "the older signal of a session stays");
    let long = messages.iter().filter(|message| message.len() > 1_000).count();
    assert!((1..MAX_WAITING_BYTES / 1_000).contains(&long), "{long}");
    hub.assert_released();
}

#[test]
fn messages_are_written_before_signals() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], HubRules { turn_bytes: 1, ..rules() });
    hub.receive(9, "0");
    assert!(hub.core.has_writes(), "a turn has one write");
    hub.publish(&durable(ROOM, 1));
    let (mut turns, messages) = (0, |sinks: &[FrameRecorder]| {
        sinks.iter().filter(|sink| sink.texts().iter().any(|text| text.contains("\"op\":3"))).count()
    });
    while messages(&sinks) < 3 {
        hub.on(HubInput::WriteTurn);
        turns += 1;
    }
    assert_eq!(turns, 3, "no turn of a signal came between");
    while hub.core.has_writes() {
        hub.on(HubInput::WriteTurn);
    }
    assert_eq!(hub.deliveries(SignalDelivery::Delivered), 3);
}

#[test]
fn a_message_does_not_wait_for_signals_that_arrived_earlier() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    for number in 0..100 {
        let json = RawValue::from_string(number.to_string()).unwrap();
        hub.live_in(2, number);
        hub.queue_signal(Arc::new(Signal::new(quiet_room(number), SessionId(9), "9".into(), json)));
    }
    let message = durable(ROOM, 1);
    hub.core.inbox_budget.hold(message.queued_bytes());
    hub.publish(&message);
    assert_eq!(sinks[1].take_messages(), ["1"], "no signal was written before the message");
    while hub.core.has_writes() {
        let before = hub.deliveries(SignalDelivery::Delivered);
        hub.run_turn();
        assert!(hub.deliveries(SignalDelivery::Delivered) - before <= 64, "a turn has at most 64 writes");
    }
    assert_eq!(sinks[1].take_messages().len(), 100);
    hub.assert_released();
}

#[test]
fn a_channel_that_takes_long_to_write_pauses_as_long() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], HubRules { turn_bytes: 1, ..rules() });
    hub.receive(9, "0");
    hub.receive(9, "1");
    while hub.core.has_writes() {
        hub.now += Duration::from_millis(100);
        hub.on(HubInput::WriteTurn);
    }
    assert_eq!(hub.core.signals.next_deadline(), Some(hub.now + Duration::from_millis(200)));
    assert_eq!(sinks[2].take_messages(), ["9 0"]);
}

#[test]
fn no_signal_follows_the_end_of_a_subscription() {
    let (mut hub, sinks) = hub_with(&[1, 2, 3], HubRules { turn_bytes: 1, ..rules() });
    hub.receive(9, "0");
    hub.unsubscribe(1, ROOM);
    hub.leave(2);
    // The key of the session that left is used again.
    let newcomer = live_in_room(&mut hub, 4);
    while hub.core.has_writes() {
        hub.on(HubInput::WriteTurn);
    }
    assert_eq!(sinks[0].take_messages(), [r#"{"op":6}"#]);
    assert_eq!((sinks[1].take_messages(), newcomer.take_messages()), (vec![], vec![]));
    assert_eq!(sinks[2].take_messages(), ["9 0"]);
    hub.assert_released();
}

#[test]
fn a_signal_without_a_session_reaches_everybody() {
    let (mut hub, sinks) = hub_with(&[1, 2], rules());
    hub.receive_signal(signal(0, "bot", "1"));
    hub.receive_signal(signal(0, "other", "2"));
    hub.end_windows();
    for sink in &sinks {
        assert_eq!(sink.take_messages(), ["bot 1", "other 2"]);
    }
}
