//! The core of a hub, with a simulated mailbox in place of the actor's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::client::Socket;
use super::plan::{PlantedBug, SimulationPlan};
use super::reports::ReportChecker;
use crate::broker::link::LinkRouter;
use crate::broker::{Cut, HubEvent, HubId, SubscribeAck};
use crate::hub::core::{HubCore, HubRules};
use crate::hub::inbox::{HubInbox, InboxBudget, Mailbox};
use crate::hub::messages::HubInput;
use crate::metrics::Metrics;
use protocol::event::GapReason;
use protocol::position::Position;
use protocol::{SessionId, Version};

pub(super) struct SimulatedHub {
    pub(super) id: HubId,
    pub(super) core: HubCore<Socket>,
    pub(super) mailbox: SharedMailbox,
    pub(super) reports: ReportChecker,
}

/// The queued inputs of a hub.
#[derive(Clone)]
pub(super) struct SharedMailbox(Arc<Mutex<VecDeque<HubInput>>>, PlantedBug);

impl SimulatedHub {
    pub(super) fn new(
        router: &LinkRouter,
        rules: HubRules,
        plan: &SimulationPlan,
        metrics: &Metrics,
    ) -> Self {
        let budget = Arc::new(InboxBudget::new(plan.max_inbox_bytes, metrics));
        let mailbox = SharedMailbox(Arc::default(), plan.planted_bug);
        let inbox = HubInbox::new(mailbox.clone(), Arc::clone(&budget));
        Self {
            id: router.attach(Arc::new(inbox)),
            core: HubCore::new(rules, budget, metrics),
            mailbox,
            reports: ReportChecker::default(),
        }
    }

    /// Adds a new session.
    pub(super) fn connect(&mut self, session: SessionId, socket: Socket) {
        self.core.connect(session, Version::V2, socket);
    }

    pub(super) fn send(&self, input: HubInput) {
        self.mailbox.push(input);
    }
}

impl SharedMailbox {
    pub(super) fn pop(&self) -> Option<HubInput> {
        self.0.lock().unwrap().pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Mailbox for SharedMailbox {
    fn push(&self, mut message: HubInput) {
        match (&mut message, self.1) {
            (
                HubInput::Broker(HubEvent::Gap { reason: GapReason::Overflow, .. }),
                PlantedBug::UnreportedOverflow,
            ) => {
                return;
            }
            (HubInput::Broker(HubEvent::Subscribed(acks)), PlantedBug::EarlyCut) => {
                acks.iter_mut().for_each(shift_cut);
            }
            _ => {}
        }
        self.0.lock().unwrap().push_back(message);
    }
}

/// Moves the start of the subscription one message back.
fn shift_cut(ack: &mut SubscribeAck) {
    if let Cut::At(Position { epoch, offset: offset @ 1.. }) = ack.cut {
        ack.cut = Cut::At(Position { epoch, offset: offset - 1 });
    }
}
