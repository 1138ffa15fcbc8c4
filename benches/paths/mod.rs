//! The pure parts of the delivery path, each as a closure that can run repeatedly.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use emagine_gateway::hub::registry::{FrameSink, MAX_HELD, Registry, SessionKey};
use protocol::channel::ChannelName;
use protocol::command::Command;
use protocol::conversation::WantedHistory;
use protocol::position::Position;
use protocol::publication::{Payload, Publication};
use protocol::{Encoding, Variant, Version};

/// Prepares a part once and returns the closure to measure.
pub(crate) type Path = fn() -> Box<dyn FnMut()>;

/// All parts by name.
pub(crate) const PATHS: [(&str, Path); 9] = [
    ("parse_identify", || parse(Version::V2, IDENTIFY)),
    ("parse_heartbeat", || parse(Version::V1, r#"{"op":10,"time":1579276740336}"#)),
    ("decode_publication", || Box::new(|| drop(black_box(publication("room:7", 1))))),
    ("encode_v1", || encode(Version::V1)),
    ("encode_v2", || encode(Version::V2)),
    ("encode_deflated", || encode(Variant { version: Version::V1, encoding: Encoding::Deflated })),
    ("route_to_one_of_1000", route_to_one),
    ("route_to_all_1000", route_to_all),
    ("merge_50_missed_with_50_held", merge),
];

const IDENTIFY: &str = r#"{"op":1,"token":"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl","channels":[{"channel":"room:7","since":"1732390000000-41"},{"channel":"public:news"}]}"#;
const SESSIONS: usize = 1_000;
const MISSED: u64 = 50;
/// The length of a published message.
const MESSAGE_BYTES: usize = 128;

/// A frame sink that only counts bytes.
#[derive(Clone, Default)]
struct Sink(Rc<Cell<usize>>);

impl FrameSink for Sink {
    fn send(&self, frame: Bytes) -> bool {
        self.0.set(self.0.get() + frame.len());
        true
    }

    fn close_too_slow(&self) {}
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a valid name")
}

fn publication(name: &str, offset: u64) -> Publication {
    let message = format!(r#"{{"text":"{}"}}"#, "x".repeat(MESSAGE_BYTES - 11));
    let payload = format!("@1732390000000-{offset} {message}");
    let Payload { position, message, .. } =
        Payload::parse(payload.as_bytes(), 1_000).expect("a valid payload");
    Publication::new(channel(name), position, message)
}

/// A publication without a position: the registry accepts it repeatedly.
fn plain(name: &str) -> Arc<Publication> {
    let durable = publication(name, 1);
    Arc::new(Publication::new(channel(name), None, durable.message().to_owned().into()))
}

fn parse(version: Version, text: &'static str) -> Box<dyn FnMut()> {
    Box::new(move || drop(black_box(Command::parse(version, black_box(text)).expect("a valid command"))))
}

fn encode(variant: impl Into<Variant>) -> Box<dyn FnMut()> {
    let variant = variant.into();
    // A publication caches its frame, so each run needs a new publication. The message is shared.
    let template = publication("room:7", 1);
    let message: Arc<_> = template.message().to_owned().into();
    Box::new(move || {
        let publication =
            Publication::new(template.channel().clone(), template.position(), Arc::clone(&message));
        black_box(publication.frame(variant));
    })
}

/// A registry of sessions that are live on their user's channel and on `all`.
fn registry() -> Registry<Sink> {
    let mut registry = Registry::new(MAX_HELD);
    let sink = Sink::default();
    for index in 0..SESSIONS {
        let session = registry.connect(Version::V1, sink.clone());
        for channel in [channel(&format!("user:{index}")), ChannelName::all()] {
            subscribe(&mut registry, session, &channel, Position::before(1));
            resolve(&mut registry, session, &channel, Arc::new([]));
            registry.go_live(session, &channel);
        }
    }
    registry
}

fn subscribe(registry: &mut Registry<Sink>, session: SessionKey, channel: &ChannelName, cut: Position) {
    registry.subscribe(session, channel, WantedHistory::Nothing, 0);
    registry.confirm(channel, Some(cut));
    registry.pending(session, channel).expect("a new subscription").set_cut(cut, false);
}

/// It is known what the client has missed, and it is told so.
fn resolve(
    registry: &mut Registry<Sink>,
    session: SessionKey,
    channel: &ChannelName,
    missed: Arc<[Arc<Publication>]>,
) {
    let pending = registry.pending(session, channel).expect("a new subscription");
    pending.resolve(missed);
    pending.mark_answered(true);
}

fn route_to_one() -> Box<dyn FnMut()> {
    let (mut registry, publication) = (registry(), plain("user:7"));
    Box::new(move || {
        assert_eq!(registry.deliver(black_box(&publication), Version::V1, |_| false).0.delivered, 1)
    })
}

fn route_to_all() -> Box<dyn FnMut()> {
    let (mut registry, publication) = (registry(), plain("all"));
    Box::new(move || {
        assert_eq!(
            registry.deliver(black_box(&publication), Version::V1, |_| false).0.delivered,
            SESSIONS as u64
        );
    })
}

/// A session resumes while messages arrive. Half of the messages held for it are among those it missed.
fn merge() -> Box<dyn FnMut()> {
    let room = channel("room:7");
    let all: Vec<_> =
        (1..=MISSED + MISSED / 2).map(|offset| Arc::new(publication("room:7", offset))).collect();
    let missed: Arc<[_]> = all[..MISSED as usize].into();
    let cut = missed.last().and_then(|publication| publication.position()).expect("a durable message");
    let mut registry = Registry::new(MAX_HELD);
    Box::new(move || {
        let session = registry.connect(Version::V2, Sink::default());
        subscribe(&mut registry, session, &room, cut);
        for publication in &all[MISSED as usize / 2..] {
            registry.deliver(publication, Version::V1, |_| false);
        }
        resolve(&mut registry, session, &room, Arc::clone(&missed));
        assert_eq!(registry.go_live(session, &room), all.len() as u64);
        drop(registry.leave(session));
    })
}
