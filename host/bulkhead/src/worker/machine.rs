//! What the machine, or the container, lets this process have.
//!
//! Must never: fail where the system does not say.

use std::fs::read_to_string;

/// Where version 2 of control groups says how much memory there may be: <https://docs.kernel.org/admin-guide/cgroup-v2.html>. In a container
/// that is its own limit.
const CGROUP_MAX: &str = "/sys/fs/cgroup/memory.max";

/// Half of the memory that this process may use: the smaller of the machine's and its control group's. No bound where neither is known.
pub(crate) fn half_of_memory() -> u64 {
    let group = read_to_string(CGROUP_MAX).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    [group, machine].into_iter().flatten().min().map_or(u64::MAX, |bytes| bytes / 2)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_how_much_memory_it_has() {
        assert_eq!(total("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), Some(24_576_000 * 1024));
        assert_eq!(total("MemFree: 1 kB"), None);
        assert!(half_of_memory() > 0);
    }
}
