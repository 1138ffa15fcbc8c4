//! Limits sockets and handshakes: in the process, for one address, in a second.
//!
//! One lock serves the whole process, because connects are rare compared with deliveries. A cap of 0 needs no memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_http::StatusCode;
use parking_lot::Mutex;

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
    /// New sockets in a second, over all workers. All of them may come at once.
    pub connects_per_second: u32,
    /// New sockets of one client address in a second.
    pub connects_per_second_per_address: u32,
}

const TOO_MANY_CONNECTIONS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too_many_connections",
    headers: &[("retry-after", "5")],
};
const TOO_MANY_FROM_ADDRESS: UpgradeRefusal = UpgradeRefusal {
    status: StatusCode::TOO_MANY_REQUESTS,
    reason: "too_many_from_address",
    headers: &[("retry-after", "10")],
};
/// Sent before anything of a request is read.
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

/// The caps and counts of the whole process. Clones share them.
#[derive(Debug, Clone)]
pub struct ConnectionLimiter(Arc<LimiterState>);

#[derive(Debug)]
struct LimiterState {
    open: AtomicUsize,
    caps: Caps,
    counts: Mutex<LimiterCounts>,
}

/// The permit of one socket. Dropping it releases its counts.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: ConnectionLimiter,
    metrics: Metrics,
    prefix: Option<ClientPrefix>,
}

/// The permit of one connection in its handshake. Dropping it releases its counts.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    limiter: ConnectionLimiter,
    metrics: Metrics,
    prefix: Option<ClientPrefix>,
}

impl ConnectionLimiter {
    /// A limiter with these caps and no sockets.
    pub fn new(caps: Caps) -> Self {
        Self(Arc::new(LimiterState {
            open: AtomicUsize::new(0),
            caps,
            counts: Mutex::new(LimiterCounts::new(&caps)),
        }))
    }

    /// A permit for one more connection in its handshake, or the reason for a refusal. `peer` is `None` if that address
    /// may represent many clients.
    pub(super) fn begin_handshake(
        &self,
        peer: Option<IpAddr>,
        metrics: &Metrics,
    ) -> Result<HandshakePermit, UpgradeRefusal> {
        let caps = &self.0.caps;
        let prefix = peer.filter(|_| caps.handshakes_per_address != 0).map(ClientPrefix::of);
        if let Some(prefix) = prefix {
            let handshakes = &mut self.0.counts.lock().handshakes;
            if !handshakes.has_room(&prefix, caps.handshakes_per_address) {
                return Err(TOO_MANY_HANDSHAKES);
            }
            handshakes.add(prefix);
        }
        metrics.handshakes.inc();
        Ok(HandshakePermit { limiter: self.clone(), metrics: metrics.clone(), prefix })
    }

    /// A permit for one more socket, or the reason for a refusal. `client` is `None` if the client's address is
    /// unknown.
    pub(super) fn acquire(
        &self,
        client: Option<ClientPrefix>,
        metrics: &Metrics,
        now: Instant,
    ) -> Result<ConnectionPermit, UpgradeRefusal> {
        let caps = &self.0.caps;
        metrics.connections.inc();
        let before = self.0.open.fetch_add(1, Ordering::Relaxed);
        // A refusal below drops the permit, which releases the counts it holds at that point.
        let mut permit = ConnectionPermit { limiter: self.clone(), metrics: metrics.clone(), prefix: None };
        if caps.connections != 0 && before >= caps.connections {
            return Err(TOO_MANY_CONNECTIONS);
        }
        if !caps.needs_counts() {
            return Ok(permit);
        }
        self.0.counts.lock().acquire(client, caps, now)?;
        permit.prefix = client.filter(|_| caps.connections_per_address != 0);
        Ok(permit)
    }

    /// How many sockets are open.
    pub fn count(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }
}

impl Caps {
    /// Whether a cap needs the counts by address or a rate.
    fn needs_counts(&self) -> bool {
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
        if let Some(prefix) = self.prefix {
            self.limiter.0.counts.lock().open.remove(&prefix);
        }
        self.limiter.0.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        if let Some(prefix) = self.prefix {
            self.limiter.0.counts.lock().handshakes.remove(&prefix);
        }
        self.metrics.handshakes.dec();
    }
}

