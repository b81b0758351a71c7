//! cgroup v2: one hierarchy for all controllers. Tested on a directory that looks like one; see ARCHITECTURE.md.

use super::{
    CgroupError, Cgroups, Stats, ancestry, below, devices, io_error, kill_tree, make_directory,
    open_directory, read_key, read_number, read_pids, remove_directory, remove_tree, write,
};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use rustix::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Controllers that limits of containers need, as far as the machine has them.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/// The v2 driver.
pub struct V2 {
    root: PathBuf,
}

/// CPU weight for CPU shares, by the formula of KEP-2254: [2, 262144] onto [1, 10000].
pub fn weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        shares => 1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142,
    }
}

/// `max` for what v1 calls -1.
fn limit(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

impl V2 {
    /// Over the hierarchy mounted at `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn file(&self, path: &str, file: &str) -> Result<PathBuf, CgroupError> {
        Ok(below(&self.root, path)?.join(file))
    }

    /// Lets the children of `directory` have the controllers that it has itself.
    fn delegate(directory: &Path) -> Result<(), CgroupError> {
        let read = |file: &str| {
            let path = directory.join(file);
            std::fs::read_to_string(&path).map_err(io_error(&path, "reading"))
        };
        let (available, enabled) = (read("cgroup.controllers")?, read("cgroup.subtree_control")?);
        let has = |list: &str, name: &str| list.split_whitespace().any(|n| n == name);
        for controller in
            CONTROLLERS.into_iter().filter(|c| has(&available, c) && !has(&enabled, c))
        {
            write(&directory.join("cgroup.subtree_control"), &format!("+{controller}"))?;
        }
        Ok(())
    }

    fn apply_cpu(&self, path: &str, cpu: &LinuxCpu) -> Result<(), CgroupError> {
        if let Some(shares) = cpu.shares().filter(|s| *s > 0) {
            write(&self.file(path, "cpu.weight")?, &weight(shares).to_string())?;
        }
        if cpu.quota().is_some() || cpu.period().is_some() {
            let file = self.file(path, "cpu.max")?;
            let current = std::fs::read_to_string(&file).unwrap_or_default();
            let mut current = current.split_whitespace();
            let quota = cpu.quota().map(|q| if q > 0 { q.to_string() } else { "max".into() });
            let quota = quota.or(current.next().map(str::to_owned)).unwrap_or_else(|| "max".into());
            let period = cpu.period().map(|p| p.to_string()).or(current.next().map(str::to_owned));
            write(&file, &format!("{quota} {}", period.unwrap_or_else(|| "100000".into())))?;
        }
        for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(value) = value {
                write(&self.file(path, file)?, value)?;
            }
        }
        Ok(())
    }

    fn apply_memory(&self, path: &str, memory: &LinuxMemory) -> Result<(), CgroupError> {
        if let (Some(swap), Some(memory_limit)) = (memory.swap(), memory.limit()) {
            // v1 counts memory and swap together, v2 swap alone.
            let swap_only = if swap < 0 { -1 } else { (swap - memory_limit.max(0)).max(0) };
            let file = self.file(path, "memory.swap.max")?;
            if file.exists() {
                write(&file, &limit(swap_only))?;
            }
        }
        match memory.limit() {
            Some(value) => write(&self.file(path, "memory.max")?, &limit(value)),
            None => Ok(()),
        }
    }

    fn apply_unified(&self, path: &str, resources: &LinuxResources) -> Result<(), CgroupError> {
        for (name, value) in resources.unified().iter().flatten() {
            if name.contains('/') || name.starts_with("cgroup.") || !name.contains('.') {
                return Err(CgroupError::Unsupported(format!("{name:?} is not a resource file")));
            }
            write(&self.file(path, name)?, value)?;
        }
        Ok(())
    }
}

impl Cgroups for V2 {
    fn create(&self, path: &str) -> Result<Vec<String>, CgroupError> {
        let (mut made, mut parent) = (Vec::new(), self.root.clone());
        for step in ancestry(path) {
            Self::delegate(&parent)?;
            parent = below(&self.root, &step)?;
            if make_directory(&parent)? {
                made.push(step);
            }
        }
        Ok(made)
    }

