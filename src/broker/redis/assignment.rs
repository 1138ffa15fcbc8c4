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
    ///
    /// A link whose home slot moves begins again. So a new home is the slot of a duty, whose move restarts the link
    /// anyway, or else the last slot: `redis-cli --cluster reshard` and `rebalance` move the first slots of a master.
    pub(super) fn of_slots(slots: Vec<Slot>, before: &Self, duty_slots: &DutySlots) -> Self {
        let has = |slot: Slot| slots.binary_search(&slot).is_ok();
        let of_duty = || duty_slots.all().into_iter().find(|slot| has(*slot));
        let home = before.home.filter(|home| has(*home)).or_else(of_duty).or_else(|| slots.last().copied());
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

    fn all(&self) -> [Slot; 5] {
        [self.users, self.presence, self.control, self.inbox, self.rejected]
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
    use super::super::options::Layout;
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
        // The control slot moves from the second link to the first.
        let moved = high.iter().position(|slot| *slot == slots.control).unwrap();
        low.push(high.remove(moved));
        low.sort();
        let (grown, shrunk) =
            (Assignment::of_slots(low, &first, &slots), Assignment::of_slots(high, &second, &slots));
        assert_eq!((first.can_become(&grown), second.can_become(&shrunk)), (false, false));
    }

    #[test]
    fn a_link_goes_on_when_its_first_slots_move() {
        let slots = DutySlots::new(Names { layout: Layout::Slots, prefix: "gateway" });
        // The first master has slots of duties, the second has none.
        for range in [3_000..16_384, 0..3_000] {
            let mut owned: Vec<_> = Slot::all().filter(|slot| range.contains(&slot.number())).collect();
            let before = Assignment::of_slots(owned.clone(), &Assignment::none(), &slots);
            owned.drain(..500);
            assert!(before.can_become(&Assignment::of_slots(owned, &before, &slots)), "{range:?}");
        }
    }
}
