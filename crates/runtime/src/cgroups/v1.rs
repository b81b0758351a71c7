//! cgroup v1: one hierarchy per controller, and, on hybrid machines, the unified hierarchy beside them for `cgroup.kill`.

use super::devices::v1_rule;
use super::{
    CgroupError, Cgroups, Stats, ancestry, below, io_error, kill_tree, make_directory,
    open_directory, open_for_write, read_key, read_number, read_pids, remove_directory,
    remove_tree, write,
};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use rustix::fd::OwnedFd;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What v1 shows for "no limit": the largest multiple of the page size; anything above this is none.
const UNLIMITED: u64 = 1 << 60;

/// The v1 driver.
pub struct V1 {
    hierarchies: Vec<(String, PathBuf)>,
    unified: Option<PathBuf>,
}

impl V1 {
    /// Over the given hierarchies: controllers (comma-separated) and mount points.
    pub fn new(hierarchies: Vec<(String, PathBuf)>, unified: Option<PathBuf>) -> Self {
        Self { hierarchies, unified }
    }

    fn root(&self, controller: &str) -> Option<&Path> {
        self.hierarchies
            .iter()
            .find(|(names, _)| names.split(',').any(|n| n == controller))
            .map(|(_, root)| root.as_path())
    }

    fn directory(&self, controller: &str, path: &str) -> Result<PathBuf, CgroupError> {
        let root = self.root(controller).ok_or_else(|| {
            CgroupError::Unsupported(format!("controller {controller} is not mounted"))
        })?;
        below(root, path)
    }

    fn file(&self, controller: &str, path: &str, file: &str) -> Option<PathBuf> {
        self.directory(controller, path).ok().map(|d| d.join(file))
    }

    fn roots(&self) -> impl Iterator<Item = &Path> {
        self.hierarchies.iter().map(|(_, root)| root.as_path()).chain(self.unified.as_deref())
    }

    fn apply_cpu(&self, path: &str, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        if cpu.shares().is_some() || cpu.quota().is_some() || cpu.period().is_some() {
            let directory = self.directory("cpu", path)?;
            if let Some(shares) = cpu.shares() {
                write(&directory.join("cpu.shares"), &shares.to_string())?;
            }
            if let Some(period) = cpu.period() {
                write(&directory.join("cpu.cfs_period_us"), &period.to_string())?;
            }
            if let Some(quota) = cpu.quota() {
                write(&directory.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
        }
        for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(value) = value {
                write(&self.directory("cpuset", path)?.join(file), value)?;
            }
        }
        Ok(())
    }

    /// Sets memory and memory+swap in the order that the kernel accepts: the smaller must not be raised over the larger.
    fn apply_memory(&self, path: &str, memory: &LinuxMemory) -> Result<(), CgroupError> {
        let Some(limit) = memory.limit() else { return Ok(()) };
        let directory = self.directory("memory", path)?;
        let (limit_file, swap_file) = (
            directory.join("memory.limit_in_bytes"),
            directory.join("memory.memsw.limit_in_bytes"),
        );
        let swap = memory.swap().filter(|_| swap_file.exists());
        let Some(swap) = swap else { return write(&limit_file, &limit.to_string()) };
        let current = read_number(&swap_file).unwrap_or(u64::MAX);
        let raising = limit < 0 || u64::try_from(limit).is_ok_and(|limit| limit > current);
        if raising {
            write(&swap_file, &swap.to_string())?;
            write(&limit_file, &limit.to_string())
        } else {
            write(&limit_file, &limit.to_string())?;
            write(&swap_file, &swap.to_string())
        }
    }

    /// A new cpuset admits no process until it names CPUs and nodes: take the parent's.
    fn inherit_cpuset(&self, path: &str) -> Result<(), CgroupError> {
        let Some(root) = self.root("cpuset") else { return Ok(()) };
        let directory = below(root, path)?;
        let Some(parent) = directory.parent() else { return Ok(()) };
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (own, above) = (directory.join(file), parent.join(file));
            let read =
                |path: &Path| std::fs::read_to_string(path).map_err(io_error(path, "reading"));
            if read(&own)?.trim().is_empty() {
                write(&own, read(&above)?.trim())?;
            }
        }
        Ok(())
    }
}

