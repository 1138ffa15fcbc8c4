//! How many sockets there may be: in the process, from one address, in a second.
//!
//! Connects are rare beside deliveries, so one short lock for the whole process will do. With a cap of 0 nothing
//! is kept for it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_http::StatusCode;

use super::UpgradeRefusal;
use super::client_prefix::ClientPrefix;
use super::key_counts::KeyCounts;
use crate::metrics::Metrics;
use protocol::budget::{Budget, Budgets};

/// The caps of a process; 0 means no cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Open sockets, over all workers.
    pub connections: usize,
    /// Open sockets of one client address: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_address: u32,
    /// Connections of one peer's address that are in their handshake.
    pub handshakes_per_address: u32,
    /// New sockets in a second, over all workers. A second's worth may come at once.
    pub connects_per_second: u32,
    /// The same for one client address.
    pub connects_per_second_per_address: u32,
}

const FULL: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_connections",
    headers: &[("retry-after", "5")],
};
const TOO_MANY_FROM_ADDRESS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_from_address",
    headers: &[("retry-after", "10")],
};
/// Said before anything of a request has been read.
const TOO_MANY_HANDSHAKES: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_handshakes",
    headers: &[("retry-after", "5")],
};
const TOO_MANY_CONNECTS_FROM_ADDRESS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_connects_from_address",
    headers: &[("retry-after", "1")],
};
const TOO_MANY_CONNECTS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_connects",
    headers: &[("retry-after", "1")],
};

/// The sockets of the whole process. Cloning shares.
#[derive(Debug, Clone)]
pub struct ConnectionLimiter(Arc<LimiterState>);

#[derive(Debug)]
struct LimiterState {
    open: AtomicUsize,
    caps: Caps,
    accounts: Mutex<LimiterCounts>,
}

/// The permit of a socket. Dropping it releases it.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    connections: ConnectionLimiter,
    metrics: Metrics,
    block: Option<ClientPrefix>,
}

/// The permit of a connection in its handshake. Dropping it releases it.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    connections: ConnectionLimiter,
    metrics: Metrics,
    block: Option<ClientPrefix>,
}

impl ConnectionLimiter {
    /// No sockets yet, and these caps.
    pub fn new(caps: Caps) -> Self {
        Self(Arc::new(LimiterState {
            open: AtomicUsize::new(0),
            caps,
            accounts: Mutex::new(LimiterCounts::new(&caps)),
        }))
    }

    /// A permit for one more connection in its handshake, or why there is none. `peer` is the address that it counts
    /// for; `None` if that address may represent many clients.
    pub(super) fn begin(
        &self,
        peer: Option<IpAddr>,
        metrics: &Metrics,
    ) -> Result<HandshakePermit, UpgradeRefusal> {
        let caps = &self.0.caps;
        let block = peer.filter(|_| caps.handshakes_per_address != 0).map(ClientPrefix::of);
        if let Some(block) = block {
            let handshakes = &mut self.accounts().handshakes;
            if !handshakes.has_room(&block, caps.handshakes_per_address) {
                return Err(TOO_MANY_HANDSHAKES);
            }
            handshakes.add(block);
        }
        metrics.handshakes.inc();
        Ok(HandshakePermit { connections: self.clone(), metrics: metrics.clone(), block })
    }

