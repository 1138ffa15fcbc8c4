//! How many sockets there may be: in the process, from one address, in a second.
//!
//! Connects are rare beside deliveries, so one short lock for the whole process will do. With a cap of 0 nothing
//! is kept for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_http::StatusCode;

use super::Refusal;
use crate::metrics::Metrics;

/// The caps of a process; 0 means no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Open sockets, over all workers.
    pub connections: usize,
    /// Open sockets of one client address: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_address: u32,
    /// New sockets in a second, over all workers. A second's worth may come at once.
    pub connects_per_second: u32,
}

const FULL: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_connections",
    headers: &[("retry-after", "5")],
};
const TOO_MANY_FROM_ADDRESS: Refusal = Refusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_from_address",
    headers: &[("retry-after", "10")],
};
const TOO_MANY_CONNECTS: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_connects",
    headers: &[("retry-after", "1")],
};

/// The sockets of the whole process. Cloning shares.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    accounts: Mutex<Accounts>,
}

/// One of the sockets that are counted, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    metrics: Metrics,
    block: Option<AddressBlock>,
}

impl Connections {
    /// A place for one more socket, or why there is none. `address` is the client's, if it is known.
    pub(super) fn take(
        &self,
        address: Option<IpAddr>,
        caps: &Caps,
        metrics: &Metrics,
        now: Instant,
    ) -> Result<Place, Refusal> {
        metrics.connections.inc();
        let before = self.0.open.fetch_add(1, Ordering::Relaxed);
        // Whatever is refused below, the place is dropped again, which gives back what it holds by then.
        let mut place = Place { connections: self.clone(), metrics: metrics.clone(), block: None };
        if caps.connections != 0 && before >= caps.connections {
            return Err(FULL);
        }
        if caps.connections_per_address == 0 && caps.connects_per_second == 0 {
            return Ok(place);
        }
        let block = address.filter(|_| caps.connections_per_address != 0).map(AddressBlock::of);
        let taken = self.accounts().take(block, caps, now);
        taken.map(|()| {
            place.block = block;
            place
        })
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        // Nothing between its changes can panic.
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(block) = self.block {
            self.connections.accounts().give_back(block);
        }
        self.connections.0.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}

/// What counts as one client's address. Whoever has an IPv6 address has a whole /64 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AddressBlock {
    V4(u32),
    V6(u64),
}

impl AddressBlock {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The capacity that an emptied map may keep.
const SMALL: usize = 1_024;

/// The accounts of addresses and of time. Plain; it is told what time it is.
#[derive(Debug, Default)]
struct Accounts {
    /// An entry is gone with its last socket.
    open: HashMap<AddressBlock, u32>,
    /// When the bucket of new sockets is full again.
    full_at: Option<Instant>,
}

impl Accounts {
    /// Notes a new socket, or says why there may be none; then nothing has changed.
    fn take(&mut self, block: Option<AddressBlock>, caps: &Caps, now: Instant) -> Result<(), Refusal> {
        let open = block.and_then(|block| self.open.get(&block)).copied().unwrap_or(0);
        if block.is_some() && open >= caps.connections_per_address {
            return Err(TOO_MANY_FROM_ADDRESS);
        }
        // The last check, so that who is refused for another reason uses nothing up.
        if !self.connect(caps.connects_per_second, now) {
            return Err(TOO_MANY_CONNECTS);
        }
        if let Some(block) = block {
            self.open.insert(block, open + 1);
        }
        Ok(())
    }

    /// A token bucket that holds a second's worth, kept as the time at which it is full again.
    fn connect(&mut self, per_second: u32, now: Instant) -> bool {
        if per_second == 0 {
            return true;
        }
        let one = Duration::from_secs(1) / per_second;
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + one;
        if full_at - now > Duration::from_secs(1) {
            return false;
        }
        self.full_at = Some(full_at);
        true
    }

