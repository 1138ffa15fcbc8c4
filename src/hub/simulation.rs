//! The hub's share of the simulation (`crate::simulation`): a hub without an actor, one message at a time. What
//! decides is the code that runs in production.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::inbox::{Refused, Room};
use super::messages::{GoLive, Join, Leave, SessionEvent, Subscribe, Unsubscribe};
use super::registry::{ChannelStanding, Line, Registry, Slot};
use super::resumption::{Missed, Read, Resumption};
use super::waiting::{Request, RequestKind, Waiting};
use crate::broker::redis::simulation::{Link, Recovering};
use crate::broker::{
    HubEvent, HubId, Inbox, InboxFull, Interrupted, NotRecovered, Recovered, RecoveryLimits,
};
use protocol::conversation::Wanted;
use protocol::event::GapReason;
use protocol::{SessionId, Version};

/// How a hub is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubOptions {
    /// Bytes of publications that may wait for it.
    pub(crate) inbox_bytes: usize,
    pub(crate) recovery: RecoveryLimits,
    /// A deliberate fault: a session is live before its client has been told.
    pub(crate) is_impatient: bool,
    /// A deliberate fault: what the inbox refuses is not told.
    pub(crate) is_secretive: bool,
    /// A deliberate fault: what the loss of a link interrupts is not read again.
    pub(crate) is_resigned: bool,
}

/// One hub.
pub(crate) struct SimulatedHub<L> {
    options: HubOptions,
    id: HubId,
    mailbox: Arc<Mailbox>,
    registry: Registry<L>,
    waiting: Waiting,
    sessions: BTreeMap<SessionId, Slot>,
    /// Who waits for a link to read over.
    linking: VecDeque<(SessionId, Request)>,
    resuming: Vec<Resuming>,
}

/// What waits for a hub, in the order in which it handles it.
struct Mailbox {
    mail: Mutex<VecDeque<Mail>>,
    room: Room,
    is_secretive: bool,
}

/// A message to a hub.
#[derive(Debug)]
pub(crate) enum Mail {
    Join(Join),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    GoLive(GoLive),
    Leave(Leave),
    FromBroker(HubEvent),
    /// The wait for a link has ended, as `Linked` in `recovery.rs` says it.
    #[allow(private_interfaces, reason = "the hub sends it to itself")]
    Linked(SessionId, Request, Result<u64, NotRecovered>),
}

/// A request whose histories are being read. One that is interrupted is read once more, all of it.
struct Resuming {
    session: SessionId,
    request: Request,
    open: Vec<(Recovering, Missed)>,
    reads: Vec<Read>,
    is_interrupted: bool,
}

/// What a hub tells sessions.
pub(crate) type Told = Vec<(SessionId, SessionEvent)>;

impl Inbox for Mailbox {
    fn offer(&self, event: HubEvent) -> Result<(), InboxFull> {
        if let HubEvent::Publication(publication) = &event
            && let Err(refused) = self.room.accept(publication)
        {
            if refused == Refused::OwesGap && !self.is_secretive {
                let (channel, reason) = (publication.channel().clone(), GapReason::Overflow);
                self.push(Mail::FromBroker(HubEvent::Gap { channel, reason, place: None }));
            }
            return Err(InboxFull);
        }
        self.push(Mail::FromBroker(event));
        Ok(())
    }
}

impl Mailbox {
    fn push(&self, mail: Mail) {
        self.mail.lock().unwrap().push_back(mail);
    }
}

impl<L: Line> SimulatedHub<L> {
    pub(crate) fn new(options: HubOptions, link: &Link) -> Self {
        let (mail, room) = (Mutex::default(), Room::new(options.inbox_bytes));
        let mailbox = Arc::new(Mailbox { mail, room, is_secretive: options.is_secretive });
        Self {
            options,
            id: link.attach(Arc::clone(&mailbox) as _),
            mailbox,
            registry: Registry::default(),
            waiting: Waiting::default(),
            sessions: BTreeMap::new(),
            linking: VecDeque::new(),
            resuming: Vec::new(),
        }
    }

    /// A session has been opened.
    pub(crate) fn connect(&mut self, session: SessionId, line: L) {
        let slot = self.registry.join(Version::V2, line);
        self.sessions.insert(session, slot);
    }

