//! Metrics of the process from `/proc`, with the names that Prometheus' client libraries use. Linux only.

use std::{fmt, fs};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// `/proc` counts time in hundredths of a second (`USER_HZ`, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// A sample of this process.
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

/// Reads `/proc` for each scrape; writes nothing where there is no `/proc`.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut all: DescriptorEncoder<'_>) -> fmt::Result {
        Process::read().map_or(Ok(()), |process| process.encode(&mut all))
    }
}

impl Process {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The process name, in parentheses, may contain any text. The first field after it is number 3 of proc(5).
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

    fn encode(&self, all: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let mut add = |name, help, unit, metric: &dyn EncodeMetric| {
            metric.encode(all.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        add("process_cpu", "CPU time, user and system.", seconds, &ConstCounter::new(self.cpu_seconds))?;
        let start = ConstGauge::new(self.start_seconds);
        add("process_start_time", "Start time, Unix time.", seconds, &start)?;
        let resident = ConstGauge::new(self.resident_bytes);
        add("process_resident_memory", "Resident memory.", bytes, &resident)?;
        add("process_virtual_memory", "Virtual memory.", bytes, &ConstGauge::new(self.virtual_bytes))?;
        add("process_open_fds", "Open file descriptors.", None, &ConstGauge::new(self.open_files))?;
        add("process_max_fds", "Limit of file descriptors.", None, &ConstGauge::new(self.max_files))
    }
}

/// The rest of the first line of a file with this beginning.
fn line(path: &str, beginning: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(beginning)).map(|rest| rest.trim().to_owned())
}

fn open_files() -> Option<i64> {
    // Since Linux 6.2 the size of the directory is the number of its entries; counting 100 000 entries is slow.
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
    fn process_is_read_from_the_kernel() {
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
