//! The memory of the kernel and the processes' proportional share of memory, from `/proc` (Linux only).

use std::fs;

/// Caches of the kernel that grow with the measurement itself (`/proc`) or with a firewall, not with sockets.
const FOREIGN_CACHES: [&str; 2] = ["proc_inode_cache", "nf_conntrack"];

/// The kernel's memory for objects such as sockets, in bytes: the sum of `/proc/slabinfo`, which only root may read,
/// otherwise `Slab` of `/proc/meminfo`. NaN if unknown. Only differences between two values are meaningful.
pub(crate) fn kernel() -> f64 {
    match fs::read_to_string("/proc/slabinfo") {
        Ok(page) => slab(&page),
        Err(_) => meminfo("Slab:"),
    }
}

fn slab(page: &str) -> f64 {
    let caches = page.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let objects: f64 = words.nth(1)?.parse().ok()?;
        let size: f64 = words.next()?.parse().ok()?;
        (!FOREIGN_CACHES.iter().any(|foreign| name.starts_with(foreign))).then_some(objects * size)
    });
    caches.sum()
}

/// The memory of the machine that processes can still get, in bytes. NaN if unknown.
pub(crate) fn available() -> f64 {
    meminfo("MemAvailable:")
}

fn meminfo(name: &str) -> f64 {
    fs::read_to_string("/proc/meminfo").map_or(f64::NAN, |page| kibibytes(&page, name))
}

/// The memory of these processes, in bytes. A page that several processes share counts once. NaN if unknown.
pub(crate) fn proportional(processes: &[u32]) -> f64 {
    let of = |process: &u32| {
        let page = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
        page.map_or(f64::NAN, |page| kibibytes(&page, "Pss:"))
    };
    processes.iter().map(of).sum()
}

/// The value of a line such as `Slab:  12 kB`, in bytes.
fn kibibytes(page: &str, name: &str) -> f64 {
    let read =
        || page.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok();
    read().map_or(f64::NAN, |kib: f64| kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_counts_objects_but_not_those_of_the_measurement() {
        let page = "slabinfo - version: 2.1\n\
            # name            <active_objs> <num_objs> <objsize> <objperslab>\n\
            proc_inode_cache  9 9 700 12 2 : tunables 0 0 0\n\
            TCP               3 10 2304 14 8 : tunables 0 0 0\n\
            sock_inode_cache  1 2 832 19 4 : tunables 0 0 0\n";
        assert!((slab(page) - (23_040.0 + 1_664.0)).abs() < 0.5);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_this_machine_is_read() {
        assert!(kernel() > 1e6 && available() > 1e6);
        assert!(proportional(&[std::process::id()]) > 1e5);
        assert!(proportional(&[u32::MAX]).is_nan());
    }
}