    /// A permit for one more socket, or why there is none. `client` is the client's address, if it is known.
    pub(super) fn take(
        &self,
        client: Option<ClientPrefix>,
        metrics: &Metrics,
        now: Instant,
    ) -> Result<ConnectionPermit, UpgradeRefusal> {
        let caps = &self.0.caps;
        metrics.connections.inc();
        let before = self.0.open.fetch_add(1, Ordering::Relaxed);
        // A refusal below drops the permit, which releases what it holds by then.
        let mut permit =
            ConnectionPermit { connections: self.clone(), metrics: metrics.clone(), block: None };
        if caps.connections != 0 && before >= caps.connections {
            return Err(FULL);
        }
        if !caps.need_accounts() {
            return Ok(permit);
        }
        self.accounts().take(client, caps, now)?;
        permit.block = client.filter(|_| caps.connections_per_address != 0);
        Ok(permit)
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    fn accounts(&self) -> MutexGuard<'_, LimiterCounts> {
        // Nothing between its changes can panic.
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caps {
    /// Whether a new socket is counted by its address or by time.
    fn need_accounts(&self) -> bool {
        let Self { connections_per_address, connects_per_second, connects_per_second_per_address, .. } =
            *self;
        connections_per_address != 0 || connects_per_second != 0 || connects_per_second_per_address != 0
    }
}

impl Default for ConnectionLimiter {
    fn default() -> Self {
        Self::new(Caps::default())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(block) = self.block {
            self.connections.accounts().open.remove(&block);
        }
        self.connections.0.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        if let Some(block) = self.block {
            self.connections.accounts().handshakes.remove(&block);
        }
        self.metrics.handshakes.dec();
    }
}

/// The time for which `connects_per_second` counts.
const SECOND: Duration = Duration::from_secs(1);
/// The accounts of addresses and of time. Plain; it is told what time it is.
#[derive(Debug)]
struct LimiterCounts {
    /// Open sockets.
    open: KeyCounts<ClientPrefix>,
    /// Connections in their handshake.
    handshakes: KeyCounts<ClientPrefix>,
    /// New sockets.
    connects: Budget,
    /// New sockets of each address.
    connects_by_address: Budgets<ClientPrefix>,
}

impl LimiterCounts {
    fn new(caps: &Caps) -> Self {
        Self {
            open: KeyCounts::default(),
            handshakes: KeyCounts::default(),
            connects: Budget::default(),
            connects_by_address: Budgets::new(caps.connects_per_second_per_address, SECOND),
        }
    }

    /// Notes a new socket, or says why there may be none; then nothing has changed.
    fn take(
        &mut self,
        client: Option<ClientPrefix>,
        caps: &Caps,
        now: Instant,
    ) -> Result<(), UpgradeRefusal> {
        let counted = client.filter(|_| caps.connections_per_address != 0);
        if counted.is_some_and(|client| !self.open.has_room(&client, caps.connections_per_address)) {
            return Err(TOO_MANY_FROM_ADDRESS);
        }
        if client.is_some_and(|client| !self.connects_by_address.has_token(&client, now)) {
            return Err(TOO_MANY_CONNECTS_FROM_ADDRESS);
        }
        // Last, so that a client refused for another reason does not use up the rate of the others.
        if !self.connects.try_acquire(caps.connects_per_second, SECOND, now) {
            return Err(TOO_MANY_CONNECTS);
        }
        if let Some(client) = client {
            self.connects_by_address.try_acquire(client, now);
        }
        if let Some(client) = counted {
            self.open.add(client);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(address: &str) -> Option<ClientPrefix> {
        Some(ClientPrefix::of(address.parse().unwrap()))
    }

    #[test]
    fn an_address_has_as_many_sockets_as_the_cap_and_gets_them_back() {
        let caps = Caps { connections_per_address: 2, ..Caps::default() };
        let (mut accounts, now) = (LimiterCounts::new(&caps), Instant::now());
        let one = block("192.0.2.1");
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        assert_eq!(accounts.take(block("192.0.2.2"), &caps, now), Ok(()), "a neighbour");
        accounts.open.remove(&one.unwrap());
        assert_eq!(accounts.take(one, &caps, now), Ok(()));
        assert_eq!(accounts.take(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
    }

    #[test]
    fn a_second_s_worth_of_connects_may_come_at_once_and_then_an_even_flow() {
        for per_second in [1, 3, 7, 2_000] {
            let caps = Caps { connects_per_second: per_second, ..Caps::default() };
            let (mut accounts, start) = (LimiterCounts::new(&caps), Instant::now());
            let many = |accounts: &mut LimiterCounts, now| {
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
        let (mut accounts, now) = (LimiterCounts::new(&caps), Instant::now());
        assert_eq!(accounts.take(block("192.0.2.1"), &caps, now), Ok(()));
        for _ in 0..10 {
            assert_eq!(accounts.take(block("192.0.2.1"), &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        }
        assert_eq!(accounts.take(block("192.0.2.2"), &caps, now), Ok(()));
        assert_eq!(accounts.take(block("192.0.2.3"), &caps, now), Err(TOO_MANY_CONNECTS));
        assert_eq!(accounts.open.keys(), 2, "a refused one has no entry");
    }

    #[test]
    fn a_flood_from_one_address_leaves_others_their_rate() {
        let caps = Caps { connects_per_second: 10, connects_per_second_per_address: 4, ..Caps::default() };
        let (mut accounts, now) = (LimiterCounts::new(&caps), Instant::now());
        let flood = |accounts: &mut LimiterCounts, now| {
            (0..100).filter(|_| accounts.take(block("192.0.2.1"), &caps, now).is_ok()).count()
        };
        assert_eq!(flood(&mut accounts, now), 4);
        assert_eq!(accounts.take(block("192.0.2.1"), &caps, now), Err(TOO_MANY_CONNECTS_FROM_ADDRESS));
        let others =
            (2..100).filter(|last| accounts.take(block(&format!("192.0.2.{last}")), &caps, now).is_ok());
        assert_eq!(others.count(), 6, "what the flood left of the rate for all");
        assert_eq!(accounts.take(block("192.0.2.200"), &caps, now), Err(TOO_MANY_CONNECTS));
        // A refusal for all took nothing from the address.
        assert_eq!(flood(&mut accounts, now + SECOND), 4);
        assert_eq!(accounts.open.keys(), 0, "the number of sockets has no cap here");
    }

    #[test]
    fn zero_means_no_cap_and_keeps_nothing() {
        let (connections, metrics, now) = (ConnectionLimiter::default(), Metrics::default(), Instant::now());
        let take = || connections.take(block("192.0.2.1"), &metrics, now).unwrap();
        let permits: Vec<_> = (0..10_000).map(|_| take()).collect();
        assert_eq!(connections.count(), 10_000);
        assert_eq!(connections.accounts().open.keys(), 0);
        assert_eq!(connections.accounts().connects_by_address.keys(), 0);
        drop(permits);
        assert_eq!((connections.count(), metrics.connections.get()), (0, 0));
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let caps = Caps { connections: 3, connections_per_address: 2, ..Caps::default() };
        let (connections, metrics, now) = (ConnectionLimiter::new(caps), Metrics::default(), Instant::now());
        let take = |address: &str| connections.take(block(address), &metrics, now);
        let (first, _second) = (take("192.0.2.1").unwrap(), take("192.0.2.1").unwrap());
        assert_eq!(take("192.0.2.1").unwrap_err(), TOO_MANY_FROM_ADDRESS);
        assert_eq!(connections.count(), 2);
        let _third = take("192.0.2.2").unwrap();
        assert_eq!(take("192.0.2.3").unwrap_err(), FULL);
        assert_eq!((connections.count(), metrics.connections.get()), (3, 3));
        drop(first);
        take("192.0.2.1").unwrap();
    }

    #[test]
    fn handshakes_are_counted_for_their_address_and_apart_from_sockets() {
        let caps = Caps { connections_per_address: 3, handshakes_per_address: 2, ..Caps::default() };
        let (connections, metrics, now) = (ConnectionLimiter::new(caps), Metrics::default(), Instant::now());
        let begin = |peer: &str| connections.begin(peer.parse().ok(), &metrics);
        let (first, second) = (begin("192.0.2.1").unwrap(), begin("::ffff:192.0.2.1").unwrap());
        assert_eq!(begin("192.0.2.1").unwrap_err(), TOO_MANY_HANDSHAKES);
        let neighbour = begin("192.0.2.2").unwrap();
        let exempt: Vec<_> = (0..10).map(|_| connections.begin(None, &metrics).unwrap()).collect();
        let sockets: Vec<_> =
            (0..3).map(|_| connections.take(block("192.0.2.1"), &metrics, now).unwrap()).collect();
        drop(first);
        let third = begin("192.0.2.1").unwrap();
        assert_eq!((connections.count(), metrics.handshakes.get()), (3, 13));
        drop((second, third, neighbour, exempt, sockets));
        assert_eq!(connections.accounts().handshakes.keys(), 0);
        assert_eq!(metrics.handshakes.get(), 0);
    }
}
