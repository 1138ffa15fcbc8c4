use super::*;

#[test]
fn broker_handles_and_pending_publishes_are_send() {
    fn require_send<T: Send>(value: T) -> T {
        value
    }
    fn require_sync<T: Clone + Send + Sync>(_: &T) {}
    let broker =
        Broker::memory(100, HistoryOptions::of_size(10), None, Duration::from_secs(60), &Metrics::default());
    require_sync(&broker);
    let message = RawValue::from_string("1".into()).unwrap();
    drop(require_send(broker.publish(&ChannelName::all(), &message)));
    drop(require_send(broker.publish_durable(&ChannelName::all(), &message, None)));
}
