//! One channel, step by step: its outputs, and when it reads its history.
//!
//! - `holes`: messages that do not follow the one before.
//! - `repairs`: missing messages that are read, or announced as a gap.
//! - `untracked`: histories that cannot be read.

use super::*;
use protocol::channel::ChannelName;
use protocol::history::Entry;

mod holes;
mod repairs;
mod untracked;

fn at(text: &str) -> Position {
    Position::parse(text).unwrap()
}

/// A durable message, or a plain one.
fn publication(position: Option<&str>) -> Arc<Publication> {
    let payload = position.map_or_else(|| "0".to_owned(), |position| format!("@{position} 0"));
    Arc::new(Publication::decode(ChannelName::all(), payload.as_bytes(), 100).unwrap())
}

fn page(positions: &[&str], tail: &str) -> Page {
    let entry = |position: &&str| Entry {
        position: at(position),
        after: None,
        publication: Some(publication(Some(position))),
    };
    Page { entries: positions.iter().map(entry).collect(), tail: at(tail), whole_since_ms: 0 }
}

/// The server's clock in these tests.
const NOW_MS: u64 = 5_000;

/// The tail of a history, in data that was always whole.
fn tail_read(tail: Tail) -> TailRead {
    TailRead { tail, now_ms: NOW_MS, whole_since_ms: 0 }
}

/// A follower and its outputs, as text: a position, `plain`, a gap with the position after which delivery continues,
/// or `cut` with the position at which the channel begins.
struct FollowedChannel {
    follower: Follower,
    outputs: Vec<String>,
    /// Whether the last step needs the history to be read.
    needs_read: bool,
    numbers: u64,
    has_read_begun: bool,
    /// The bytes that the ring may still hold.
    budget_bytes: usize,
    dropped: u64,
}

impl FollowedChannel {
    /// A channel that was just subscribed.
    fn new() -> Self {
        Self {
            follower: Follower::new(1),
            outputs: Vec::new(),
            needs_read: true,
            numbers: 1,
            has_read_begun: false,
            budget_bytes: usize::MAX,
            dropped: 0,
        }
    }

    /// A live channel with a history up to `tail`.
    fn at(tail: &str) -> Self {
        let mut channel = Self::new();
        channel.answer_tail(Some(tail));
        assert_eq!(channel.take_outputs(), [format!("cut {tail}")]);
        assert!(!channel.follower.is_repairing());
        channel
    }

    /// Handles a publication as the link does.
    fn receive(&mut self, position: Option<&str>) -> Arrival {
        let publication = publication(position);
        let arrival = self.follower.arrive(publication.position());
        match arrival {
            Arrival::DeliverAfterGap => {
                self.outputs
                    .extend([describe(&FollowerOutput::UNREADABLE), position.unwrap_or("plain").to_owned()]);
            }
            Arrival::Deliver => self.outputs.push(position.unwrap_or("plain").to_owned()),
            Arrival::Hold => self.hold(publication),
            Arrival::Hole => {
                self.verify();
                self.hold(publication);
            }
            Arrival::Duplicate => {}
        }
        arrival
    }

    fn receive_all(&mut self, positions: &[&str]) {
        for position in positions {
            self.receive(Some(position));
        }
    }

    fn hold(&mut self, publication: Arc<Publication>) {
        self.dropped += self.follower.hold(publication, &mut self.budget_bytes);
    }

    fn verify(&mut self) {
        self.numbers += 1;
        self.needs_read = self.follower.verify(self.numbers);
        self.has_read_begun = false;
    }

    fn lose_link(&mut self) {
        self.numbers += 1;
        self.follower.link_lost(self.numbers);
        (self.needs_read, self.has_read_begun) = (true, false);
    }

    /// Begins a read. A test that does not call this begins the read just before the answer.
    fn begin_read(&mut self) {
        if let Some(repair) = self.follower.repair(self.numbers) {
            repair.begin_read();
            self.has_read_begun = true;
        }
    }

    fn answer_tail(&mut self, tail: Option<&str>) {
        let tail = tail.map_or(Tail::Nothing, |tail| Tail::At(at(tail)));
        self.step(|follower, number| follower.on_stream_tail(number, tail_read(tail)));
    }

    fn answer_page(&mut self, positions: &[&str], tail: &str) {
        self.step(|follower, number| follower.on_page(number, &page(positions, tail)));
    }

    fn answer_unreadable(&mut self) {
        self.step(Follower::on_unreadable);
    }

