//! Ports that only one server of a test run has.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below the ephemeral range (from 32768 on Linux), so that no outgoing connection of the tests takes a port before its
/// server starts or while it is down.
pub(crate) const ALL: Range<u16> = 10_000..30_000;

/// The ports of all servers of this process, also of those that do not run at the moment.
static RESERVED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that no other [`Port`] has until this one is dropped. A socket is not held open, because the server needs it.
pub(crate) struct Port(u16);

impl Port {
    /// Reserves a free port.
    pub(crate) fn any() -> Self {
        std::iter::repeat_with(|| rand::random_range(ALL)).find_map(Self::reserve).expect("endless")
    }

    /// Reserves two free ports, the second one `offset` above the first.
    pub(crate) fn any_two(offset: u16) -> [Self; 2] {
        std::iter::repeat_with(|| rand::random_range(ALL.start..ALL.end - offset))
            .find_map(|port| Some([Self::reserve(port)?, Self::reserve(port + offset)?]))
            .expect("endless")
    }

    pub(crate) fn number(&self) -> u16 {
        self.0
    }

    fn reserve(number: u16) -> Option<Self> {
        let is_new = RESERVED.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        let port = is_new.then_some(Self(number))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok().then_some(port)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        RESERVED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[test]
fn no_two_servers_of_a_run_get_one_port() {
    let first = Port::any();
    assert!(Port::reserve(first.number()).is_none());
    let number = first.number();
    drop(first);
    assert!(Port::reserve(number).is_some());
}
