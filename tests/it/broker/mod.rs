//! Tests of the broker.
//!
//! - `conformance`: one suite for both the in-memory and the Redis broker
//! - `redis`: faults that only the Redis link can have

mod conformance;
mod redis;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emagine_gateway::broker::redis::{Credentials, Layout, ReadyWith, RedisOptions, TlsFiles};
use emagine_gateway::broker::{Broker, HistoryOptions, HubEvent, HubId, Inbox, InboxFull, PublishError};
use emagine_gateway::metrics::{DropReason, LinkLoss, Metrics};
use protocol::channel::ChannelName;
use protocol::publication::Publication;
use serde_json::value::RawValue;

use crate::support::deadline::{eventually, eventually_eq};
use crate::support::redis_server::RedisServer;

/// The deadline of every wait: long enough for a busy machine, and never reached in a passing test.
const SOON: Duration = Duration::from_secs(10);
const MAX_PAYLOAD_BYTES: usize = 1000;

/// A broker, its metrics and its Redis server.
struct BrokerUnderTest {
    broker: Broker,
    metrics: Metrics,
    /// `None` for the in-memory broker. Declared last, to be dropped last.
    server: Option<RedisServer>,
}

impl BrokerUnderTest {
    fn memory() -> Self {
        let metrics = Metrics::default();
        let broker = Broker::memory(
            MAX_PAYLOAD_BYTES,
            HistoryOptions::of_size(100),
            None,
            Duration::from_secs(60),
            &metrics,
        );
        Self { broker, metrics, server: None }
    }

    /// Starts a Redis server and a broker, and waits until it is ready.
    fn redis() -> Self {
        let server = RedisServer::start();
        let url = server.url();
        let test = Self::over(server, &url);
        test.wait_ready();
        test
    }

    /// Creates a broker for `server`, which may be down.
    fn over(server: RedisServer, url: &str) -> Self {
        let metrics = Metrics::default();
        let broker = Broker::redis(options(url), &metrics).unwrap();
        Self { broker, metrics, server: Some(server) }
    }

    fn server(&mut self) -> &mut RedisServer {
        self.server.as_mut().unwrap()
    }

    fn hub(&self) -> Hub {
        let inbox = Arc::new(Recorder::default());
        let id = self.broker.attach(Arc::clone(&inbox) as Arc<dyn Inbox>);
        Hub { broker: self.broker.clone(), id, inbox, calls: std::sync::atomic::AtomicU64::new(0) }
    }

    fn publish(&self, channel: &str, message: &str) -> Result<(), PublishError> {
        let message = RawValue::from_string(message.into()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.broker.publish(&name(channel), &message)).map(drop)
    }

    #[track_caller]
    fn wait_ready(&self) {
        eventually_eq(SOON, &(true, Vec::new()), || {
            let health = self.broker.health();
            (health.is_ready, health.reasons)
        });
    }

    /// Waits until the broker is not ready for a reason that contains `text`.
    #[track_caller]
    fn wait_not_ready(&self, text: &str) {
        eventually(SOON, || {
            let health = self.broker.health();
            (!health.is_ready && health.reasons.iter().any(|reason| reason.contains(text))).then_some(())
        });
        assert_eq!(self.metrics.redis_link_up.get(), 0);
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.metrics.publications_dropped.get_or_create(&reason.into()).get()
    }

    fn losses(&self, reason: LinkLoss) -> u64 {
        self.metrics.redis_link_losses.get_or_create(&reason.into()).get()
    }
}

pub(crate) fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: url.into(),
        credentials: Credentials::default(),
        sentinel_credentials: Credentials::default(),
        tls: TlsFiles::default(),
        layout: Layout::Plain,
        ready_with: ReadyWith::All,
        prefix: "gateway".into(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(700),
        min_reconnect_delay: Duration::from_millis(20),
        max_reconnect_delay: Duration::from_millis(400),
        history_check_interval: Duration::from_secs(30),
        max_payload_bytes: MAX_PAYLOAD_BYTES,
        max_payload_depth: 128,
        history: HistoryOptions::of_size(100),
        revocation_ttl: Duration::from_secs(3600),
        presence: None,
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

/// A hub that records its events.
struct Hub {
    broker: Broker,
    id: HubId,
    inbox: Arc<Recorder>,
    calls: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Recorder {
    publications: Mutex<VecDeque<Arc<Publication>>>,
    /// The acknowledgements: the number of the request, and the channel.
    subscribed: Mutex<Vec<(u64, ChannelName)>>,
    link_is_up: std::sync::atomic::AtomicBool,
    gaps: Mutex<Vec<ChannelName>>,
    full: std::sync::atomic::AtomicBool,
}

impl Inbox for Recorder {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        match event {
            HubEvent::Subscribed(acks) => {
                let acks = acks.into_iter().map(|ack| (ack.call, ack.channel));
                self.subscribed.lock().unwrap().extend(acks);
            }
            HubEvent::Link { is_up } => {
                self.link_is_up.store(is_up, std::sync::atomic::Ordering::Relaxed);
            }
            HubEvent::HistoryRead { .. }
            | HubEvent::PresenceRead { .. }
            | HubEvent::Room { .. }
            | HubEvent::Signal(_) => {}
            HubEvent::Gap { channel, .. } => self.gaps.lock().unwrap().push(channel),
            HubEvent::Publication(_) if self.full.load(std::sync::atomic::Ordering::Relaxed) => {
                return Err(InboxFull);
            }
            HubEvent::Publication(publication) => self.publications.lock().unwrap().push_back(publication),
        }
        Ok(())
    }
}

impl Hub {
    /// Subscribes to channels and waits for the acknowledgements.
    #[track_caller]
    fn subscribe(&self, channels: &[&str]) {
        let request = self.send_subscribe(channels);
        eventually_eq(SOON, &channels.len(), || self.acknowledged(request).len());
    }

    /// Subscribes to channels without waiting. Returns the number of the request.
    fn send_subscribe(&self, channels: &[&str]) -> u64 {
        let request = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let channels = channels.iter().map(|channel| name(channel)).collect();
        self.broker.subscribe(self.id, request, channels, false);
        request
    }

    /// The acknowledged channels of a request, sorted.
    fn acknowledged(&self, request: u64) -> Vec<ChannelName> {
        let acks = self.inbox.subscribed.lock().unwrap();
        let mut channels: Vec<_> =
            acks.iter().filter(|(call, _)| *call == request).map(|(_, channel)| channel.clone()).collect();
        channels.sort();
        channels
    }

    fn unsubscribe(&self, channels: &[&str]) {
        let channels: Vec<_> = channels.iter().map(|channel| name(channel)).collect();
        self.broker.unsubscribe(self.id, &channels);
    }

    fn has_lost_link(&self) -> bool {
        !self.inbox.link_is_up.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits for the next publication; returns it as `channel message`.
    #[track_caller]
    fn next(&self) -> String {
        eventually(SOON, || {
            let publication = self.inbox.publications.lock().unwrap().pop_front()?;
            Some(format!("{} {}", publication.channel(), publication.message()))
        })
    }

    /// The number of publications that [`next`](Self::next) has not returned yet.
    fn queued(&self) -> usize {
        self.inbox.publications.lock().unwrap().len()
    }
}
