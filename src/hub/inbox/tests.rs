//! The bound of an inbox, and the gaps for refused publications.

use super::*;

/// A mailbox that records its inputs. Clones share one record.
#[derive(Debug, Clone, Default)]
struct InboxRecorder(Arc<Mutex<Vec<HubInput>>>);

impl Mailbox for InboxRecorder {
    fn push(&self, message: HubInput) {
        self.0.lock().push(message);
    }
}

/// An inbox with room for a fixed number of publications.
struct InboxFixture {
    inbox: HubInbox<InboxRecorder>,
    mailbox: InboxRecorder,
    budget: Arc<InboxBudget>,
    metrics: Metrics,
}

impl InboxFixture {
    fn with_room_for(publications: usize) -> Self {
        let (metrics, mailbox) = (Metrics::default(), InboxRecorder::default());
        let limit_bytes = publications * publication("room:1", 0).queued_bytes();
        let budget = Arc::new(InboxBudget::new(limit_bytes, &metrics));
        let inbox = HubInbox::new(mailbox.clone(), Arc::clone(&budget));
        Self { inbox, mailbox, budget, metrics }
    }

    fn offer(&self, channel: &str, number: usize) -> Result<(), InboxFull> {
        self.inbox.offer(HubEvent::Publication(Arc::new(publication(channel, number))))
    }

    /// Processes every input in the mailbox as the hub does. Returns one line for each.
    fn process_all(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.mailbox.0.lock());
        events.into_iter().map(|event| self.process(event)).collect()
    }

    fn process(&self, input: HubInput) -> String {
        match input {
            HubInput::Broker(HubEvent::Publication(publication)) => {
                self.budget.release(publication.queued_bytes());
                format!("{} {}", publication.channel(), publication.message())
            }
            HubInput::Broker(HubEvent::Gap { channel, reason, position: None }) => {
                self.budget.clear_gap(&channel);
                format!("{channel} {}", reason.label())
            }
            HubInput::Broker(HubEvent::Link { is_up }) => format!("link {is_up}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Each number has one digit, so all publications are equally long.
fn publication(channel: &str, number: usize) -> Publication {
    let channel = ChannelName::parse(channel).unwrap();
    Publication::decode(channel, number.to_string().as_bytes(), 10_000).unwrap()
}

const FULL: Result<(), InboxFull> = Err(InboxFull);

#[test]
fn a_full_inbox_announces_one_gap_for_each_channel() {
    let fixture = InboxFixture::with_room_for(2);
    assert_eq!([1, 2].map(|number| fixture.offer("room:1", number)), [Ok(()), Ok(())]);
    assert_eq!([3, 4].map(|number| fixture.offer("room:1", number)), [FULL, FULL]);
    assert_eq!(fixture.offer("room:2", 5), FULL);
    assert_eq!(fixture.metrics.hub_inbox_bytes.get(), 2 * publication("room:1", 0).queued_bytes() as i64);
    assert_eq!(fixture.process_all(), ["room:1 1", "room:1 2", "room:1 overflow", "room:2 overflow"]);
    assert_eq!(fixture.metrics.hub_inbox_bytes.get(), 0);
}

#[test]
fn a_channel_is_refused_until_its_gap_is_announced() {
    let fixture = InboxFixture::with_room_for(1);
    assert_eq!([1, 2].map(|number| fixture.offer("room:1", number)), [Ok(()), FULL]);
    let gap = fixture.mailbox.0.lock().pop().unwrap();
    assert_eq!(fixture.process_all(), ["room:1 1"]);
    assert_eq!(fixture.offer("room:1", 3), FULL, "the publication would overtake the gap");
    assert_eq!(fixture.offer("room:2", 4), Ok(()), "other channels are accepted");
    assert_eq!(fixture.process_all(), ["room:2 4"]);
    assert_eq!(fixture.process(gap), "room:1 overflow");
    assert_eq!(fixture.offer("room:1", 5), Ok(()));
    assert_eq!(fixture.process_all(), ["room:1 5"]);
}

/// Without this, the gaps of a channel whose history cannot be read would fill the mailbox of a stalled hub.
#[test]
fn a_queued_gap_covers_later_gaps_of_its_channel() {
    let fixture = InboxFixture::with_room_for(1);
    assert_eq!([1, 2].map(|number| fixture.offer("room:1", number)), [Ok(()), FULL]);
    let gap = |channel| {
        let (channel, reason) = (ChannelName::parse(channel).unwrap(), GapReason::HistoryUnreadable);
        fixture.inbox.offer(HubEvent::Gap { channel, reason, position: None }).unwrap();
    };
    ["room:1", "room:2", "room:1"].into_iter().for_each(gap);
    assert_eq!(fixture.process_all(), ["room:1 1", "room:1 overflow", "room:2 history_unreadable"]);
    gap("room:1");
    assert_eq!(fixture.process_all(), ["room:1 history_unreadable"]);
}

#[test]
fn one_publication_always_fits() {
    let fixture = InboxFixture::with_room_for(0);
    assert_eq!([1, 2].map(|number| fixture.offer("room:1", number)), [Ok(()), FULL]);
    assert_eq!(fixture.process_all(), ["room:1 1", "room:1 overflow"]);
    assert_eq!(fixture.offer("room:1", 3), Ok(()));
}

#[test]
fn bytes_held_by_the_hub_count_against_the_bound() {
    let fixture = InboxFixture::with_room_for(1);
    fixture.budget.hold(1);
    assert_eq!(fixture.offer("room:1", 1), FULL);
    fixture.budget.release(1);
    assert_eq!(fixture.process_all(), ["room:1 overflow"]);
    assert_eq!(fixture.offer("room:1", 2), Ok(()));
}

#[test]
fn a_full_inbox_accepts_every_event_except_publications() {
    let fixture = InboxFixture::with_room_for(1);
    assert_eq!([1, 2].map(|number| fixture.offer("room:1", number)), [Ok(()), FULL]);
    assert_eq!(fixture.inbox.offer(HubEvent::Link { is_up: false }), Ok(()));
    assert_eq!(fixture.process_all(), ["room:1 1", "room:1 overflow", "link false"]);
}

#[test]
fn signals_cause_no_gap_of_messages() {
    let fixture = InboxFixture::with_room_for(100);
    let json = serde_json::value::RawValue::from_string("1".into()).unwrap();
    let channel = ChannelName::parse("room:1").unwrap();
    let signal = Arc::new(Signal::new(channel, protocol::SessionId(1), "42".into(), json));
    let offered = || fixture.inbox.offer(HubEvent::Signal(Arc::clone(&signal)));
    let accepted = (0..1_000).filter(|_| offered().is_ok()).count();
    assert!((1..100).contains(&accepted), "{accepted}");
    for number in 0..100 {
        assert_eq!(fixture.offer("room:1", number % 10), Ok(()), "{number}");
    }
    fixture.budget.release_signals(accepted * signal.queued_bytes());
    // A message longer than the whole inbox fits as the only one, also beside a signal.
    let fixture = InboxFixture::with_room_for(100);
    assert_eq!(fixture.inbox.offer(HubEvent::Signal(Arc::clone(&signal))), Ok(()));
    let long =
        Publication::decode(signal.channel().clone(), "1".repeat(100_000).as_bytes(), 100_000).unwrap();
    assert_eq!(fixture.inbox.offer(HubEvent::Publication(Arc::new(long))), Ok(()));
}
