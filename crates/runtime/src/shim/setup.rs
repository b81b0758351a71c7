//! How a shim becomes the home of a pod: its namespaces, its almost empty root, its socket.

use super::{now, timestamp};
use crate::protocol::Init;
use crate::sys::{self, Fork};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdirat, open};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::io;

/// Name of the control socket in the sandbox directory.
pub const SOCKET: &str = "shim.sock";
/// Where the pod's tmpfs for `/dev/shm` is in the shim's mount namespace.
pub const SHM: &str = crate::protocol::SHM_SOURCE;
/// Where a container's root is attached before it becomes `/`.
pub const ROOTFS: &str = "/rootfs";
/// The null device in the shim's own root, with which paths are masked.
pub const NULL: &str = "/null";
/// Size of the shim's own root: three directories.
const ROOT_SIZE: &str = "64k";

/// The pod's namespaces and what is needed to run containers in them.
pub struct Sandbox {
    /// Where the sandbox is on disk.
    pub directory: OwnedFd,
    /// Agents come in here.
    pub listener: OwnedFd,
    /// The shim's pid namespace.
    pub own_pid_namespace: OwnedFd,
    /// First process of the pod's pid namespace, if the containers share one.
    pub pause: Option<OwnedFd>,
}

/// Makes the process unreadable for others, deaf to the terminal, and the leader of its own session.
pub fn harden() -> io::Result<()> {
    sys::set_undumpable()?;
    sys::set_process_name(c"knarr-shim");
    for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        sys::ignore_signal(signal);
    }
    sys::set_umask(0o022);
    rustix::process::setsid()?;
    Ok(())
}

/// Puts `/dev/null` in the place of stdin, through which the agent came.
pub fn null_stdin() -> io::Result<()> {
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    sys::dup_to(null.as_fd(), 0)
}

impl Sandbox {
    /// Makes the sandbox; `fds` is the sandbox directory.
    pub fn make(init: &Init, fds: Vec<OwnedFd>) -> io::Result<Self> {
        let directory = fds
            .into_iter()
            .next()
            .ok_or_else(|| io::Error::other("the sandbox directory is missing"))?;
        let own_pid_namespace =
            open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let listener = step("binding the control socket", listen_in(&directory))?;
        let mut flags = libc::CLONE_NEWNS;
        for (wanted, flag) in [
            (init.network, libc::CLONE_NEWNET),
            (init.ipc, libc::CLONE_NEWIPC),
            (init.hostname.is_some(), libc::CLONE_NEWUTS),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        step("making namespaces", sys::unshare(flags))?;
        step("making the shim's root", small_root(init))?;
        if let Some(hostname) = &init.hostname {
            step(
                "setting the hostname",
                rustix::system::sethostname(hostname.as_bytes()).map_err(Into::into),
            )?;
        }
        if init.network {
            step("bringing up lo", sys::loopback_up())?;
        }
        for (name, value) in &init.sysctls {
            step(&format!("setting sysctl {name}"), set_sysctl(name, value))?;
        }
        let pause = if init.shared_pid {
            Some(step("starting the pod's first process", pause())?)
        } else {
            None
        };
        Ok(Self { directory, listener, own_pid_namespace, pause })
    }

    /// Takes back what [`Self::make`] left behind on disk and in the process table.
    pub fn end(&mut self) {
        if let Some(pause) = self.pause.take() {
            if let Err(error) =
                rustix::process::pidfd_send_signal(&pause, rustix::process::Signal::KILL)
            {
                eprintln!("{} ending the pod's first process: {error}", timestamp(now()));
            }
            super::container::reap(&pause);
        }
    }
}

fn step<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{what}: {error}")))
}

fn listen_in(directory: &OwnedFd) -> io::Result<OwnedFd> {
    rustix::process::fchdir(directory)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    sys::set_umask(0o177);
    let bound = bind(&socket, &SocketAddrUnix::new(SOCKET)?);
    sys::set_umask(0o022);
    bound?;
    listen(&socket, 8)?;
    Ok(socket)
}

/// A new file system of type `kind`, not attached anywhere.
pub fn new_filesystem(kind: &str, options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// Attaches the mount behind `tree` on what `target` refers to.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", target, "", flags)?)
}

/// Opens a place in the shim's own mount namespace as a mount target.
pub fn place(path: &str) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Leaves the node's mounts behind: `/` becomes a tmpfs with `proc`, `shm` and a place for the root of a starting container.
fn small_root(init: &Init) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = new_filesystem("tmpfs", &[("size", ROOT_SIZE), ("mode", "0755")])?;
    attach(root.as_fd(), place("/proc")?.as_fd())?;
    for name in ["proc", "shm", "rootfs"] {
        mkdirat(&root, name, Mode::from_raw_mode(0o755))?;
    }
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(
        &root,
        "null",
        rustix::fs::FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        null,
    )?;
    rustix::process::fchdir(&root)?;
    sys::pivot_root_here()?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    attach(new_filesystem("proc", &[])?.as_fd(), place("/proc")?.as_fd())?;
    if init.ipc {
        let size = init.shm_bytes.to_string();
        attach(
            new_filesystem("tmpfs", &[("size", &size), ("mode", "1777")])?.as_fd(),
            place(SHM)?.as_fd(),
        )?;
    }
    Ok(())
}

/// Opens a file below the shim's `/proc` for writing and proves that it is one of procfs (CVE-2025-52881).
pub fn proc_file(path: &str) -> io::Result<OwnedFd> {
    let file = open(
        format!("/proc/{path}"),
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    if rustix::fs::fstatfs(&file)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Err(io::Error::other(format!("/proc/{path} is not a file of procfs")));
    }
    Ok(file)
}

fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    let plain =
        name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
    if !plain || name.contains("..") {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // A dotted name whose first separator is a slash is written the other way round, as sysctl(8) does.
    let dotted = name.find(['.', '/']).is_none_or(|at| name.as_bytes()[at] == b'.');
    let path = if dotted {
        name.chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect()
    } else {
        name.to_owned()
    };
    let file = proc_file(&format!("sys/{path}"))?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

/// The first process of a shared pid namespace: reaps orphans and otherwise sleeps.
fn pause() -> io::Result<OwnedFd> {
    match sys::fork(libc::CLONE_NEWPID, None)? {
        Fork::Parent { pidfd, .. } => Ok(pidfd),
        Fork::Child => {
            if sys::close_all_except(&[]).is_err()
                || rustix::process::set_parent_process_death_signal(Some(
                    rustix::process::Signal::KILL,
                ))
                .is_err()
            {
                sys::exit(1);
            }
            sys::set_process_name(c"knarr-pause");
            // Ignoring SIGCHLD makes the kernel reap for us.
            sys::ignore_signal(libc::SIGCHLD);
            sys::pause_forever()
        }
    }
}

/// A TCP socket of this network namespace that has begun to connect to a loopback port.
pub fn connect(port: u16, ipv6: bool) -> io::Result<OwnedFd> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
    let (family, ip) = if ipv6 {
        (AddressFamily::INET6, IpAddr::from(Ipv6Addr::LOCALHOST))
    } else {
        (AddressFamily::INET, Ipv4Addr::LOCALHOST.into())
    };
    let socket = socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    match rustix::net::connect(&socket, &SocketAddr::new(ip, port)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}
