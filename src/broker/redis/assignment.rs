//! What a link serves: its slots, and what it does besides following its channels.

use std::sync::Arc;

use super::cluster::slot::Slot;
use super::control;
use super::names::Names;

/// What a link serves. Where there is one link, it serves everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The slots of the link's master, in their order; empty where the slots do not matter.
    pub(super) slots: Arc<[Slot]>,
    pub(super) duties: Duties,
    /// One of the slots, for the probe and for the check of the server; `None` where the slots do not matter.
    pub(super) home: Option<Slot>,
}

/// The duties of a link. Each concerns keys and channels of one slot, and exactly one link has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Duties {
    /// Receives the writes to many users at once.
    pub(super) users: bool,
    /// Keeps the lease, reports, and reads the presence of users and rooms.
    pub(super) presence: bool,
    /// Follows commands and revocations.
    pub(super) control: bool,
    /// Counts the entries of the inbox.
    pub(super) inbox: bool,
    /// Records rejected payloads.
    pub(super) rejected: bool,
}

/// The slots of what each duty is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct DutySlots {
    users: Slot,
    pub(super) presence: Slot,
    pub(super) control: Slot,
    pub(super) inbox: Slot,
    rejected: Slot,
}

impl Assignment {
    /// Everything.
    pub(super) fn all() -> Self {
        let duties = Duties { users: true, presence: true, control: true, inbox: true, rejected: true };
        Self { slots: Arc::new([]), duties, home: None }
    }

    /// No slots.
    pub(super) fn none() -> Self {
        Self { slots: Arc::new([]), duties: Duties::default(), home: None }
    }

    /// These slots, which are sorted. Keeps the home slot of `before` if it can.
    pub(super) fn of_slots(slots: Vec<Slot>, before: &Self, duty_slots: &DutySlots) -> Self {
        let has = |slot: Slot| slots.binary_search(&slot).is_ok();
        let home = before.home.filter(|home| has(*home)).or_else(|| slots.first().copied());
        Self { duties: duty_slots.duties(has), home, slots: slots.into() }
    }

    /// Whether a connected link can go on with another assignment: it has subscribed to the channels of its duties, and
    /// to its probe.
    pub(super) fn can_become(&self, other: &Self) -> bool {
        (self.duties, self.home) == (other.duties, other.home)
    }
}

impl DutySlots {
    pub(super) fn new(names: Names<'_>) -> Self {
        Self {
            users: Slot::of_key(&names.users()),
            presence: Slot::of_key(&names.presence("")),
            control: Slot::of_key(&names.control(control::COMMANDS)),
            inbox: Slot::of_key(&names.inbox()),
            rejected: Slot::of_key(&names.rejected()),
        }
    }

    /// The duties of a link with the slots that `has` names.
    fn duties(&self, has: impl Fn(Slot) -> bool) -> Duties {
        Duties {
            users: has(self.users),
            presence: has(self.presence),
            control: has(self.control),
            inbox: has(self.inbox),
            rejected: has(self.rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::Layout;
    use super::*;

    #[test]
    fn each_duty_is_with_the_link_of_its_slot() {
        let slots = DutySlots::new(Names { layout: Layout::Slots, prefix: "gateway" });
        let (mut low, mut high): (Vec<_>, Vec<_>) = Slot::all().partition(|slot| slot.number() < 8_000);
        let before = Assignment::none();
        let first = Assignment::of_slots(low.clone(), &before, &slots);
        let second = Assignment::of_slots(high.clone(), &before, &slots);
        for duty in [
            |duties: Duties| duties.users,
            |duties: Duties| duties.presence,
            |duties: Duties| duties.control,
            |duties: Duties| duties.inbox,
            |duties: Duties| duties.rejected,
        ] {
            assert_ne!(duty(first.duties), duty(second.duties));
        }
        // The first slot of the second link moves, and it is the home of its probe.
        low.push(high.remove(0));
        let (grown, shrunk) =
            (Assignment::of_slots(low, &first, &slots), Assignment::of_slots(high, &second, &slots));
        assert_eq!((first.can_become(&grown), second.can_become(&shrunk)), (true, false));
    }
}
