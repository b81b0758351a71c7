//! The file system a container sees: its root, `/proc`, `/sys`, `/dev`, volumes, and what is hidden from it.
//!
//! The counterpart of runc's `rootfs_linux.go`, on descriptors only. Invariants: every mount is made detached, gets its attributes while
//! nobody can see it, and is attached to a descriptor that was resolved inside the root; device nodes are made on a `/dev` that is ours and
//! not attached yet; what masks a path is the shim's own node, proven to be
//! the null device (CVE-2025-31133).

use super::setup::{self, attach, new_filesystem, place};
use crate::inroot::{self, Kind};
use crate::protocol::SHM_SOURCE;
use crate::sys::{self, MountAttr};
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Mount, Spec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree, unmount,
};
use std::io;
use std::path::Path;

type Result<T> = std::result::Result<T, String>;

/// The devices every container has: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
/// The symlinks a container has in `/dev`.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// What a mount's options mean.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    attr: MountAttr,
    /// Read-only also below.
    recursive_read_only: bool,
    /// What the file system itself is told.
    data: Vec<(String, Option<String>)>,
    read_write: bool,
}

/// Understands the mount options of the OCI runtime specification.
fn parse_options(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        let set = match option.as_str() {
            "ro" => libc::MOUNT_ATTR_RDONLY,
            "rro" => {
                parsed.recursive_read_only = true;
                libc::MOUNT_ATTR_RDONLY
            }
            "nosuid" => libc::MOUNT_ATTR_NOSUID,
            "nodev" => libc::MOUNT_ATTR_NODEV,
            "noexec" => libc::MOUNT_ATTR_NOEXEC,
            "noatime" => libc::MOUNT_ATTR_NOATIME,
            "strictatime" => libc::MOUNT_ATTR_STRICTATIME,
            "nodiratime" => libc::MOUNT_ATTR_NODIRATIME,
            "private" | "rprivate" => {
                parsed.attr.propagation = libc::MS_PRIVATE;
                0
            }
            "slave" | "rslave" => {
                parsed.attr.propagation = libc::MS_SLAVE;
                0
            }
            "shared" | "rshared" => {
                parsed.attr.propagation = libc::MS_SHARED;
                0
            }
            "rw" => {
                parsed.read_write = true;
                0
            }
            "bind" | "rbind" | "relatime" | "exec" | "suid" | "dev" => 0,
            other => {
                let (key, value) =
                    other.split_once('=').map_or((other, None), |(k, v)| (k, Some(v.to_owned())));
                parsed.data.push((key.to_owned(), value));
                0
            }
        };
        parsed.attr.set |= set;
        if set & libc::MOUNT_ATTR__ATIME != 0 {
            parsed.attr.clear |= libc::MOUNT_ATTR__ATIME;
        }
    }
    parsed
}

/// A container's root while it is being furnished.
pub struct Rootfs {
    root: OwnedFd,
    dev: Option<OwnedFd>,
    pts: Option<OwnedFd>,
}

impl Rootfs {
    /// Attaches `root` and furnishes it. The process must be in its final pid, network, IPC and cgroup namespaces and a new mount namespace.
    pub fn build(spec: &Spec, root: OwnedFd, binds: Vec<OwnedFd>) -> Result<Self> {
        let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
        said("making the root private", sys::mount_setattr(root.as_fd(), private, true))?;
        said(
            "attaching the root",
            place(setup::ROOTFS).and_then(|at| attach(root.as_fd(), at.as_fd())),
        )?;
        let mut rootfs = Self { root, dev: None, pts: None };
        let mut binds = binds.into_iter();
        for mount in spec.mounts().iter().flatten() {
            rootfs
                .add(mount, spec, &mut binds)
                .map_err(|e| format!("mounting {}: {e}", mount.destination().display()))?;
        }
        if let Some(linux) = spec.linux() {
            rootfs.hide(linux)?;
        }
        rootfs.make_working_directory(spec)?;
        if spec.root().as_ref().and_then(oci_spec::runtime::Root::readonly).unwrap_or(false) {
            let read_only = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
            said(
                "making the root read-only",
                sys::mount_setattr(rootfs.root.as_fd(), read_only, false),
            )?;
        }
        Ok(rootfs)
    }