    pub(crate) fn send(&self, mail: Mail) {
        self.mailbox.push(mail);
    }

    pub(crate) fn has_mail(&self) -> bool {
        !self.mailbox.mail.lock().unwrap().is_empty()
    }

    /// Handles the next message.
    pub(crate) fn handle(&mut self, link: &mut Link, at: Instant) -> Told {
        let mail = self.mailbox.mail.lock().unwrap().pop_front();
        match mail {
            Some(Mail::Join(Join { session, channels })) => {
                self.request(session, RequestKind::Join, channels, link, at)
            }
            Some(Mail::Subscribe(Subscribe { session, wanted, ticket })) => {
                self.request(session, RequestKind::Subscribe { ticket }, vec![wanted], link, at)
            }
            Some(Mail::Unsubscribe(Unsubscribe { session, channel, answer })) => {
                let Some(&slot) = self.sessions.get(&session) else { return Told::new() };
                let is_empty = self.registry.unsubscribe(slot, &channel);
                self.registry.send(slot, answer);
                if is_empty {
                    link.unsubscribe(self.id, &[channel]);
                }
                Told::new()
            }
            Some(Mail::GoLive(GoLive { session, channel })) => {
                let Some(&slot) = self.sessions.get(&session) else { return Told::new() };
                match channel {
                    Some(channel) => self.registry.go_live(slot, &channel),
                    None => self.registry.go_live_everywhere(slot),
                };
                Told::new()
            }
            Some(Mail::Leave(Leave { session })) => {
                if let Some(slot) = self.sessions.remove(&session) {
                    let empty = self.registry.leave(slot);
                    link.unsubscribe(self.id, &empty);
                    self.waiting.forget(session);
                }
                Told::new()
            }
            Some(Mail::FromBroker(event)) => self.on_broker(event, link, at),
            Some(Mail::Linked(session, request, reader)) => self.read(session, request, reader, link, at),
            None => Told::new(),
        }
    }

    fn on_broker(&mut self, event: HubEvent, link: &mut Link, at: Instant) -> Told {
        match event {
            HubEvent::Publication(publication) => {
                self.registry.deliver(&publication);
                self.mailbox.room.release(publication.queued_bytes());
                Told::new()
            }
            HubEvent::Subscribed(channels) => {
                let mut done = Vec::new();
                for (channel, place) in &channels {
                    if self.waiting.answered(channel) {
                        self.registry.confirm(channel, *place);
                        self.waiting.confirm(channel, &mut done);
                    }
                }
                done.into_iter()
                    .flat_map(|(session, request)| self.recover(session, request, link, at))
                    .collect()
            }
            HubEvent::Gap { channel, reason, place } => {
                self.mailbox.room.gap_told(&channel);
                self.registry.announce_gap(&channel, reason, place);
                Told::new()
            }
        }
    }

    fn request(
        &mut self,
        session: SessionId,
        kind: RequestKind,
        wanted: Vec<Wanted>,
        link: &mut Link,
        at: Instant,
    ) -> Told {
        let Some(&slot) = self.sessions.get(&session) else { return Told::new() };
        let (mut new, mut unconfirmed) = (Vec::new(), Vec::new());
        for Wanted { channel, .. } in &wanted {
            match self.registry.subscribe(slot, channel) {
                None | Some(ChannelStanding::Confirmed) => continue,
                Some(ChannelStanding::New) => new.push(channel.clone()),
                Some(ChannelStanding::Pending) => {}
            }
            unconfirmed.push(channel.clone());
        }
        if !new.is_empty() {
            self.waiting.ask(&new);
            link.subscribe(self.id, new, at);
        }
        let request = Request { kind, wanted: wanted.into() };
        if unconfirmed.is_empty() {
            return self.recover(session, request, link, at);
        }
        self.waiting.wait(session, request, unconfirmed);
        Told::new()
    }

    fn recover(&mut self, session: SessionId, request: Request, link: &Link, at: Instant) -> Told {
        if self.missed(session, &request).is_empty() {
            return self.recovered(session, &request, Vec::new(), link, at);
        }
        self.linking.push_back((session, request));
        Told::new()
    }

