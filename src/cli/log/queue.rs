//! The queue between the threads that log and the writer thread. No thread waits for the reader of the log.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::metrics::Metrics;

/// The maximum size of the queued lines. Further lines are dropped and counted.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// How long the process waits for unwritten lines before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle of the queue; cloning shares the queue. Each call of `write` adds one line.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<QueueShared>);

struct QueueShared {
    lines: Mutex<Lines>,
    /// Notified when a line is queued or written.
    changed: Condvar,
    metrics: Metrics,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Vec<u8>>,
    /// The size of the queued lines, including the line that is being written.
    bytes: usize,
    /// Lines dropped since the last report in the log.
    unreported: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// The thread did not start.
    pub(super) fn start(output: impl Write + Send + 'static, metrics: &Metrics) -> io::Result<Self> {
        let shared =
            QueueShared { lines: Mutex::default(), changed: Condvar::new(), metrics: metrics.clone() };
        let queue = Self(Arc::new(shared));
        let writer = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || writer.write_lines(output))?;
        Ok(queue)
    }

    /// Waits until all lines are written, but no longer than [`FLUSH_TIMEOUT`], because the reader may have stopped.
    pub(super) fn wait_until_written(&self) {
        let mut lines = self.0.lines.lock();
        self.0.changed.wait_while_for(&mut lines, |lines| lines.bytes > 0, FLUSH_TIMEOUT);
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.0.lines.lock();
        if lines.bytes + line.len() > MAX_WAITING_BYTES {
            lines.unreported += 1;
            self.0.metrics.log_lines_dropped.inc();
            return;
        }
        lines.bytes += line.len();
        lines.waiting.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    fn write_lines(&self, mut output: impl Write) {
        loop {
            let line = self.next_line();
            let is_written = output.write_all(&line).is_ok();
            if let Some(dropped) = self.finish_line(line.len(), is_written) {
                log::warn!("{dropped} log lines were dropped because the log was not read fast enough");
            }
        }
    }

    fn next_line(&self) -> Vec<u8> {
        let mut lines = self.0.lines.lock();
        loop {
            if let Some(line) = lines.waiting.pop_front() {
                return line;
            }
            self.0.changed.wait(&mut lines);
        }
    }

    /// Subtracts a line from the queued bytes. Returns the number of dropped lines to report: none while writes fail,
    /// or while the queue is so full that the report itself might be dropped.
    fn finish_line(&self, bytes: usize, is_written: bool) -> Option<u64> {
        let mut lines = self.0.lines.lock();
        lines.bytes -= bytes;
        self.0.changed.notify_all();
        if !is_written {
            lines.unreported += 1;
            self.0.metrics.log_lines_dropped.inc();
            return None;
        }
        if lines.unreported == 0 || lines.bytes > MAX_WAITING_BYTES / 2 {
            return None;
        }
        Some(std::mem::take(&mut lines.unreported))
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    /// Does not wait: the logger calls it after each line.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Accepts a line only when the test receives it.
    struct Reader(mpsc::SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (LogQueue, Metrics, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::sync_channel(0);
        let metrics = Metrics::default();
        (LogQueue::start(Reader(sender), &metrics).unwrap(), metrics, receiver)
    }

    #[test]
    fn lines_are_written_in_order() {
        let (mut queue, metrics, written) = queue();
        for number in 0..100_u8 {
            queue.write_all(&[number]).unwrap();
        }
        for number in 0..100_u8 {
            assert_eq!(written.recv().unwrap(), [number]);
        }
        queue.wait_until_written();
        assert_eq!(metrics.log_lines_dropped.get(), 0);
    }

    #[test]
    fn lines_over_the_limit_are_dropped_and_counted() {
        let (mut queue, metrics, written) = queue();
        let line = vec![b'x'; MAX_WAITING_BYTES / 4];
        for _ in 0..10 {
            queue.write_all(&line).unwrap();
        }
        assert_eq!(metrics.log_lines_dropped.get(), 6);
        for _ in 0..4 {
            assert_eq!(written.recv().unwrap(), line);
        }
        queue.write_all(b"later").unwrap();
        assert_eq!(written.recv().unwrap(), b"later");
    }

    #[test]
    fn unwritable_lines_are_counted_and_nobody_waits() {
        let (mut queue, metrics, written) = queue();
        drop(written);
        queue.write_all(b"lost").unwrap();
        queue.wait_until_written();
        assert_eq!(metrics.log_lines_dropped.get(), 1);
    }
}
