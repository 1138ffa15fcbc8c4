//! File descriptors: each socket needs one, and so do Redis, the admin port and handshakes.

use std::io;

/// What the process itself needs, beside its workers: listeners, Redis, files.
const PROCESS_FDS: usize = 30;
/// What a worker thread needs. Measured: 21 for the process and 4 for each worker.
const FDS_PER_WORKER: usize = 5;
/// As many connections a worker of actix-server carries at most that are not sockets yet, unless told otherwise.
const MAX_HANDSHAKES: usize = 25_600;

/// How many descriptors this process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdLimit {
    limit: usize,
    /// How many of them are kept for other things than sockets and handshakes.
    reserved: usize,
}

/// No limit that is known.
impl Default for FdLimit {
    fn default() -> Self {
        Self { limit: usize::MAX, reserved: 0 }
    }
}

impl FdLimit {
    /// Raises the process's limit as far as it may, and returns it. Some are kept for so many worker threads, and
    /// for so many connections of the admin port.
    pub fn raise(workers: usize, admin_connections: usize) -> io::Result<Self> {
        let limit = rlimit::increase_nofile_limit(u64::MAX)?;
        let reserved = PROCESS_FDS + FDS_PER_WORKER * workers + admin_connections;
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), reserved })
    }

    /// The limit.
    pub fn limit(self) -> usize {
        self.limit
    }

    /// How many sockets there is room for, with a reserve for the process itself, its admin port and handshakes. Under a very
    /// low limit the reserve is cut, so that it is still a gateway.
    pub fn sockets(self) -> usize {
        self.limit.saturating_sub(self.reserved + self.handshakes()).max(self.limit / 4)
    }

    /// How many connections may be in their handshake at a time. Further ones wait to be accepted, so that
    /// connections that say nothing cannot use up all descriptors.
    pub fn handshakes(self) -> usize {
        (self.limit / 8).clamp(8, MAX_HANDSHAKES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_handshakes_and_the_process_itself_fit_under_the_limit() {
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
