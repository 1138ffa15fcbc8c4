//! The limit of open file descriptors, shared by sockets, handshakes, the admin port and Redis.

use std::io;

/// The descriptors that the process needs apart from its workers: listeners, Redis, files. Measured: 21.
const PROCESS_FDS: usize = 30;
/// The descriptors that a worker thread needs. Measured: 4.
const FDS_PER_WORKER: usize = 5;
/// The default of actix-server for the concurrent connections of a worker. Only connections in their handshake count.
const MAX_HANDSHAKES: usize = 25_600;

/// How many descriptors this process may open. The default is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdLimit {
    limit: usize,
    /// Descriptors reserved for everything except sockets and handshakes.
    reserved: usize,
}

impl Default for FdLimit {
    fn default() -> Self {
        Self { limit: usize::MAX, reserved: 0 }
    }
}

impl FdLimit {
    /// Raises the limit of the process as far as the system allows. Reserves descriptors for `workers` threads and for
    /// `admin_connections` connections of the admin port.
    pub fn raise(workers: usize, admin_connections: usize) -> io::Result<Self> {
        let limit = rlimit::increase_nofile_limit(u64::MAX)?;
        let reserved = PROCESS_FDS + FDS_PER_WORKER * workers + admin_connections;
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), reserved })
    }

    /// The number of descriptors; `usize::MAX` if unknown.
    pub fn limit(self) -> usize {
        self.limit
    }

    /// How many sockets fit under the limit, less the descriptors reserved for handshakes and everything else. At least
    /// a quarter of the limit, so that a very low limit still leaves sockets.
    pub fn sockets(self) -> usize {
        self.limit.saturating_sub(self.reserved + self.handshakes()).max(self.limit / 4)
    }

    /// How many connections may be in their handshake at a time. Further connections wait to be accepted, so that
    /// connections without a request cannot use up all descriptors.
    pub fn handshakes(self) -> usize {
        (self.limit / 8).clamp(8, MAX_HANDSHAKES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_handshakes_and_the_process_fit_under_the_limit() {
        for (limit, sockets, handshakes) in [
            (64, 16, 8),
            (200, 75, 25),
            (1_024, 796, 128),
            (20_000, 17_400, 2_500),
            (1_048_576, 1_022_876, 25_600),
        ] {
            let fd_limit = FdLimit { limit, reserved: 100 };
            assert_eq!((fd_limit.sockets(), fd_limit.handshakes()), (sockets, handshakes), "{limit}");
            assert!(fd_limit.sockets() + fd_limit.handshakes() < limit);
        }
        let unlimited = FdLimit::default();
        assert!(unlimited.sockets() > 1 << 40);
    }
}
