//! What a cluster left behind: processes, cgroups, mounts, links, routes, files.
//!
//! Invariant: only looks; it is the test of `knarr down`, so it must not share code with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::netns::Netns;

/// Links and routes of a namespace, one per line.
pub fn network(netns: &Netns) -> Vec<String> {
    let mut lines = Vec::new();
    for args in [["-o", "link"], ["-4", "route"], ["-6", "route"]] {
        let mut command = netns.command("ip");
        let output = command.args(args).output().expect("ip of iproute2");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    lines.sort();
    lines
}

/// Everything that still speaks of the cluster `name` with its state in `data_dir`; `before` is what the namespace had
/// before the cluster.
pub fn of(name: &str, data_dir: &Path, netns: &Netns, before: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(processes(name, netns).into_iter().map(|what| format!("process {what}")));
    found.extend(cgroups(name).into_iter().map(|dir| format!("cgroup {}", dir.display())));
    found.extend(mounts(name, data_dir).into_iter().map(|line| format!("mount {line}")));
    let now = network(netns).into_iter().filter(|line| !before.contains(line));
    found.extend(now.map(|line| format!("network {line}")));
    for dir in [Path::new("/run/knarr").join(name), data_dir.to_owned()] {
        if dir.exists() {
            found.push(format!("directory {}", dir.display()));
        }
    }
    found
}

/// Processes in the cluster's cgroups, in its namespace, or that name it in their arguments.
pub fn processes(name: &str, netns: &Netns) -> Vec<String> {
    let home = std::fs::read_link(netns.path()).ok();
    let own = [std::process::id(), netns.holder()];
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if own.contains(&pid) {
            continue;
        }
        let read = |file| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let (cgroup, cmdline) = (read("cgroup"), read("cmdline").replace('\0', " "));
        let inside = std::fs::read_link(entry.path().join("ns/net")).ok();
        let ours = cgroup.contains(&format!("/knarr/{name}"))
            || (inside.is_some() && inside == home)
            || (cmdline.contains("knarr") && cmdline.contains(name));
        if ours && !read("stat").contains(") Z ") {
            found.push(format!("{pid} {cmdline}"));
        }
    }
    found
}

/// The cluster's cgroups, in every hierarchy.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let below = Path::new("knarr").join(name);
    let mut dirs = vec![root.join(&below)];
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten();
    dirs.extend(hierarchies.map(|entry| entry.path().join(&below)));
    dirs.retain(|dir| dir.exists());
    dirs
}

/// Mounts of this machine that the cluster made. A node's own mounts go with its namespace.
pub fn mounts(name: &str, data_dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let run_dir = format!("/run/knarr/{name}");
    let data_dir = data_dir.display().to_string();
    let ours = |line: &&str| line.contains(&run_dir) || line.contains(&data_dir);
    text.lines().filter(ours).map(str::to_owned).collect()
}

/// The rules of the namespace's packet filter, when `nft` is there to show them.
pub fn rules(netns: &Netns) -> Option<String> {
    Command::new("nft").arg("--version").output().ok()?;
    let output = netns.command("nft").args(["list", "ruleset"]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
