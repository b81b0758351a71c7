//! Reads what the kernel says about the machine.
//!
//! Counterpart in Kubernetes: cAdvisor's `machine` package. Invariant: a fact the machine does not tell is empty or zero, never
//! made up; only the size of the disk must be known.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{ENOUGH_DISK_BYTES, Live, RESERVED_DISK_PERCENT, RESERVED_MEMORY_BYTES};

/// What does not change while the machine is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Go's name of the architecture, `amd64`.
    pub architecture: String,
    /// Processors that are online.
    pub cpus: usize,
    /// Processes and threads the kernel allows at most.
    pub max_processes: u64,
    /// Size of the memory.
    pub memory_bytes: u64,
    /// Size of the swap space; `None` when there is none.
    pub swap_bytes: Option<u64>,
    /// Size of the file system that holds the kubelet's root.
    pub disk_bytes: u64,
    /// Bytes set aside as huge pages, by the size of a page.
    pub hugepages: BTreeMap<u64, u64>,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The firmware's identifier, or the machine's when it has none.
    pub system_uuid: String,
    /// New at every boot.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// `PRETTY_NAME` of `os-release`.
    pub os_image: String,
}

impl Facts {
    /// Reads the facts of this machine; `root` lies on the disk that counts.
    ///
    /// # Errors
    /// When the file system of `root` cannot be asked.
    pub fn read(root: &Path) -> io::Result<Self> {
        let meminfo = text("/proc/meminfo");
        let machine_id = text("/etc/machine-id");
        let firmware = text("/sys/class/dmi/id/product_uuid");
        let os_release = fs::read_to_string("/etc/os-release")
            .or_else(|_| fs::read_to_string("/usr/lib/os-release"));
        Ok(Self {
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            max_processes: max_processes(),
            cpus: count_cpus(&text("/sys/devices/system/cpu/online")),
            memory_bytes: meminfo_bytes(&meminfo, "MemTotal").unwrap_or_default(),
            swap_bytes: meminfo_bytes(&meminfo, "SwapTotal").filter(|bytes| *bytes > 0),
            disk_bytes: disk(root)?.0,
            hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
            system_uuid: if firmware.is_empty() { machine_id.clone() } else { firmware },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel_version: text("/proc/sys/kernel/osrelease"),
            os_image: pretty_name(&os_release.unwrap_or_default()),
        })
    }
}

/// Notes in `live` how much memory and disk are left now.
pub fn read_pressure(live: &mut Live, root: &Path) {
    let available = meminfo_bytes(&text("/proc/meminfo"), "MemAvailable");
    live.memory_pressure = available.is_some_and(|bytes| bytes < RESERVED_MEMORY_BYTES);
    live.disk_pressure = disk(root).is_ok_and(|(total, free)| lacks_disk(total, free));
}

fn lacks_disk(total: u64, free: u64) -> bool {
    free < (total / 100 * RESERVED_DISK_PERCENT).min(ENOUGH_DISK_BYTES)
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// Size and free bytes of a file system.
fn disk(root: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(root)?;
    Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Counts the processors of a list such as `0-3,6`.
/// The smaller of what the kernel can number and what it can hold.
fn max_processes() -> u64 {
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    limits.iter().filter_map(|path| text(path).parse().ok()).min().unwrap_or(u64::MAX)
}

fn count_cpus(list: &str) -> usize {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some((last + 1).saturating_sub(first))
    };
    match list.split(',').filter_map(count).sum() {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        cpus => cpus,
    }
}

fn pretty_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.unwrap_or("Linux").trim_matches(['"', '\'']).to_owned()
}

fn hugepages(directory: &Path) -> BTreeMap<u64, u64> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let size = |name: &str| -> Option<u64> {
        name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
    };
    let pages = entries.flatten().filter_map(|entry| {
        let page_bytes = size(entry.file_name().to_str()?)? << 10;
        let count: u64 =
            fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
        Some((page_bytes, page_bytes * count))
    });
    pages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        for (list, expected) in [("0", 1), ("0-3", 4), ("0-1,4,6-7", 5)] {
            assert_eq!(count_cpus(list), expected, "{list}");
        }
    }

    #[test]
    fn node_06_disk_is_short_below_a_tenth_unless_gibibytes_are_left() {
        let gib = 1 << 30;
        for (total, free, expected) in [
            (10 * gib, gib / 2, true),
            (10 * gib, 2 * gib, false),
            (252 * gib, 23 * gib, false),
            (252 * gib, 4 * gib, true),
        ] {
            assert_eq!(lacks_disk(total, free), expected, "{free} of {total}");
        }
    }

    #[test]
    fn meminfo_is_in_kibibytes() {
        let text = "MemTotal:       16 kB\nMemAvailable:    8 kB\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(16 << 10));
        assert_eq!(meminfo_bytes(text, "Mem"), None);
    }

    #[test]
    fn node_11_os_image_is_the_pretty_name() {
        assert_eq!(
            pretty_name("ID=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"),
            "Debian GNU/Linux 12"
        );
        assert_eq!(pretty_name(""), "Linux");
    }
}
