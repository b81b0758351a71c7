//! Control groups: limits, accounting and killing, over cgroup v1 and v2 behind one trait.
//!
//! The counterpart of runc's `libcontainer/cgroups`. Invariants: only directories below the configured parent are made, changed or removed,
//! and of those only ones we made; a path never leaves the hierarchy; a process is only ever moved into a directory of ours.

mod devices;
mod v1;
mod v2;

pub use v1::V1;
pub use v2::V2;

use oci_spec::runtime::LinuxResources;
use rustix::fd::OwnedFd;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a cgroup operation failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel refused.
    #[error("cgroup {path}: {action}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This hierarchy cannot do what is asked for.
    #[error("cgroup: {0}")]
    Unsupported(String),
}

impl CgroupError {
    /// Whether a cgroup cannot be made because the one above it has just gone.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether a cgroup cannot be removed because something lives in or below it.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
    }
}

/// What a cgroup has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time in nanoseconds.
    pub cpu_nanoseconds: Option<u64>,
    /// All memory charged.
    pub memory_usage_bytes: Option<u64>,
    /// Usage less inactive file pages.
    pub memory_working_set_bytes: Option<u64>,
    /// Anonymous memory.
    pub memory_rss_bytes: Option<u64>,
    /// The limit, if there is one.
    pub memory_limit_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that needed the disk.
    pub major_page_faults: Option<u64>,
    /// Swap used.
    pub swap_usage_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// One cgroup layout of a node. Paths are absolute in the hierarchy, such as `/knarr/pod/container`.
pub trait Cgroups: Send + Sync {
    /// Makes a cgroup and what is missing above it; answers the paths that were made, outermost first.
    ///
    /// # Errors
    /// What the kernel says.
    fn create(&self, path: &str) -> Result<Vec<String>, CgroupError>;
    /// Sets limits; what is absent stays as it is.
    ///
    /// # Errors
    /// What the kernel says, or a limit whose controller is missing.
    fn apply(&self, path: &str, resources: &LinuxResources) -> Result<(), CgroupError>;
    /// The cgroup's directory in the unified hierarchy, for `CLONE_INTO_CGROUP`.
    ///
    /// # Errors
    /// What the kernel says.
    fn clone_into(&self, path: &str) -> Result<Option<OwnedFd>, CgroupError>;
    /// Files into which a single-threaded process writes `0` to move itself into the cgroup's other hierarchies.
    ///
    /// # Errors
    /// What the kernel says.
    fn join_files(&self, path: &str) -> Result<Vec<OwnedFd>, CgroupError>;
    /// The file with the count of OOM kills.
    fn oom_counter(&self, path: &str) -> Option<OwnedFd>;
    /// Kills every process in the cgroup and below.
    ///
    /// # Errors
    /// What the kernel says.
    fn kill(&self, path: &str) -> Result<(), CgroupError>;
    /// Removes the cgroup and, first, what was made below it; absent is fine, still populated is an error.
    ///
    /// # Errors
    /// What the kernel says.
    fn remove(&self, path: &str) -> Result<(), CgroupError>;
    /// Removes the cgroup itself; absent is fine, populated or parental is an error.
    ///
    /// # Errors
    /// What the kernel says.
    fn remove_empty(&self, path: &str) -> Result<(), CgroupError>;
    /// What it has used.
    fn stats(&self, path: &str) -> Stats;
    /// The pids in the cgroup itself.
    fn pids(&self, path: &str) -> Vec<i32>;
}

/// Finds the layout of this machine.
///
/// # Errors
/// When no cgroup file system is mounted.
pub fn detect() -> Result<Box<dyn Cgroups>, CgroupError> {
    let path = Path::new("/proc/self/mountinfo");
    let mountinfo = std::fs::read_to_string(path).map_err(io_error(path, "reading"))?;
    let mounts = parse_mountinfo(&mountinfo);
    if mounts.controllers.iter().any(|(name, _)| name == "memory" || name == "cpu") {
        return Ok(Box::new(V1::new(mounts.controllers, mounts.unified)));
    }
    match mounts.unified {
        Some(root) => Ok(Box::new(V2::new(root))),
        None => Err(CgroupError::Unsupported(
            "no cgroup file system is mounted; mount cgroup2 on /sys/fs/cgroup".into(),
        )),
    }
}