    fn add(
        &mut self,
        mount: &Mount,
        spec: &Spec,
        binds: &mut impl Iterator<Item = OwnedFd>,
    ) -> io::Result<()> {
        let options = parse_options(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("bind");
        let tree = match kind {
            "bind" if mount.source().as_deref() == Some(Path::new(SHM_SOURCE)) => {
                clone_tree(rustix::fs::CWD, setup::SHM)?
            }
            "bind" => binds.next().ok_or_else(|| io::Error::other("its source is missing"))?,
            "cgroup" => return self.add_cgroups(mount.destination(), &options),
            _ => filesystem(kind, &options)?,
        };
        if kind == "bind" {
            sys::mount_setattr(
                tree.as_fd(),
                MountAttr { propagation: options.attr.propagation, ..MountAttr::default() },
                true,
            )?;
        }
        let attr = MountAttr { propagation: 0, ..options.attr };
        sys::mount_setattr(tree.as_fd(), attr, options.recursive_read_only)?;
        let is_dev = mount.destination() == Path::new("/dev") && kind == "tmpfs";
        if is_dev {
            populate_dev(tree.as_fd(), spec.linux().as_ref().and_then(|l| l.devices().as_ref()))?;
        }
        self.put(&tree, mount.destination())?;
        if is_dev {
            self.dev = Some(tree);
        } else if kind == "devpts" {
            self.pts = Some(tree);
        }
        Ok(())
    }

    fn put(&self, tree: &OwnedFd, destination: &Path) -> io::Result<()> {
        let directory =
            FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode) == FileType::Directory;
        let kind = if directory { Kind::Directory } else { Kind::File };
        let target = inroot::open_or_create(self.root.as_fd(), destination, kind)?;
        if same_file(&target, &self.root)? {
            return Err(io::Error::other("nothing can be mounted on the root"));
        }
        check_procfs(tree, &target, destination)?;
        attach(tree.as_fd(), target.as_fd())
    }

    fn add_cgroups(&self, destination: &Path, options: &Options) -> io::Result<()> {
        let mut attr = options.attr;
        if !options.read_write {
            attr.set |= libc::MOUNT_ATTR_RDONLY;
        }
        let file =
            rustix::fs::open("/proc/self/cgroup", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let content =
            String::from_utf8_lossy(&sys::read_all(file.as_fd(), 64 * 1024)?).into_owned();
        let hierarchies = v1_hierarchies(&content);
        if hierarchies.is_empty() {
            let tree = new_filesystem("cgroup2", &[])?;
            sys::mount_setattr(tree.as_fd(), attr, false)?;
            return self.put(&tree, destination);
        }
        let parent = new_filesystem("tmpfs", &[("mode", "0755"), ("size", "64k")])?;
        self.put(&parent, destination)?;
        for controllers in hierarchies {
            let tree = v1_hierarchy(&controllers)?;
            sys::mount_setattr(tree.as_fd(), attr, false)?;
            let name = controllers.strip_prefix("name=").unwrap_or(&controllers);
            mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
            attach(
                tree.as_fd(),
                openat(&parent, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd(),
            )?;
            for link in name.split(',').filter(|link| *link != name) {
                symlinkat(name, &parent, link)?;
            }
        }
        sys::mount_setattr(parent.as_fd(), attr, false)
    }

    fn hide(&self, linux: &Linux) -> Result<()> {
        for path in linux.masked_paths().iter().flatten() {
            self.mask(Path::new(path)).map_err(|e| format!("masking {path}: {e}"))?;
        }
        for path in linux.readonly_paths().iter().flatten() {
            self.make_read_only(Path::new(path))
                .map_err(|e| format!("making {path} read-only: {e}"))?;
        }
        Ok(())
    }

    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match inroot::open(self.root.as_fd(), path, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn mask(&self, path: &Path) -> io::Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let tree = if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode)
            == FileType::Directory
        {
            let tree = new_filesystem("tmpfs", &[("size", "4k"), ("mode", "0755")])?;
            let read_only = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
            sys::mount_setattr(tree.as_fd(), read_only, false)?;
            tree
        } else {
            null()?
        };
        attach(tree.as_fd(), target.as_fd())
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let tree = clone_tree(target.as_fd(), "")?;
        sys::mount_setattr(
            tree.as_fd(),
            MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() },
            true,
        )?;
        attach(tree.as_fd(), target.as_fd())
    }

