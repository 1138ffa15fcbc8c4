//! Forwards one direction of one connection.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::{Control, Direction, Fault};

/// Why a connection ended before both sides closed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The proxy closed it.
    Cut,
    /// The proxy reset it.
    Reset,
    /// One of its sides reset it or no longer reads.
    ByPeer,
}

/// The most bytes buffered, unless a stall sets another bound.
const BUFFERED_MAX: usize = 1 << 20;
const READ_MAX: usize = 16 * 1024;

/// The bytes that were read and not yet written.
struct Buffered {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// The sender has closed. The close is forwarded after the last chunk.
    has_ended: bool,
    /// Bytes were dropped, so no later byte may be forwarded.
    has_lost: bool,
    /// Nothing is written before this time, to keep the rate.
    pause: Instant,
    /// The number of bytes to forward before the cut.
    allowance: usize,
}

/// Forwards the bytes of one direction, including their end.
pub(super) async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    control: &Control,
    direction: Direction,
) -> Result<(), Ended> {
    let mut faults = control.faults[direction as usize].subscribe();
    let mut buffered = Buffered::new();
    let mut buffer = vec![0; READ_MAX];
    let mut fault = buffered.begin(*faults.borrow_and_update())?;
    loop {
        if buffered.has_ended && buffered.bytes == 0 && fault.forwards() {
            // The receiver may be gone already.
            let _ = to.shutdown().await;
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = faults.changed() => fault = buffered.begin(*faults.borrow_and_update())?,
            written = buffered.write(&mut to, fault) => {
                let written = written?;
                control.forwarded[direction as usize].fetch_add(written, Ordering::SeqCst);
                buffered.written(written, fault)?;
            }
            read = from.read(&mut buffer), if buffered.accepts(fault) => match read {
                Ok(0) => buffered.has_ended = true,
                // Reads the fault again: it may have changed during the read.
                Ok(read) => buffered.push(&buffer[..read], *faults.borrow()),
                // During a black hole or a stall, a reset is not forwarded either.
                Err(_) if !fault.forwards() => buffered.has_lost = true,
                Err(_) => return Err(Ended::ByPeer),
            },
        }
    }
}

impl Fault {
    fn forwards(self) -> bool {
        !matches!(self, Self::Stall(_) | Self::BlackHole)
    }
}

impl Buffered {
    fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            bytes: 0,
            has_ended: false,
            has_lost: false,
            pause: Instant::now(),
            allowance: usize::MAX,
        }
    }

    /// Applies a changed fault.
    fn begin(&mut self, fault: Fault) -> Result<Fault, Ended> {
        self.pause = Instant::now();
        self.allowance = usize::MAX;
        match fault {
            Fault::Reset => return Err(Ended::Reset),
            _ if self.has_lost && fault.forwards() => return Err(Ended::Reset),
            Fault::CutAfter(0) => return Err(Ended::Cut),
            Fault::CutAfter(bytes) => self.allowance = bytes,
            Fault::BlackHole => {
                self.has_lost |= self.bytes > 0;
                self.chunks.clear();
                self.bytes = 0;
            }
            _ => {}
        }
        Ok(fault)
    }

    fn accepts(&self, fault: Fault) -> bool {
        let bound = if let Fault::Stall(bound) = fault { bound } else { BUFFERED_MAX };
        !self.has_ended && self.bytes < bound && (fault == Fault::BlackHole || !self.has_lost)
    }

    fn push(&mut self, bytes: &[u8], fault: Fault) {
        if fault == Fault::BlackHole {
            self.has_lost = true;
            return;
        }
        let delay = if let Fault::Delay(delay) = fault { delay } else { Duration::ZERO };
        self.bytes += bytes.len();
        self.chunks.push_back((Instant::now() + delay, bytes.to_vec()));
    }

    /// Waits until the first chunk is due and writes part of it. Dropping the future loses nothing.
    async fn write(&self, to: &mut WriteHalf<'_>, fault: Fault) -> Result<usize, Ended> {
        let Some((due, chunk)) = self.chunks.front().filter(|_| fault.forwards()) else {
            return pending().await;
        };
        sleep_until((*due).max(self.pause)).await;
        let most = match fault {
            Fault::Throttle(rate) => (rate / 50).max(1),
            _ => self.allowance,
        };
        to.write(&chunk[..chunk.len().min(most)]).await.map_err(|_| Ended::ByPeer)
    }

    fn written(&mut self, written: usize, fault: Fault) -> Result<(), Ended> {
        self.bytes -= written;
        let (_, chunk) = &mut self.chunks[0];
        chunk.drain(..written);
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        match fault {
            Fault::Throttle(rate) => {
                self.pause = Instant::now() + Duration::from_secs_f64(written as f64 / rate as f64);
            }
            Fault::CutAfter(_) => {
                self.allowance -= written;
                if self.allowance == 0 {
                    return Err(Ended::Cut);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