impl Cgroups for V1 {
    fn create(&self, path: &str) -> Result<Vec<String>, CgroupError> {
        let mut made = BTreeSet::new();
        for step in ancestry(path) {
            for root in self.roots() {
                if make_directory(&below(root, &step)?)? {
                    made.insert(step.clone());
                }
            }
            if made.contains(&step) {
                self.inherit_cpuset(&step)?;
            }
        }
        Ok(made.into_iter().collect())
    }

    fn apply(&self, path: &str, resources: &LinuxResources) -> Result<(), CgroupError> {
        for rule in resources.devices().iter().flatten() {
            let directory = self.directory("devices", path)?;
            let file = if rule.allow() { "devices.allow" } else { "devices.deny" };
            write(&directory.join(file), &v1_rule(rule))?;
        }
        if let Some(memory) = resources.memory() {
            self.apply_memory(path, memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            self.apply_cpu(path, cpu)?;
        }
        if let Some(pids) = resources.pids() {
            let limit = if pids.limit() > 0 { pids.limit().to_string() } else { "max".into() };
            write(&self.directory("pids", path)?.join("pids.max"), &limit)?;
        }
        for huge in resources.hugepage_limits().iter().flatten() {
            let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size());
            write(&self.directory("hugetlb", path)?.join(file), &huge.limit().to_string())?;
        }
        match resources.unified() {
            Some(unified) if !unified.is_empty() => {
                Err(CgroupError::Unsupported("unified resources need cgroup v2".into()))
            }
            _ => Ok(()),
        }
    }

    fn clone_into(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError> {
        self.unified.as_deref().map(|root| open_directory(&below(root, path)?)).transpose()
    }

    /// `tasks`, not `cgroup.procs`: for a thread that moves itself the kernel takes no global lock, which costs a millisecond a hierarchy.
    fn join_files(&self, path: &str) -> Result<Vec<OwnedFd>, CgroupError> {
        self.hierarchies
            .iter()
            .map(|(_, root)| open_for_write(&below(root, path)?.join("tasks")))
            .collect()
    }

    fn oom_counter(&self, path: &str) -> Option<OwnedFd> {
        std::fs::File::open(self.file("memory", path, "memory.oom_control")?).ok().map(Into::into)
    }

    fn kill(&self, path: &str) -> Result<(), CgroupError> {
        if let Some(unified) = &self.unified {
            let file = below(unified, path)?.join("cgroup.kill");
            if file.exists() {
                return write(&file, "1");
            }
        }
        let Some((_, root)) = self.hierarchies.first() else { return Ok(()) };
        kill_tree(&below(root, path)?);
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), CgroupError> {
        self.roots().try_for_each(|root| remove_tree(&below(root, path)?))
    }

    fn remove_empty(&self, path: &str) -> Result<(), CgroupError> {
        self.roots().try_for_each(|root| remove_directory(&below(root, path)?))
    }

    fn stats(&self, path: &str) -> Stats {
        let number = |controller, file| read_number(&self.file(controller, path, file)?);
        let memory = |key| read_key(&self.file("memory", path, "memory.stat")?, key);
        let usage = number("memory", "memory.usage_in_bytes");
        let swap = number("memory", "memory.memsw.usage_in_bytes")
            .zip(usage)
            .map(|(both, memory)| both.saturating_sub(memory));
        Stats {
            cpu_nanoseconds: number("cpuacct", "cpuacct.usage"),
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage
                .map(|usage| usage.saturating_sub(memory("total_inactive_file").unwrap_or(0))),
            memory_rss_bytes: memory("total_rss"),
            memory_limit_bytes: number("memory", "memory.limit_in_bytes")
                .filter(|limit| *limit < UNLIMITED),
            page_faults: memory("total_pgfault"),
            major_page_faults: memory("total_pgmajfault"),
            swap_usage_bytes: swap,
            processes: number("pids", "pids.current"),
        }
    }

    fn pids(&self, path: &str) -> Vec<i32> {
        let Some((_, root)) = self.hierarchies.first() else { return Vec::new() };
        below(root, path).map(|directory| read_pids(&directory)).unwrap_or_default()
    }
}
