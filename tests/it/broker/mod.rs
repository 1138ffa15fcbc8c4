//! The broker: one suite over both carriers, and what only the Redis link can suffer.

mod conformance;
mod redis;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use emagine_gateway::broker::redis::{Credentials, RedisOptions, TlsFiles};
use emagine_gateway::broker::{Broker, HistoryOptions, HubEvent, HubId, Inbox, InboxFull, PublishError};
use emagine_gateway::metrics::{Metrics, Reason};
use protocol::channel::ChannelName;
use protocol::publication::Publication;
use serde_json::value::RawValue;

use crate::support::deadline::{eventually, eventually_eq};
use crate::support::redis_server::RedisServer;

/// Long enough for a busy machine; nothing here waits for it when all is well.
const SOON: Duration = Duration::from_secs(10);
const MAX_PAYLOAD_BYTES: usize = 1000;

/// A broker with what it stands on.
struct BrokerUnderTest {
    broker: Broker,
    metrics: Metrics,
    /// Dropped last.
    server: Option<RedisServer>,
}

impl BrokerUnderTest {
    fn memory() -> Self {
        let metrics = Metrics::default();
        let broker = Broker::memory(MAX_PAYLOAD_BYTES, HistoryOptions::of_size(100), &metrics);
        Self { broker, metrics, server: None }
    }

    /// A broker whose delivery over a new Redis is proven.
    fn redis() -> Self {
        let server = RedisServer::start();
        let url = server.url();
        let test = Self::over(server, &url);
        test.wait_ready();
        test
    }

    /// A broker over `server`, which may be down.
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
            (health.ready, health.reasons)
        });
    }

    /// Waits until it is not ready for a reason that contains `text`.
    #[track_caller]
    fn wait_not_ready(&self, text: &str) {
        eventually(SOON, || {
            let health = self.broker.health();
            (!health.ready && health.reasons.iter().any(|reason| reason.contains(text))).then_some(())
        });
        assert_eq!(self.metrics.redis_link_up.get(), 0);
    }

    fn dropped(&self, reason: &'static str) -> u64 {
        self.metrics.publications_dropped.get_or_create(&Reason { reason }).get()
    }

    fn losses(&self, reason: &'static str) -> u64 {
        self.metrics.redis_link_losses.get_or_create(&Reason { reason }).get()
    }
}

fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: url.into(),
        credentials: Credentials::default(),
        sentinel_credentials: Credentials::default(),
        tls: TlsFiles::default(),
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
    }
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

/// A hub that keeps what it is told.
struct Hub {
    broker: Broker,
    id: HubId,
    inbox: Arc<Recorder>,
    calls: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct Recorder {
    publications: Mutex<VecDeque<Arc<Publication>>>,
    /// The answers: the number of the call, and the channel.
    subscribed: Mutex<Vec<(u64, ChannelName)>>,
    link_is_up: std::sync::atomic::AtomicBool,
    gaps: Mutex<Vec<ChannelName>>,
    full: std::sync::atomic::AtomicBool,
}

impl Inbox for Recorder {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        match event {
            HubEvent::Subscribed(acks) => {
                let acks = acks.into_iter().map(|ack| (ack.request, ack.channel));
                self.subscribed.lock().unwrap().extend(acks);
            }
            HubEvent::Link { is_up } => {
                self.link_is_up.store(is_up, std::sync::atomic::Ordering::Relaxed);
            }
            HubEvent::HistoryRead { .. } => {}
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
    /// Asks for channels and waits for the answer.
    #[track_caller]
    fn subscribe(&self, channels: &[&str]) {
        let request = self.send_subscribe(channels);
        eventually_eq(SOON, &channels.len(), || self.acknowledged(request).len());
    }

    /// Asks for channels without waiting. Returns the number of the call.
    fn send_subscribe(&self, channels: &[&str]) -> u64 {
        let request = self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let channels = channels.iter().map(|channel| name(channel)).collect();
        self.broker.subscribe(self.id, request, channels, false);
        request
    }

    /// The channels of a call that were answered, sorted.
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

    /// Takes the next publication as `channel message`.
    #[track_caller]
    fn next(&self) -> String {
        eventually(SOON, || {
            let publication = self.inbox.publications.lock().unwrap().pop_front()?;
            Some(format!("{} {}", publication.channel(), publication.message()))
        })
    }

    /// What has come so far and was not taken.
    fn queued(&self) -> usize {
        self.inbox.publications.lock().unwrap().len()
    }
}