/// The cgroup mounts of a mount namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mounts {
    /// v1: the controllers of a hierarchy, comma-separated, and where it is.
    controllers: Vec<(String, PathBuf)>,
    /// v2.
    unified: Option<PathBuf>,
}

/// Finds the cgroup mounts in the text of `/proc/self/mountinfo`.
fn parse_mountinfo(text: &str) -> Mounts {
    let mut mounts = Mounts::default();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
        match kind {
            Some("cgroup2") => mounts.unified = mounts.unified.or(Some(point)),
            Some("cgroup") => {
                let plain = [
                    "rw",
                    "ro",
                    "xattr",
                    "noprefix",
                    "clone_children",
                    "cpuset_v2_mode",
                    "favordynmods",
                ];
                let controllers: Vec<&str> = options
                    .split(',')
                    .filter(|o| !plain.contains(o) && !o.starts_with("release_agent="))
                    .collect();
                let controllers = controllers.join(",");
                if !mounts.controllers.iter().any(|(known, _)| *known == controllers) {
                    mounts.controllers.push((controllers, point));
                }
            }
            _ => {}
        }
    }
    mounts
}

fn io_error<'a>(path: &'a Path, action: &'a str) -> impl FnOnce(io::Error) -> CgroupError + 'a {
    move |source| CgroupError::Io { path: path.to_owned(), action: action.to_owned(), source }
}

/// `path` below `root`, if it is made of plain names.
fn below(root: &Path, path: &str) -> Result<PathBuf, CgroupError> {
    let mut full = root.to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => full.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(CgroupError::Unsupported(format!("{path:?} is not a plain path")));
            }
        }
    }
    if full == root {
        return Err(CgroupError::Unsupported("the root cgroup is nobody's".into()));
    }
    Ok(full)
}

/// Every ancestor of `path` and itself, outermost first: `/a`, `/a/b`.
fn ancestry(path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut so_far = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        so_far = format!("{so_far}/{name}");
        all.push(so_far.clone());
    }
    all
}

/// Makes one directory; whether it is new.
fn make_directory(path: &Path) -> Result<bool, CgroupError> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(io_error(path, "creating")(error)),
    }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| CgroupError::Io {
            path: path.to_owned(),
            action: format!("writing {value:?}"),
            source,
        })
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The value of `key` in a file of `key value` lines.
fn read_key(path: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        line.split_once(' ').filter(|(k, _)| *k == key).and_then(|(_, v)| v.trim().parse().ok())
    })
}

fn read_pids(directory: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// The directories in `directory`.
fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Removes `directory` and all below it, deepest first.
fn remove_tree(directory: &Path) -> Result<(), CgroupError> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    remove_directory(directory)
}

/// Removes `directory`, which may be gone already.
fn remove_directory(directory: &Path) -> Result<(), CgroupError> {
    match std::fs::remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(directory, "removing")(error)),
    }
}

/// Signals every process in `directory` and below with SIGKILL.
fn kill_tree(directory: &Path) {
    for child in children(directory) {
        kill_tree(&child);
    }
    for pid in read_pids(directory) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid)
            && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(?pid, %error, "killing a process of a cgroup");
        }
    }
}

fn open_for_write(path: &Path) -> Result<OwnedFd, CgroupError> {
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map(Into::into)
        .map_err(io_error(path, "opening"))
}

fn open_directory(path: &Path) -> Result<OwnedFd, CgroupError> {
    std::fs::File::open(path).map(Into::into).map_err(io_error(path, "opening"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_mountinfo_hybrid_layout_is_v1_with_a_unified_part() {
        let text = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                    40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                    22 27 0:21 / /proc rw - proc proc rw\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(
            mounts.controllers,
            [
                ("cpu,cpuacct".into(), "/sys/fs/cgroup/cpu".into()),
                ("name=systemd".into(), "/sys/fs/cgroup/systemd".into())
            ]
        );
        assert_eq!(mounts.unified, Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn below_paths_that_climb_are_refused() {
        let root = Path::new("/sys/fs/cgroup");
        assert_eq!(below(root, "/a/b").expect("a path"), root.join("a/b"));
        for path in ["/", "", "/../a", "/a/../../b"] {
            assert!(below(root, path).is_err(), "{path}");
        }
    }

    #[test]
    fn ancestry_lists_outermost_first() {
        assert_eq!(ancestry("/a/b//c"), ["/a", "/a/b", "/a/b/c"]);
    }
}
