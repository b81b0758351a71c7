//! What containers and pods use.

use super::status::labels_match;
use super::{Container, Engine, Result, Sandbox, State, lock};
use crate::cgroups::Stats;
use k8s_cri::v1;

/// Shortest time over which a rate of CPU use means anything.
const MIN_RATE_NANOSECONDS: i64 = 100_000_000;

fn value(value: Option<u64>) -> Option<v1::UInt64Value> {
    value.map(|value| v1::UInt64Value { value })
}

fn memory(now: i64, stats: &Stats) -> v1::MemoryUsage {
    let available = stats
        .memory_limit_bytes
        .zip(stats.memory_working_set_bytes)
        .map(|(limit, used)| limit.saturating_sub(used));
    v1::MemoryUsage {
        timestamp: now,
        working_set_bytes: value(stats.memory_working_set_bytes),
        available_bytes: value(available),
        usage_bytes: value(stats.memory_usage_bytes),
        rss_bytes: value(stats.memory_rss_bytes),
        page_faults: value(stats.page_faults),
        major_page_faults: value(stats.major_page_faults),
    }
}

/// CPU nanoseconds per second between two samples (time, CPU time), if they are far enough apart.
fn rate(earlier: (i64, u64), later: (i64, u64)) -> Option<u64> {
    let elapsed = later.0 - earlier.0;
    if elapsed < MIN_RATE_NANOSECONDS {
        return None;
    }
    let used = u128::from(later.1.saturating_sub(earlier.1));
    u64::try_from(used * 1_000_000_000 / elapsed.unsigned_abs() as u128).ok()
}

/// The interfaces in the text of `/proc/PID/net/dev`, but for `lo`.
fn interfaces(text: &str) -> Vec<v1::NetworkInterfaceUsage> {
    let interface = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let at = |index: usize| value(counters.get(index).copied());
        let name = name.trim().to_owned();
        (name != "lo").then(|| v1::NetworkInterfaceUsage {
            name,
            rx_bytes: at(0),
            rx_errors: at(2),
            tx_bytes: at(8),
            tx_errors: at(10),
        })
    };
    text.lines().skip(2).filter_map(interface).collect()
}

impl Engine {
    /// What a container uses; after its end only the disk.
    pub(crate) fn container_stats(&self, container: &Container) -> v1::ContainerStats {
        let now = crate::shim::now();
        let record = container.record();
        let running = matches!(container.state(), State::Running { .. });
        let stats = if running { self.cgroups.stats(&record.cgroup) } else { Stats::default() };
        let cpu = stats.cpu_nanoseconds.map(|used| {
            let mut last = lock(&container.last_cpu);
            let nano_cores = last.and_then(|last| rate(last, (now, used)));
            if last.is_none() || nano_cores.is_some() {
                *last = Some((now, used));
            }
            v1::CpuUsage {
                timestamp: now,
                usage_core_nano_seconds: value(Some(used)),
                usage_nano_cores: value(nano_cores),
            }
        });
        let layer = self.snapshots.usage(&container.id).ok().map(|usage| v1::FilesystemUsage {
            timestamp: now,
            fs_id: Some(v1::FilesystemIdentifier {
                mountpoint: self.images.root().to_string_lossy().into_owned(),
            }),
            used_bytes: value(Some(usage.bytes)),
            inodes_used: value(Some(usage.inodes)),
        });
        v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu,
            memory: running.then(|| memory(now, &stats)),
            writable_layer: layer,
            swap: stats.swap_usage_bytes.map(|used| v1::SwapUsage {
                timestamp: now,
                swap_available_bytes: None,
                swap_usage_bytes: value(Some(used)),
            }),
        }
    }

    /// What a pod uses.
    pub(crate) fn sandbox_stats(&self, sandbox: &Sandbox) -> v1::PodSandboxStats {
        let now = crate::shim::now();
        let record = sandbox.record();
        let stats = self.cgroups.stats(&record.cgroup);
        let containers = self.containers_of(&sandbox.id);
        let containers: Vec<_> =
            containers.iter().filter(|c| matches!(c.state(), State::Running { .. })).collect();
        let network = record
            .shim_pid
            .filter(|_| sandbox.is_ready() && !super::sandboxes::host_network(&sandbox.config));
        let interfaces = network
            .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok())
            .map(|text| interfaces(&text));
        v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu: stats.cpu_nanoseconds.map(|used| v1::CpuUsage {
                    timestamp: now,
                    usage_core_nano_seconds: value(Some(used)),
                    usage_nano_cores: None,
                }),
                memory: Some(memory(now, &stats)),
                network: interfaces.map(|interfaces| v1::NetworkUsage {
                    timestamp: now,
                    default_interface: interfaces.first().cloned(),
                    interfaces,
                }),
                process: stats.processes.map(|count| v1::ProcessUsage {
                    timestamp: now,
                    process_count: value(Some(count)),
                }),
                containers: containers.iter().map(|c| self.container_stats(c)).collect(),
            }),
            windows: None,
        }
    }

    /// Stats of the running containers that `filter` lets through. Blocking: walks their layers.
    pub(crate) fn list_container_stats(
        &self,
        filter: Option<&v1::ContainerStatsFilter>,
    ) -> Vec<v1::ContainerStats> {
        let containers: Vec<_> = lock(&self.known).containers.values().cloned().collect();
        let wanted = |c: &Container| {
            filter.is_none_or(|f| {
                c.id.starts_with(&f.id)
                    && c.record().sandbox.starts_with(&f.pod_sandbox_id)
                    && labels_match(&f.label_selector, &c.config.labels)
            })
        };
        let running =
            containers.iter().filter(|c| matches!(c.state(), State::Running { .. }) && wanted(c));
        running.map(|c| self.container_stats(c)).collect()
    }

    /// Stats of the ready sandboxes that `filter` lets through. Blocking.
    pub(crate) fn list_sandbox_stats(
        &self,
        filter: Option<&v1::PodSandboxStatsFilter>,
    ) -> Result<Vec<v1::PodSandboxStats>> {
        let sandboxes: Vec<_> = lock(&self.known).sandboxes.values().cloned().collect();
        let wanted = |s: &Sandbox| {
            filter.is_none_or(|f| {
                s.id.starts_with(&f.id) && labels_match(&f.label_selector, &s.config.labels)
            })
        };
        Ok(sandboxes
            .iter()
            .filter(|s| s.is_ready() && wanted(s))
            .map(|s| self.sandbox_stats(s))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_needs_time_between_samples() {
        assert_eq!(rate((0, 0), (1_000_000_000, 500_000_000)), Some(500_000_000));
        assert_eq!(rate((0, 0), (1_000, 500)), None);
    }

    #[test]
    fn interfaces_leave_out_lo() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets errs\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 0 0 0 0 0 40 5 6 0 0 0 0 0\n";
        let found = interfaces(text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "eth0");
        assert_eq!(found[0].tx_bytes, Some(v1::UInt64Value { value: 40 }));
        assert_eq!(found[0].tx_errors, Some(v1::UInt64Value { value: 6 }));
    }
}