    fn missed(&self, session: SessionId, request: &Request) -> Vec<Missed> {
        let Some(&slot) = self.sessions.get(&session) else { return Vec::new() };
        request.wanted.iter().filter_map(|wanted| Missed::of(&self.registry, slot, wanted)).collect()
    }

    /// Whether somebody waits for a link.
    pub(crate) fn awaits_link(&self) -> bool {
        !self.linking.is_empty()
    }

    /// A link is proven: whoever has waited the longest learns of it.
    pub(crate) fn linked(&mut self, link: u64) {
        if let Some((session, request)) = self.linking.pop_front() {
            self.mailbox.push(Mail::Linked(session, request, Ok(link)));
        }
    }

    /// Whoever waits for a link waits no longer.
    pub(crate) fn give_up(&mut self) {
        for (session, request) in self.linking.drain(..) {
            self.mailbox.push(Mail::Linked(session, request, Err(NotRecovered::Unavailable)));
        }
    }

    fn read(
        &mut self,
        session: SessionId,
        request: Request,
        reader: Result<u64, NotRecovered>,
        link: &mut Link,
        at: Instant,
    ) -> Told {
        let missed = self.missed(session, &request);
        let reader = match reader {
            Ok(reader) => reader,
            Err(reason) => {
                let reads = missed.into_iter().map(|missed| missed.read(Err(reason))).collect();
                return self.recovered(session, &request, reads, link, at);
            }
        };
        let mut resuming =
            Resuming { session, request, open: Vec::new(), reads: Vec::new(), is_interrupted: false };
        for missed in missed {
            match link.recover(reader, &missed.channel, missed.since, self.options.recovery) {
                Ok(name) => resuming.open.push((name, missed)),
                Err(Interrupted) => resuming.is_interrupted = true,
            }
        }
        self.read_on(resuming, link, at)
    }

    /// A history has been read, of this hub or another, or its reading interrupted.
    pub(crate) fn on_recovery(
        &mut self,
        name: Recovering,
        outcome: &Result<Result<Recovered, NotRecovered>, Interrupted>,
        link: &Link,
        at: Instant,
    ) -> Told {
        let is_it = |resuming: &Resuming| resuming.open.iter().position(|(open, _)| *open == name);
        let Some(index) = self.resuming.iter().position(|resuming| is_it(resuming).is_some()) else {
            return Told::new();
        };
        let mut resuming = self.resuming.swap_remove(index);
        let (_, missed) = resuming.open.swap_remove(is_it(&resuming).unwrap());
        match outcome {
            Ok(outcome) => resuming.reads.push(missed.read(outcome.clone())),
            Err(Interrupted) if self.options.is_resigned => {
                resuming.reads.push(missed.read(Err(NotRecovered::Unavailable)));
            }
            Err(Interrupted) => resuming.is_interrupted = true,
        }
        self.read_on(resuming, link, at)
    }

    fn read_on(&mut self, resuming: Resuming, link: &Link, at: Instant) -> Told {
        if !resuming.open.is_empty() {
            self.resuming.push(resuming);
            return Told::new();
        }
        let Resuming { session, request, reads, is_interrupted, .. } = resuming;
        if is_interrupted {
            self.linking.push_back((session, request));
            return Told::new();
        }
        self.recovered(session, &request, reads, link, at)
    }

    fn recovered(
        &mut self,
        session: SessionId,
        request: &Request,
        mut reads: Vec<Read>,
        link: &Link,
        at: Instant,
    ) -> Told {
        let Some(&slot) = self.sessions.get(&session) else { return Told::new() };
        let mut resumption = Resumption::new(slot, self.options.recovery.bytes);
        let standing =
            |wanted| resumption.standing(&mut self.registry, wanted, &mut reads, || link.position_now(at)).0;
        let mut standings: Vec<_> = request.wanted.iter().map(standing).collect();
        if self.options.is_impatient {
            self.registry.go_live_everywhere(slot);
        }
        let event = match request.kind {
            RequestKind::Join => SessionEvent::Joined(standings),
            RequestKind::Subscribe { ticket } => {
                SessionEvent::Subscribed { ticket, standing: standings.pop().unwrap() }
            }
        };
        vec![(session, event)]
    }
}
