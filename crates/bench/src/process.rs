//! CPU and memory of processes and threads, from `/proc` (Linux only).

use std::fs;
use std::path::Path;

/// The kernel counts the CPU of a process in hundredths of a second (`USER_HZ`, the same on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// The resources of a process, in total or between two samples. Unknown figures are NaN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResourceUsage {
    /// CPU in user space and in the kernel, in seconds, with a resolution of 0.01.
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// The sum of both, with a finer resolution if the kernel counts nanoseconds per thread.
    pub(crate) cpu: f64,
    /// Resident memory, in bytes.
    pub(crate) resident: f64,
}

impl ResourceUsage {
    pub(crate) const UNKNOWN: Self =
        Self { user: f64::NAN, system: f64::NAN, cpu: f64::NAN, resident: f64::NAN };

    /// Reads the usage of the process with this id; `None` without such a process or without `/proc`.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let (user, system) = cpu(&format!("/proc/{process}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = resident.split_whitespace().next()?.parse().ok()?;
        let cpu = cpu_of_threads(process).unwrap_or(user + system);
        Some(Self { user, system, cpu, resident: kib * 1024.0 })
    }

    /// The sum over these processes; unknown without a process, or if one of them has ended.
    pub(crate) fn of_all(processes: &[u32]) -> Self {
        let usages = processes.iter().map(|process| Self::of(*process).unwrap_or(Self::UNKNOWN));
        usages.reduce(Self::plus).unwrap_or(Self::UNKNOWN)
    }

    fn plus(self, other: Self) -> Self {
        let Self { user, system, cpu, resident } = self;
        Self {
            user: user + other.user,
            system: system + other.system,
            cpu: cpu + other.cpu,
            resident: resident + other.resident,
        }
    }

    /// The usage since an earlier sample.
    pub(crate) fn since(self, before: Self) -> Self {
        let Self { user, system, cpu, resident } = self;
        let resident = resident - before.resident;
        Self { user: user - before.user, system: system - before.system, cpu: cpu - before.cpu, resident }
    }
}

/// The CPU of all current threads of a process, in seconds. Ended threads are missing, but neither the gateway nor the
/// baseline ends threads under load.
fn cpu_of_threads(process: u32) -> Option<f64> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let cpu =
        threads.flatten().filter_map(|thread| nanoseconds(&thread.path().join("schedstat"))).sum::<f64>();
    (cpu > 0.0).then_some(cpu / 1e9)
}

/// The first number of a `schedstat` file: time on a processor.
fn nanoseconds(schedstat: &Path) -> Option<f64> {
    fs::read_to_string(schedstat).ok()?.split_whitespace().next()?.parse().ok()
}

/// User and system seconds of a process or thread, by its `stat` file.
fn cpu(path: &str) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(path).ok()?;
    // The first field after the name in parentheses is number 3 of proc(5). Fields 14 and 15 are user and system time.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

/// The id of the calling thread, for [`thread_cpu`].
pub(crate) fn this_thread() -> Option<u32> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    link.file_name()?.to_str()?.parse().ok()
}

/// The CPU of a thread of a process, in seconds.
pub(crate) fn thread_cpu(process: u32, thread: u32) -> Option<f64> {
    let folder = Path::new("/proc").join(process.to_string()).join("task").join(thread.to_string());
    match nanoseconds(&folder.join("schedstat")) {
        Some(cpu) if cpu > 0.0 => Some(cpu / 1e9),
        _ => cpu(&folder.join("stat").display().to_string()).map(|(user, system)| user + system),
    }
}

/// The number of cores.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average of the last minute.
pub(crate) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_for_existing_processes_only() {
        let process = ResourceUsage::of(std::process::id()).unwrap();
        assert!(process.resident > 100_000.0 && process.cpu < 3_600.0, "{process:?}");
        assert!(ResourceUsage::of(u32::MAX).is_none());
        assert!(thread_cpu(std::process::id(), this_thread().unwrap()).is_some());
        assert!(load_average().is_some());
    }
}
