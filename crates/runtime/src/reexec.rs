//! The shim's role of this binary, and the protected copy of it that shims run from.
//!
//! Invariant: a container can never reach a writable inode of the node's binary through `/proc/PID/exe` (CVE-2019-5736): shims run from a
//! read-only clone of the mount that the binary lies on, or, where that cannot be made, from a sealed copy in memory.

use crate::sys::{self, MountAttr};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::io;
use std::process::{Child, Command, Stdio};

/// `argv[0]` of a shim.
pub const SHIM: &str = "knarr-shim";

/// Runs the shim if this process was started as one, and then never returns. Call it first in `main`, before any thread exists.
pub fn reexec() {
    if std::env::args_os().next().is_some_and(|name| name == SHIM) {
        crate::shim::main()
    }
}

/// This binary, protected against being overwritten.
pub struct Binary {
    file: OwnedFd,
}

impl Binary {
    /// Makes the protected copy; once per agent process.
    ///
    /// # Errors
    /// When `/proc` is not there or memory is short.
    pub fn protect() -> io::Result<Self> {
        match read_only_clone() {
            Ok(file) => Ok(Self { file }),
            Err(error) => {
                tracing::info!(%error, "no read-only clone of the binary can be made, copying it to memory");
                let content = std::fs::read("/proc/self/exe")?;
                Ok(Self { file: sys::sealed_file(c"knarr", &content)? })
            }
        }
    }

    /// Starts a shim whose stdin is `socket`; `label` is what `ps` shows beside the name.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn spawn_shim(
        &self,
        label: &str,
        socket: OwnedFd,
        log: std::fs::File,
    ) -> io::Result<Child> {
        use std::os::unix::process::CommandExt;
        Command::new(format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd()))
            .arg0(SHIM)
            .arg(label)
            .env_clear()
            .stdin(Stdio::from(socket))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn()
    }
}

fn read_only_clone() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, "/proc/self/exe", flags)?;
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    };
    sys::mount_setattr(tree.as_fd(), attr, true)?;
    Ok(tree)
}