    fn step(&mut self, step: impl FnOnce(&mut Follower, u64) -> RepairProgress) {
        if !std::mem::take(&mut self.has_read_begun) {
            self.begin_read();
            self.has_read_begun = false;
        }
        let progress = step(&mut self.follower, self.numbers);
        self.outputs.extend(progress.cut.map(|cut| match cut {
            Cut::At(position) => format!("cut {position}"),
            Cut::Untracked => "cut untracked".to_owned(),
            Cut::Refused => "cut refused".to_owned(),
        }));
        self.outputs.extend(progress.outputs.iter().map(describe));
        self.needs_read = progress.needs_read;
        assert_eq!(
            self.needs_read,
            self.follower.is_repairing(),
            "a repair ends when it needs no further read"
        );
    }

    /// The outputs since the last call.
    fn take_outputs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outputs)
    }

    /// The position after which the history is read.
    fn reads_from(&mut self) -> Option<String> {
        let number = self.numbers;
        self.follower.repair(number)?.reads_from().map(|position| position.to_string())
    }

    fn needs_gap(&mut self) -> bool {
        let number = self.numbers;
        self.follower.repair(number).is_some_and(|repair| repair.needs_gap())
    }
}

fn describe(output: &FollowerOutput) -> String {
    match output {
        FollowerOutput::Gap { reason, position: None } => reason.label().to_owned(),
        FollowerOutput::Gap { reason, position: Some(position) } => format!("{}@{position}", reason.label()),
        FollowerOutput::Publication(publication) => match publication.position() {
            Some(position) => position.to_string(),
            None => "plain".to_owned(),
        },
    }
}

#[test]
fn a_live_channel_delivers_each_message_once() {
    let mut channel = FollowedChannel::at("1000-41");
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Deliver);
    assert_eq!(channel.receive(Some("1000-42")), Arrival::Duplicate);
    assert_eq!(channel.receive(Some("1000-40")), Arrival::Duplicate);
    assert_eq!(channel.receive(None), Arrival::Deliver);
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Deliver);
    assert_eq!(channel.follower.position(), Some(at("1000-43")));
    // The history was lost or expired, and a new one begins. The link was always up.
    assert_eq!(channel.receive(Some("2000-1")), Arrival::Deliver);
}

#[test]
fn a_new_channel_is_cut_at_its_tail() {
    let mut channel = FollowedChannel::new();
    assert_eq!(channel.follower.position(), None);
    for position in ["1000-40", "1000-41", "1000-42"] {
        assert_eq!(channel.receive(Some(position)), Arrival::Hold);
    }
    assert_eq!(channel.reads_from(), None, "the tail is read first");
    channel.answer_tail(Some("1000-41"));
    assert_eq!(channel.outputs, ["cut 1000-41", "1000-42"]);
    assert_eq!(channel.receive(Some("1000-43")), Arrival::Deliver);
}

#[test]
fn the_first_message_of_a_new_history_is_delivered() {
    let mut channel = FollowedChannel::new();
    channel.answer_tail(None);
    assert_eq!(channel.outputs, ["cut 5000-0"]);
    assert_eq!(channel.receive(Some("5001-1")), Arrival::Deliver);
}

#[test]
fn a_new_channel_whose_link_is_lost_needs_no_gap() {
    let mut channel = FollowedChannel::new();
    channel.receive(None);
    channel.receive(Some("1000-42"));
    channel.lose_link();
    assert!(!channel.needs_gap(), "no hub was answered");
    assert_eq!(channel.follower.ring_bytes(), 0);
    channel.answer_tail(Some("1000-42"));
    assert_eq!(channel.outputs, ["cut 1000-42"]);
}

#[test]
fn a_repair_holds_its_ring_bytes_until_it_ends() {
    let mut channel = FollowedChannel::at("1000-41");
    let held = [Some("1000-43"), None].map(|position| {
        channel.receive(position);
        publication(position).queued_bytes()
    });
    assert_eq!(channel.follower.ring_bytes(), held.iter().sum::<usize>());
    channel.answer_page(&["1000-42", "1000-43"], "1000-43");
    assert_eq!(channel.follower.ring_bytes(), 0);
}

#[test]
fn answers_to_an_earlier_repair_are_ignored() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.receive(Some("1000-43"));
    let earlier = channel.numbers;
    channel.lose_link();
    let none = |progress: RepairProgress| {
        progress.cut.is_none() && progress.outputs.is_empty() && !progress.needs_read
    };
    assert!(none(channel.follower.on_stream_tail(earlier, tail_read(Tail::At(at("1000-43"))))));
    assert!(none(channel.follower.on_page(earlier, &page(&["1000-42"], "1000-42"))));
    assert!(none(channel.follower.on_unreadable(earlier)));
    assert!(channel.follower.is_repairing());
    assert_eq!(channel.reads_from().as_deref(), Some("1000-41"));
}

#[test]
fn a_channel_under_repair_is_not_verified_again() {
    let mut channel = FollowedChannel::at("1000-41");
    channel.verify();
    let number = channel.numbers;
    assert!(!channel.follower.verify(number + 1));
    assert!(channel.follower.repair(number).is_some());
}
