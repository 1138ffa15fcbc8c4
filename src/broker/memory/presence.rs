//! The names of one kind inside one process, such as all users: those with sessions, and those within their grace. Pure;
//! callers pass the time.
//!
//! As over Redis, a user is away once its edge is written, not when its grace ends.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// The most edges of one [`PresentNames::settle`], because the broker is locked while they are published.
pub(super) const MAX_SETTLED: usize = 500;

/// The names of one kind that are not away.
pub(super) struct PresentNames<N> {
    grace: Duration,
    names: BTreeMap<N, NameState>,
    /// The names within their grace by the time when their edges are due.
    leaving: BTreeSet<(Instant, N)>,
}

#[derive(Debug, Clone, Copy)]
enum NameState {
    /// One or more hubs have sessions of the name.
    Present { hubs: usize },
    /// No hub has a session of the name. Its edge is due at this time.
    Leaving { due: Instant },
}

/// A name came, or went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge<N> {
    pub(super) name: N,
    pub(super) is_present: bool,
}

impl<N: Clone + Ord> PresentNames<N> {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, names: BTreeMap::new(), leaving: BTreeSet::new() }
    }

    /// A hub has the first session of a name, or none any more. Returns the edge of a name that was away.
    pub(super) fn report(&mut self, name: &N, is_present: bool, now: Instant) -> Option<Edge<N>> {
        match self.names.get_mut(name) {
            None if is_present => {
                self.names.insert(name.clone(), NameState::Present { hubs: 1 });
                return Some(Edge { name: name.clone(), is_present });
            }
            None => {}
            Some(NameState::Present { hubs }) if is_present => *hubs += 1,
            Some(NameState::Present { hubs: hubs @ 2.. }) => *hubs -= 1,
            Some(state @ NameState::Present { .. }) => {
                let due = now + self.grace;
                *state = NameState::Leaving { due };
                self.leaving.insert((due, name.clone()));
            }
            Some(state @ NameState::Leaving { .. }) if is_present => {
                if let NameState::Leaving { due } = *state {
                    self.leaving.remove(&(due, name.clone()));
                }
                *state = NameState::Present { hubs: 1 };
            }
            Some(NameState::Leaving { .. }) => {}
        }
        None
    }

    /// The edges that are due, at most [`MAX_SETTLED`]. Their names are away from then on.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Edge<N>> {
        let mut edges = Vec::new();
        while edges.len() < MAX_SETTLED && self.next_due().is_some_and(|due| due <= now) {
            let Some((_, name)) = self.leaving.pop_first() else { break };
            self.names.remove(&name);
            edges.push(Edge { name, is_present: false });
        }
        edges
    }

    /// When the next edge is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.leaving.first().map(|(due, _)| *due)
    }

    /// The number of processes with sessions of a name: 1, or 0 within its grace; `None` if the name is away.
    pub(super) fn replicas_of(&self, name: &N) -> Option<u32> {
        self.names.get(name).map(|state| state.replicas())
    }

    /// The names from `first` on, in order, each with the number of processes that have sessions of it.
    pub(super) fn from<Q: Ord + ?Sized>(&self, first: Bound<&Q>) -> impl Iterator<Item = (&N, u32)>
    where
        N: Borrow<Q>,
    {
        let names = self.names.range::<Q, _>((first, Bound::Unbounded));
        names.map(|(name, state)| (name, state.replicas()))
    }
}

impl NameState {
    fn replicas(self) -> u32 {
        u32::from(matches!(self, Self::Present { .. }))
    }
}

#[cfg(test)]
mod tests;
