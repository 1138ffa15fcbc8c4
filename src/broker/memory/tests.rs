use super::*;
use crate::broker::InboxFull;

/// Records the messages that a hub receives.
#[derive(Default)]
struct ReceivedChannels(Mutex<Vec<String>>);

impl Inbox for ReceivedChannels {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = event {
            self.0.lock().push(publication.channel().to_string());
        }
        Ok(())
    }
}

/// A broker and a hub that watches user 42.
fn broker(presence: Option<PresenceOptions>) -> (MemoryBroker, Arc<ReceivedChannels>) {
    let (limits, received) = (100.into(), Arc::new(ReceivedChannels::default()));
    let broker = MemoryBroker::new(
        limits,
        HistoryOptions::of_size(10),
        presence,
        Duration::from_secs(60),
        &Metrics::default(),
    );
    let hub = broker.attach(Arc::clone(&received) as Arc<dyn Inbox>);
    broker.subscribe(hub, 1, vec![ChannelName::parse("online:42").unwrap()]);
    (broker, received)
}

fn with_grace(grace: Duration) -> Option<PresenceOptions> {
    Some(PresenceOptions { grace, max_edges: 1_000, max_members: 200, namespaces: Arc::default() })
}

fn user(id: &str) -> ChannelName {
    ChannelName::of_user(id).unwrap()
}

fn report(broker: &MemoryBroker, id: &str, is_online: bool) {
    broker.report(HubId::of_index(0), LocalReport::User { user: user(id), is_online });
}

fn online(broker: &MemoryBroker, users: &[&str]) -> Vec<Option<u32>> {
    let users: Vec<_> = users.iter().map(|id| user(id)).collect();
    broker.online(&users).unwrap()
}

#[test]
fn online_tells_sessions_grace_and_absence_apart() {
    let (broker, _received) = broker(with_grace(Duration::from_secs(600)));
    ["1", "2", "2"].iter().for_each(|id| report(&broker, id, true));
    report(&broker, "1", false);
    assert_eq!(online(&broker, &["1", "2", "3"]), [Some(0), Some(1), None]);
    assert_eq!(broker.settle_presence(), Some(SETTLE_INTERVAL), "the edge of user 1 is due later");
}

#[test]
fn a_settled_user_is_away_and_its_edges_were_published() {
    let (broker, received) = broker(with_grace(Duration::ZERO));
    report(&broker, "42", true);
    report(&broker, "42", false);
    assert_eq!(online(&broker, &["42"]), [Some(0)]);
    assert!(broker.settle_presence().is_some());
    assert_eq!(online(&broker, &["42"]), [None]);
    assert_eq!(*received.0.lock(), ["online:42"; 2]);
}

#[test]
fn an_edge_without_a_valid_channel_is_not_published() {
    let (broker, received) = broker(with_grace(Duration::ZERO));
    let longest = "4".repeat(250);
    report(&broker, &longest, true);
    assert_eq!(online(&broker, &[longest.as_str()]), [Some(1)]);
    assert_eq!(*received.0.lock(), [""; 0]);
}

#[test]
fn nothing_is_settled_after_shutdown() {
    let (broker, received) = broker(with_grace(Duration::ZERO));
    broker.shutdown();
    report(&broker, "42", true);
    assert_eq!(broker.settle_presence(), None);
    assert_eq!(*received.0.lock(), [""; 0]);
}

#[test]
fn no_user_is_counted_while_presence_is_off() {
    let (broker, received) = broker(None);
    report(&broker, "42", true);
    assert_eq!(broker.online(&[user("42")]), Err(PresenceError::Disabled));
    assert_eq!(broker.settle_presence(), None);
    assert_eq!(*received.0.lock(), [""; 0]);
}
