//! Ends everything in a cgroup of ours and removes it, in every hierarchy this machine has.
//!
//! Invariants: only directories below the given path are touched; processes are known to be ours because they are in
//! it, and are signalled through a pidfd taken while they are.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Where cgroups are.
const ROOT: &str = "/sys/fs/cgroup";
/// How long the kernel may take to end killed processes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills what runs below `path`, such as `/knarr/dev`, and removes the directories.
///
/// # Errors
/// When something does not end.
pub fn remove(path: &str) -> Result<()> {
    let roots = hierarchies(Path::new(ROOT), path);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pids: Vec<i32> = roots.iter().flat_map(|root| processes(root)).collect();
        if pids.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            bail!("processes {pids:?} of {path} do not end");
        }
        for pid in pids {
            kill_and_wait(pid, &roots)?;
        }
    }
    for root in roots {
        remove_tree(&root);
    }
    Ok(())
}

/// Removes a cgroup that nothing lives in or below; the last cluster to go takes what all share with it.
pub fn remove_empty(path: &str) {
    for directory in hierarchies(Path::new(ROOT), path) {
        let _ = std::fs::remove_dir(directory);
    }
}

/// The directories that `path` has: one per v1 controller, one in a v2 hierarchy.
fn hierarchies(root: &Path, path: &str) -> Vec<PathBuf> {
    let relative = path.trim_start_matches('/');
    let mut candidates = vec![root.join(relative)];
    let mounts = std::fs::read_dir(root).into_iter().flatten().flatten();
    candidates.extend(mounts.map(|mount| mount.path().join(relative)));
    candidates.retain(|dir| !relative.is_empty() && dir.join("cgroup.procs").exists());
    candidates
}

fn processes(dir: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    pids.extend(children(dir).iter().flat_map(|child| processes(child)));
    pids
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn kill_and_wait(pid: i32, roots: &[PathBuf]) -> Result<()> {
    let fd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let Some(fd) = fd else { return Ok(()) };
    // The pid may have been reused between reading and opening: then it is in our cgroup no longer.
    if !roots.iter().any(|root| processes(root).contains(&pid)) {
        return Ok(());
    }
    match pidfd_send_signal(&fd, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => bail!("cannot end process {pid}: {error}"),
    }
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&second))?;
    Ok(())
}

/// Removes empty cgroups, the deepest first.
fn remove_tree(dir: &Path) {
    for child in children(dir) {
        remove_tree(&child);
    }
    if let Err(error) = std::fs::remove_dir(dir) {
        tracing::warn!(dir = %dir.display(), %error, "a cgroup stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_that_are_cgroups_below_a_path_are_found() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["memory/knarr/dev", "cpu/knarr", "cpu/other"] {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        std::fs::write(root.path().join("memory/knarr/dev/cgroup.procs"), "").unwrap();
        std::fs::write(root.path().join("cpu/knarr/cgroup.procs"), "").unwrap();
        let found = hierarchies(root.path(), "/knarr/dev");
        assert_eq!(found, [root.path().join("memory/knarr/dev")]);
        assert!(hierarchies(root.path(), "/").is_empty(), "never the root itself");
    }
}