/// The period of `connects_per_second`.
const SECOND: Duration = Duration::from_secs(1);

/// The counts by address and the rates. The caller passes the time.
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

    /// Counts a new socket. A refusal changes nothing.
    fn acquire(
        &mut self,
        client: Option<ClientPrefix>,
        caps: &Caps,
        now: Instant,
    ) -> Result<(), UpgradeRefusal> {
        let counted = client.filter(|_| caps.connections_per_address != 0);
        if counted.is_some_and(|client| !self.open.has_room(&client, caps.connections_per_address)) {
            return Err(TOO_MANY_FROM_ADDRESS);
        }
        if client.is_some_and(|client| !self.connects_by_address.has_room(&client, now)) {
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

    fn prefix(address: &str) -> Option<ClientPrefix> {
        Some(ClientPrefix::of(address.parse().unwrap()))
    }

    #[test]
    fn a_closed_socket_frees_the_cap_of_its_address() {
        let caps = Caps { connections_per_address: 2, ..Caps::default() };
        let (mut counts, now) = (LimiterCounts::new(&caps), Instant::now());
        let one = prefix("192.0.2.1");
        assert_eq!(counts.acquire(one, &caps, now), Ok(()));
        assert_eq!(counts.acquire(one, &caps, now), Ok(()));
        assert_eq!(counts.acquire(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        assert_eq!(counts.acquire(prefix("192.0.2.2"), &caps, now), Ok(()), "another address");
        counts.open.remove(&one.unwrap());
        assert_eq!(counts.acquire(one, &caps, now), Ok(()));
        assert_eq!(counts.acquire(one, &caps, now), Err(TOO_MANY_FROM_ADDRESS));
    }

    #[test]
    fn a_burst_of_one_second_then_an_even_rate() {
        for per_second in [1, 3, 7, 2_000] {
            let caps = Caps { connects_per_second: per_second, ..Caps::default() };
            let (mut counts, start) = (LimiterCounts::new(&caps), Instant::now());
            let many = |counts: &mut LimiterCounts, now| {
                (0..2 * per_second).filter(|_| counts.acquire(None, &caps, now).is_ok()).count() as u32
            };
            assert_eq!(many(&mut counts, start), per_second);
            assert_eq!(counts.acquire(None, &caps, start), Err(TOO_MANY_CONNECTS));
            let one = Duration::from_secs(1) / per_second;
            assert_eq!(many(&mut counts, start + one), 1);
            assert_eq!(many(&mut counts, start + one), 0);
            assert_eq!(many(&mut counts, start + Duration::from_secs(3_600)), per_second, "no larger burst");
            // A clock that stops or goes back adds nothing.
            assert_eq!(many(&mut counts, start), 0);
        }
    }

    #[test]
    fn a_refusal_by_address_leaves_the_total_rate_unchanged() {
        let caps = Caps { connections_per_address: 1, connects_per_second: 2, ..Caps::default() };
        let (mut counts, now) = (LimiterCounts::new(&caps), Instant::now());
        assert_eq!(counts.acquire(prefix("192.0.2.1"), &caps, now), Ok(()));
        for _ in 0..10 {
            assert_eq!(counts.acquire(prefix("192.0.2.1"), &caps, now), Err(TOO_MANY_FROM_ADDRESS));
        }
        assert_eq!(counts.acquire(prefix("192.0.2.2"), &caps, now), Ok(()));
        assert_eq!(counts.acquire(prefix("192.0.2.3"), &caps, now), Err(TOO_MANY_CONNECTS));
        assert_eq!(counts.open.keys(), 2, "a refused client has no entry");
    }

    #[test]
    fn a_flood_from_one_address_leaves_others_their_rate() {
        let caps = Caps { connects_per_second: 10, connects_per_second_per_address: 4, ..Caps::default() };
        let (mut counts, now) = (LimiterCounts::new(&caps), Instant::now());
        let flood = |counts: &mut LimiterCounts, now| {
            (0..100).filter(|_| counts.acquire(prefix("192.0.2.1"), &caps, now).is_ok()).count()
        };
        assert_eq!(flood(&mut counts, now), 4);
        assert_eq!(counts.acquire(prefix("192.0.2.1"), &caps, now), Err(TOO_MANY_CONNECTS_FROM_ADDRESS));
        let others =
            (2..100).filter(|last| counts.acquire(prefix(&format!("192.0.2.{last}")), &caps, now).is_ok());
        assert_eq!(others.count(), 6, "the rest of the total rate");
        assert_eq!(counts.acquire(prefix("192.0.2.200"), &caps, now), Err(TOO_MANY_CONNECTS));
        // A refusal by the total rate leaves the rate of the address unchanged.
        assert_eq!(flood(&mut counts, now + SECOND), 4);
        assert_eq!(counts.open.keys(), 0, "sockets have no cap in this test");
    }

    #[test]
    fn a_cap_of_zero_limits_nothing_and_keeps_no_counts() {
        let (limiter, metrics, now) = (ConnectionLimiter::default(), Metrics::default(), Instant::now());
        let acquire = || limiter.acquire(prefix("192.0.2.1"), &metrics, now).unwrap();
        let permits: Vec<_> = (0..10_000).map(|_| acquire()).collect();
        assert_eq!(limiter.count(), 10_000);
        assert_eq!(limiter.0.counts.lock().open.keys(), 0);
        assert_eq!(limiter.0.counts.lock().connects_by_address.keys(), 0);
        drop(permits);
        assert_eq!((limiter.count(), metrics.connections.get()), (0, 0));
    }

    #[test]
    fn a_refusal_releases_its_counts() {
        let caps = Caps { connections: 3, connections_per_address: 2, ..Caps::default() };
        let (limiter, metrics, now) = (ConnectionLimiter::new(caps), Metrics::default(), Instant::now());
        let acquire = |address: &str| limiter.acquire(prefix(address), &metrics, now);
        let (first, _second) = (acquire("192.0.2.1").unwrap(), acquire("192.0.2.1").unwrap());
        assert_eq!(acquire("192.0.2.1").unwrap_err(), TOO_MANY_FROM_ADDRESS);
        assert_eq!(limiter.count(), 2);
        let _third = acquire("192.0.2.2").unwrap();
        assert_eq!(acquire("192.0.2.3").unwrap_err(), TOO_MANY_CONNECTIONS);
        assert_eq!((limiter.count(), metrics.connections.get()), (3, 3));
        drop(first);
        acquire("192.0.2.1").unwrap();
    }

    #[test]
    fn handshakes_count_by_address_and_separately_from_sockets() {
        let caps = Caps { connections_per_address: 3, handshakes_per_address: 2, ..Caps::default() };
        let (limiter, metrics, now) = (ConnectionLimiter::new(caps), Metrics::default(), Instant::now());
        let begin = |peer: &str| limiter.begin_handshake(peer.parse().ok(), &metrics);
        let (first, second) = (begin("192.0.2.1").unwrap(), begin("::ffff:192.0.2.1").unwrap());
        assert_eq!(begin("192.0.2.1").unwrap_err(), TOO_MANY_HANDSHAKES);
        let other = begin("192.0.2.2").unwrap();
        let exempt: Vec<_> = (0..10).map(|_| limiter.begin_handshake(None, &metrics).unwrap()).collect();
        let sockets: Vec<_> =
            (0..3).map(|_| limiter.acquire(prefix("192.0.2.1"), &metrics, now).unwrap()).collect();
        drop(first);
        let third = begin("192.0.2.1").unwrap();
        assert_eq!((limiter.count(), metrics.handshakes.get()), (3, 13));
        drop((second, third, other, exempt, sockets));
        assert_eq!(limiter.0.counts.lock().handshakes.keys(), 0);
        assert_eq!(metrics.handshakes.get(), 0);
    }
}