    fn apply(&self, path: &str, resources: &LinuxResources) -> Result<(), CgroupError> {
        if let Some(rules) = resources.devices().as_ref().filter(|rules| !rules.is_empty()) {
            let directory = below(&self.root, path)?;
            let fd = rustix::fs::open(
                &directory,
                rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map_err(|e| io_error(&directory, "opening")(e.into()))?;
            crate::sys::attach_device_filter(fd.as_fd(), &devices::program(rules))
                .map_err(io_error(&directory, "attaching the device filter"))?;
        }
        if let Some(memory) = resources.memory() {
            self.apply_memory(path, memory)?;
        }
        if let Some(cpu) = resources.cpu() {
            self.apply_cpu(path, cpu)?;
        }
        if let Some(pids) = resources.pids() {
            let value = if pids.limit() > 0 { pids.limit() } else { -1 };
            write(&self.file(path, "pids.max")?, &limit(value))?;
        }
        for huge in resources.hugepage_limits().iter().flatten() {
            write(
                &self.file(path, &format!("hugetlb.{}.max", huge.page_size()))?,
                &huge.limit().to_string(),
            )?;
        }
        self.apply_unified(path, resources)
    }

    fn clone_into(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError> {
        open_directory(&below(&self.root, path)?).map(Some)
    }

    fn join_files(&self, _path: &str) -> Result<Vec<OwnedFd>, CgroupError> {
        Ok(Vec::new())
    }

    fn oom_counter(&self, path: &str) -> Option<OwnedFd> {
        std::fs::File::open(self.file(path, "memory.events").ok()?).ok().map(Into::into)
    }

    fn kill(&self, path: &str) -> Result<(), CgroupError> {
        let file = self.file(path, "cgroup.kill")?;
        if file.exists() {
            return write(&file, "1");
        }
        kill_tree(&below(&self.root, path)?);
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), CgroupError> {
        remove_tree(&below(&self.root, path)?)
    }

    fn remove_empty(&self, path: &str) -> Result<(), CgroupError> {
        remove_directory(&below(&self.root, path)?)
    }

    fn stats(&self, path: &str) -> Stats {
        let Ok(directory) = below(&self.root, path) else { return Stats::default() };
        let number = |file| read_number(&directory.join(file));
        let memory = |key| read_key(&directory.join("memory.stat"), key);
        let usage = number("memory.current");
        Stats {
            cpu_nanoseconds: read_key(&directory.join("cpu.stat"), "usage_usec")
                .map(|us| us * 1_000),
            memory_usage_bytes: usage,
            memory_working_set_bytes: usage
                .map(|usage| usage.saturating_sub(memory("inactive_file").unwrap_or(0))),
            memory_rss_bytes: memory("anon"),
            memory_limit_bytes: number("memory.max"),
            page_faults: memory("pgfault"),
            major_page_faults: memory("pgmajfault"),
            swap_usage_bytes: number("memory.swap.current"),
            processes: number("pids.current"),
        }
    }

    fn pids(&self, path: &str) -> Vec<i32> {
        below(&self.root, path).map(|directory| read_pids(&directory)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxResourcesBuilder};

    /// A directory with the files a cgroup2 directory would have.
    fn fake() -> (tempfile::TempDir, V2) {
        let root = tempfile::tempdir().expect("a temporary directory");
        for directory in ["", "knarr", "knarr/c"] {
            let directory = root.path().join(directory);
            std::fs::create_dir_all(&directory).expect("directories");
            for (file, content) in [
                ("cgroup.controllers", "cpu memory pids"),
                ("cgroup.subtree_control", "cpu"),
                ("cgroup.procs", ""),
                ("cgroup.kill", ""),
                ("cpu.weight", ""),
                ("cpu.max", "max 100000"),
                ("memory.max", ""),
                ("memory.swap.max", ""),
                ("memory.oom.group", ""),
                ("memory.current", "1000\n"),
                ("memory.stat", "anon 300\ninactive_file 400\npgfault 5\n"),
                ("cpu.stat", "usage_usec 7\nuser_usec 1\n"),
            ] {
                std::fs::write(directory.join(file), content).expect("a file");
            }
        }
        let driver = V2::new(root.path().to_owned());
        (root, driver)
    }

    fn content(root: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(root.path().join("knarr/c").join(file)).expect(file)
    }

    #[test]
    fn weight_maps_the_ends_and_the_default() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 39, 10_000]);
    }

    #[test]
    fn apply_limits_are_written_in_v2_terms() {
        let (root, driver) = fake();
        let cpu = LinuxCpuBuilder::default().shares(1024u64).quota(50_000i64).build().expect("cpu");
        let memory =
            LinuxMemoryBuilder::default().limit(1 << 20).swap(3 << 20).build().expect("memory");
        let mut resources =
            LinuxResourcesBuilder::default().cpu(cpu).memory(memory).build().expect("resources");
        resources.set_devices(None);
        resources.set_unified(Some([("memory.oom.group".to_owned(), "1".to_owned())].into()));
        driver.apply("/knarr/c", &resources).expect("applied");
        assert_eq!(content(&root, "cpu.weight"), "39");
        assert_eq!(content(&root, "cpu.max"), "50000 100000");
        assert_eq!(content(&root, "memory.max"), "1048576");
        assert_eq!(content(&root, "memory.swap.max"), "2097152");
        assert!(content(&root, "memory.oom.group").starts_with('1'));
        resources.set_unified(Some([("../x.y".to_owned(), "1".to_owned())].into()));
        assert!(driver.apply("/knarr/c", &resources).is_err());
    }

    #[test]
    fn create_missing_directories_are_reported_and_controllers_delegated() {
        let (root, driver) = fake();
        assert_eq!(driver.create("/knarr/c").expect("created"), Vec::<String>::new());
        // A plain file keeps the tail of what was written before.
        assert!(
            std::fs::read_to_string(root.path().join("cgroup.subtree_control"))
                .expect("a file")
                .starts_with("+pids")
        );
        assert_eq!(driver.create("/knarr/new").expect("created"), ["/knarr/new"]);
    }

    #[test]
    fn stats_read_what_is_there() {
        let (_root, driver) = fake();
        let stats = driver.stats("/knarr/c");
        assert_eq!(stats.cpu_nanoseconds, Some(7_000));
        assert_eq!(
            (stats.memory_usage_bytes, stats.memory_working_set_bytes, stats.memory_rss_bytes),
            (Some(1000), Some(600), Some(300))
        );
        assert_eq!(stats.processes, None);
    }

    #[test]
    fn kill_writes_cgroup_kill() {
        let (root, driver) = fake();
        driver.kill("/knarr/c").expect("killed");
        assert_eq!(content(&root, "cgroup.kill"), "1");
    }
}
