//! A node of a local cluster: a process that holds its network and mount namespaces, like a machine that is switched on.
//!
//! The holder does nothing but exist. The node's agent, its shims and `node shell` enter its namespaces; when agent and
//! holder are gone and the last container has ended, the kernel takes everything back.
//!
//! Invariants:
//! - Namespaces are made and entered while the process has one thread.
//! - Mounts made in a node never reach the machine: its whole tree is private.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::process;

/// Becomes a node's holder: makes its namespaces, says ready, and waits to be ended.
///
/// # Errors
/// When the kernel refuses namespaces, which needs root.
pub fn hold() -> Result<()> {
    // SAFETY: this process has one thread, and nothing else of it depends on the namespaces it leaves.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .context("cannot make the node's namespaces; run as root")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot make the node's mounts private")?;
    cni::link::in_namespace(None, async |links| links.up(links.existing("lo").await?).await)?;
    process::say_ready();
    loop {
        std::thread::park();
    }
}

/// Enters the namespaces of a node's holder. The current directory becomes `/`.
///
/// # Errors
/// When the holder has ended.
pub fn enter(pid: i32) -> Result<()> {
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        std::fs::File::open(path).context("the node is not running; start it with `knarr up`")
    };
    let (mount, network) = (open("mnt")?, open("net")?);
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter the node's network namespace")?;
    move_into_link_name_space(mount.as_fd(), Some(LinkNameSpaceType::Mount))
        .context("cannot enter the node's mount namespace")?;
    std::env::set_current_dir("/").context("cannot enter the node's root")
}

/// Gives the node, whose namespaces this process has entered, its own directory of logs at the usual place, as nodes on
/// one machine would otherwise share it, and as it must go with the node.
///
/// # Errors
/// When the directory cannot be made or mounted.
pub fn own_logs(own: &Path, usual: &Path) -> Result<()> {
    std::fs::create_dir_all(own).with_context(|| format!("cannot create {}", own.display()))?;
    if is_same_directory(own, usual) {
        return Ok(());
    }
    mount_bind(own, usual)
        .with_context(|| format!("cannot mount the node's logs at {}", usual.display()))
}

/// Whether two paths lead to one directory, as they do when an earlier agent of the node has mounted it.
fn is_same_directory(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    identity(one).is_some() && identity(one) == identity(other)
}

/// The namespace that a holder's network is.
pub fn network_of(pid: i32) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string()).join("ns/net")
}
