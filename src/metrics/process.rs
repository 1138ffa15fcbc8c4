//! The process as the kernel sees it, under the names that Prometheus' own libraries use. Linux only.

use std::fs;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// `/proc` counts time in hundredths of a second (`USER_HZ`, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// The process now.
#[derive(Debug)]
struct Process {
    cpu_seconds: f64,
    /// Unix time.
    start_seconds: f64,
    resident_bytes: i64,
    virtual_bytes: i64,
    open_files: i64,
    max_files: i64,
}

/// The metrics of this process; none where there is no `/proc`.
pub(super) fn registry() -> Registry {
    let mut all = Registry::default();
    if let Some(process) = Process::read() {
        process.register(&mut all);
    }
    all
}

impl Process {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in parentheses, may contain any text. The first field after it is number 3 of proc(5).
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        let seconds = |number: usize| Some(fields.get(number - 3)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        let boot = line("/proc/stat", "btime ")?.parse::<f64>().ok()?;
        let bytes = |name| {
            Some(line("/proc/self/status", name)?.split_whitespace().next()?.parse::<i64>().ok()? * 1024)
        };
        Some(Self {
            cpu_seconds: seconds(14)? + seconds(15)?,
            start_seconds: boot + seconds(22)?,
            resident_bytes: bytes("VmRSS:")?,
            virtual_bytes: bytes("VmSize:")?,
            open_files: open_files()?,
            max_files: rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?.0.try_into().unwrap_or(i64::MAX),
        })
    }

    fn register(&self, all: &mut Registry) {
        let cpu = Counter::<f64>::default();
        cpu.inc_by(self.cpu_seconds);
        all.register_with_unit("process_cpu", "CPU time, user and system", Unit::Seconds, cpu);
        let start = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        start.set(self.start_seconds);
        all.register_with_unit("process_start_time", "Start time, Unix time", Unit::Seconds, start);
        let gauge = |value| {
            let gauge = Gauge::<i64, std::sync::atomic::AtomicI64>::default();
            gauge.set(value);
            gauge
        };
        all.register_with_unit(
            "process_resident_memory",
            "Resident memory",
            Unit::Bytes,
            gauge(self.resident_bytes),
        );
        all.register_with_unit(
            "process_virtual_memory",
            "Virtual memory",
            Unit::Bytes,
            gauge(self.virtual_bytes),
        );
        all.register("process_open_fds", "Open file descriptors", gauge(self.open_files));
        all.register("process_max_fds", "Limit of file descriptors", gauge(self.max_files));
    }
}

/// The rest of the line of a file that begins so.
fn line(path: &str, beginning: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(beginning)).map(|rest| rest.trim().to_owned())
}

fn open_files() -> Option<i64> {
    // From Linux 6.2 on the directory's size is their number, which is faster than counting 100 000 entries.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as i64),
        number => Some(number as i64),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_process_is_read_from_the_kernel() {
        let process = Process::read().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((0.0..600.0).contains(&(now - process.start_seconds)), "{process:?} at {now}");
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_files >= 3 && process.max_files > process.open_files, "{process:?}");
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(Process::read().unwrap().open_files > process.open_files - 3);
        drop(file);
    }
}