    fn give_back(&mut self, block: AddressBlock) {
        let Some(open) = self.open.get_mut(&block) else { return };
        *open -= 1;
        if *open == 0 {
            self.open.remove(&block);
            if self.open.capacity() > SMALL.max(8 * self.open.len()) {
                self.open.shrink_to(2 * self.open.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str) -> Option<AddressBlock> {
        Some(AddressBlock::of(address.parse().unwrap()))
    }

    #[test]
    fn an_address_has_as_many_places_as_the_cap_and_gets_them_back() {
        let caps = Caps { connections_per_address: 2, ..Caps::default() };
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        let one = block("192.0.2.1");
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        assert_eq!(accounts.take(block("192.0.2.2"), &caps, now), Ok(()), "a neighbour");
        accounts.give_back(one.unwrap());
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
    }

    #[test]
    fn an_address_without_a_socket_is_forgotten() {
        let caps = Caps { connections_per_address: 1, ..Caps::default() };
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        for bits in 0..10_000 {
            accounts.take(Some(AddressBlock::V6(bits)), &caps, now).unwrap();
        }
        for bits in 0..10_000 {
            accounts.give_back(AddressBlock::V6(bits));
        }
        assert!(accounts.open.is_empty());
        assert!(accounts.open.capacity() <= 2 * SMALL, "{}", accounts.open.capacity());
    }

    #[test]
    fn a_network_of_64_bits_is_one_address_and_a_mapped_one_is_what_it_maps() {
        assert_eq!(block("2001:db8:1:2::1"), block("2001:db8:1:2:ffff::9"));
        assert_ne!(block("2001:db8:1:2::1"), block("2001:db8:1:3::1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
    }

    #[test]
    fn a_second_s_worth_of_connects_may_come_at_once_and_then_an_even_flow() {
        for per_second in [1, 3, 7, 2_000] {
            let caps = Caps { connects_per_second: per_second, ..Caps::default() };
            let (mut accounts, start) = (Accounts::default(), Instant::now());
            let many = |accounts: &mut Accounts, now| {
                (0..2 * per_second).filter(|_| accounts.take(None, &caps, now).is_ok()).count() as u32
            };
            assert_eq!(many(&mut accounts, start), per_second);
            assert_eq!(accounts.take(None, &caps, start), Err(TOO_MANY_CONNECTS));
            let one = Duration::from_secs(1) / per_second;
            assert_eq!(many(&mut accounts, start + one), 1);
            assert_eq!(many(&mut accounts, start + one), 0);
            assert_eq!(many(&mut accounts, start + Duration::from_secs(3_600)), per_second, "never more");
            // A clock that stands still or goes back gives nothing away.
            assert_eq!(many(&mut accounts, start), 0);
        }
    }

    #[test]
    fn who_is_refused_by_address_takes_nobody_s_turn() {
        let caps = Caps { connections_per_address: 1, connects_per_second: 2, ..Caps::default() };
        let (mut accounts, now) = (Accounts::default(), Instant::now());
        assert_eq!(accounts.take(block("192.0.2.1"), &caps, now), Ok(()));
        for _ in 0..10 {
            assert_eq!(accounts.take(block("192.0.2.1"), &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        }
        assert_eq!(accounts.take(block("192.0.2.2"), &caps, now), Ok(()));
        assert_eq!(accounts.take(block("192.0.2.3"), &caps, now), Err(TOO_MANY_CONNECTS));
        assert_eq!(accounts.open.len(), 2, "a refused one has no entry");
    }

    #[test]
    fn zero_means_no_cap_and_keeps_nothing() {
        let (connections, metrics, now) = (Connections::default(), Metrics::default(), Instant::now());
        let address = Some("192.0.2.1".parse().unwrap());
        let take = || connections.take(address, &Caps::default(), &metrics, now).unwrap();
        let places: Vec<_> = (0..10_000).map(|_| take()).collect();
        assert_eq!(connections.count(), 10_000);
        assert!(connections.accounts().open.is_empty());
        drop(places);
        assert_eq!((connections.count(), metrics.connections.get()), (0, 0));
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let caps = Caps { connections: 3, connections_per_address: 2, connects_per_second: 0 };
        let (connections, metrics, now) = (Connections::default(), Metrics::default(), Instant::now());
        let take = |address: &str| connections.take(address.parse().ok(), &caps, &metrics, now);
        let (first, _second) = (take("192.0.2.1").unwrap(), take("192.0.2.1").unwrap());
        assert_eq!(take("192.0.2.1").unwrap_err(), TOO_MANY_FROM_ADDRESS);
        assert_eq!(connections.count(), 2);
        let _third = take("192.0.2.2").unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), FULL);
        assert_eq!((connections.count(), metrics.connections.get()), (3, 3));
        drop(first);
        take("192.0.2.1").unwrap();
    }
}