    fn make_working_directory(&self, spec: &Spec) -> Result<()> {
        let Some(process) = spec.process() else { return Ok(()) };
        if process.cwd() == Path::new("/") {
            return Ok(());
        }
        let made = inroot::open_or_create(self.root.as_fd(), process.cwd(), Kind::Directory);
        said(&format!("making the working directory {}", process.cwd().display()), made).map(drop)
    }

    /// Makes the container's terminal and shows it as `/dev/console`; answers the controlling and the terminal side.
    pub fn terminal(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let missing = || io::Error::other("the container has no /dev/pts of its own");
        let (dev, pts) =
            (self.dev.as_ref().ok_or_else(missing)?, self.pts.as_ref().ok_or_else(missing)?);
        let (controller, terminal) = open_pseudo_terminal(pts.as_fd())?;
        inroot::open_or_create(dev.as_fd(), Path::new("console"), Kind::File)?;
        let console = openat(
            dev,
            "console",
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        attach(clone_tree(terminal.as_fd(), "")?.as_fd(), console.as_fd())?;
        Ok((controller, terminal))
    }

    /// Makes the furnished root the only one.
    pub fn enter(self) -> io::Result<()> {
        rustix::process::fchdir(&self.root)?;
        sys::pivot_root_here()?;
        unmount(".", UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }
}

/// Opens `ptmx` of the devpts at `pts`, proves what it is (CVE-2025-52565), and opens its terminal side without a path.
pub fn open_pseudo_terminal(pts: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    const DEVPTS_SUPER_MAGIC: rustix::fs::FsWord = 0x1cd1;
    let controller = openat(
        pts,
        "ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let real = rustix::fs::fstatfs(&controller)?.f_type == DEVPTS_SUPER_MAGIC
        && rustix::fs::fstat(&controller)?.st_rdev == makedev(5, 2);
    if !real {
        return Err(io::Error::other("/dev/pts/ptmx is not a pseudo terminal"));
    }
    let terminal = sys::open_terminal(controller.as_fd())?;
    Ok((controller, terminal))
}

/// Refuses to put anything but procfs on `/proc`, and anything into procfs but the files that LXCFS and its like replace: a container's
/// security rests on `/proc` being what it seems (CVE-2019-16884, CVE-2025-52881).
fn check_procfs(tree: &OwnedFd, target: &OwnedFd, destination: &Path) -> io::Result<()> {
    const REPLACEABLE: [&str; 11] = [
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
    ];
    let is_proc = |fd: &OwnedFd| {
        Ok::<_, io::Error>(rustix::fs::fstatfs(fd)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
    };
    let in_proc = destination.strip_prefix("/proc").ok();
    let replaceable =
        in_proc.is_some_and(|path| REPLACEABLE.iter().any(|known| path == Path::new(known)));
    let on_proc_itself = in_proc.is_some_and(|path| path.as_os_str().is_empty());
    if (is_proc(target)? && !replaceable) || (on_proc_itself && !is_proc(tree)?) {
        return Err(io::Error::other("it is inside /proc"));
    }
    Ok(())
}

/// A mount of the shim's own null device.
fn null() -> io::Result<OwnedFd> {
    let tree = clone_tree(rustix::fs::CWD, setup::NULL)?;
    let stat = rustix::fs::fstat(&tree)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || stat.st_rdev != makedev(1, 3)
    {
        return Err(io::Error::other("the shim's null device is something else"));
    }
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
        ..MountAttr::default()
    };
    sys::mount_setattr(tree.as_fd(), attr, false)?;
    Ok(tree)
}

fn said<T>(what: &str, result: io::Result<T>) -> Result<T> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn same_file(a: &OwnedFd, b: &OwnedFd) -> io::Result<bool> {
    let (a, b) = (rustix::fs::fstat(a)?, rustix::fs::fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn clone_tree(at: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    Ok(open_tree(at, path, flags | OpenTreeFlags::AT_SYMLINK_NOFOLLOW)?)
}

fn filesystem(kind: &str, options: &Options) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in &options.data {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(&context, key.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// The controller lists of the v1 hierarchies in `/proc/self/cgroup`.
fn v1_hierarchies(content: &str) -> Vec<String> {
    content
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .filter(|c| !c.is_empty())
        .map(str::to_owned)
        .collect()
}

fn v1_hierarchy(controllers: &str) -> io::Result<OwnedFd> {
    let context = fsopen("cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for controller in controllers.split(',') {
        match controller.strip_prefix("name=") {
            Some(name) => {
                fsconfig_set_flag(&context, "none")?;
                fsconfig_set_string(&context, "name", name)?;
            }
            None => fsconfig_set_flag(&context, controller)?,
        }
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// Fills a new `/dev` that nobody can see yet.
fn populate_dev(dev: BorrowedFd<'_>, devices: Option<&Vec<LinuxDevice>>) -> io::Result<()> {
    sys::set_umask(0);
    let made = DEVICES
        .iter()
        .try_for_each(|(name, major, minor)| {
            mknodat(
                dev,
                *name,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                makedev(*major, *minor),
            )
        })
        .map_err(io::Error::from)
        .and_then(|()| devices.into_iter().flatten().try_for_each(|device| add_device(dev, device)))
        .and_then(|()| {
            present_links().try_for_each(|(target, name)| Ok(symlinkat(*target, dev, *name)?))
        });
    sys::set_umask(0o022);
    made
}

/// The links; that to the kernel's memory only where the kernel shows it, as runc does.
fn present_links() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    LINKS.iter().filter(|(target, name)| {
        *name != "core" || rustix::fs::access(*target, rustix::fs::Access::EXISTS).is_ok()
    })
}

fn add_device(dev: BorrowedFd<'_>, device: &LinuxDevice) -> io::Result<()> {
    let path = device
        .path()
        .strip_prefix("/dev")
        .map_err(|_| io::Error::other("devices must be below /dev"))?;
    let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else {
        return Err(io::Error::other("the device has no name"));
    };
    let parent = inroot::open_or_create(dev, parent, Kind::Directory)?;
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let number = makedev(device.major() as u32, device.minor() as u32);
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    match mknodat(&parent, name, kind, mode, number) {
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        other => other?,
    }
    let owner =
        (device.uid().map(rustix::fs::Uid::from_raw), device.gid().map(rustix::fs::Gid::from_raw));
    Ok(rustix::fs::chownat(&parent, name, owner.0, owner.1, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_options_known_and_unknown_are_told_apart() {
        let options: Vec<String> =
            ["nosuid", "ro", "strictatime", "mode=755", "newinstance", "rslave"]
                .map(str::to_owned)
                .to_vec();
        let parsed = parse_options(&options);
        assert_eq!(
            parsed.attr.set,
            libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_STRICTATIME
        );
        assert_eq!(parsed.attr.clear, libc::MOUNT_ATTR__ATIME);
        assert_eq!(parsed.attr.propagation, libc::MS_SLAVE);
        assert_eq!(
            parsed.data,
            [("mode".into(), Some("755".into())), ("newinstance".into(), None)]
        );
    }

    #[test]
    fn v1_hierarchies_leave_out_the_unified_one() {
        assert_eq!(
            v1_hierarchies("9:name=systemd:/\n2:cpu,cpuacct:/x\n0::/\n"),
            ["name=systemd", "cpu,cpuacct"]
        );
        assert!(v1_hierarchies("0::/\n").is_empty());
    }
}
