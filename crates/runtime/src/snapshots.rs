//! Snapshots: the writable overlay of each container above the layers of its image.
//!
//! The counterpart of containerd's overlayfs snapshotter. Invariants: a snapshot pins the layers under it until it is removed, whatever
//! becomes of the image's names; nothing is mounted here, the shim mounts in its own namespace, so the host's mount table never shows a
//! container and a shim's end unmounts everything.

use crate::images::{Digest, Disk, Image, ImageError, ImageStore, Usage};
use rustix::fd::AsFd;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest option value `fsconfig` takes, without its final zero.
const MAX_FSCONFIG_BYTES: usize = 255;
/// Longest options `mount` takes: one page with its final zero.
const MAX_OPTIONS_BYTES: usize = 4095;
/// Longest container id; ours have 64 digits.
const MAX_ID_BYTES: usize = 128;

/// The directories an overlay mount is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Layer directories, topmost first; never empty.
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// overlayfs' own scratch directory, beside `upper`.
    pub work: PathBuf,
}

/// What a snapshot remembers.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    /// Id of the image.
    image: String,
    /// The layers, base first.
    chain_ids: Vec<Digest>,
}

/// The writable layers of containers. Clones share one directory.
#[derive(Clone)]
pub struct Snapshots {
    store: ImageStore,
}

type Result<T> = std::result::Result<T, ImageError>;

impl Snapshots {
    /// The snapshots beside the images of `store`.
    pub fn new(store: &ImageStore) -> Self {
        Self { store: store.clone() }
    }

    /// Makes the writable layer of a container; the layers of `image` then stay until [`Self::remove`]. Blocking, idempotent.
    ///
    /// # Errors
    /// The image's layers are no longer there, or the disk's.
    pub fn prepare(&self, image: &Image, container_id: &str) -> Result<RootFs> {
        let target = self.dir(container_id)?;
        if let Some(rootfs) = self.get(container_id)? {
            return Ok(rootfs);
        }
        let disk = self.store.disk();
        let session = disk.session()?;
        let _state = disk.state()?;
        if let Some(gone) = image.chain_ids.iter().find(|c| !disk.layer_fs(c).is_dir()) {
            return Err(ImageError::NotFound(format!("{} (layer {gone})", image.id)));
        }
        let lowers = disk.lowers(&image.chain_ids)?;
        let made = session.make_dir("snapshot")?;
        let snapshot = Snapshot { image: image.id.clone(), chain_ids: image.chain_ids.clone() };
        fill(&made, &snapshot, lowers.first().map(PathBuf::as_path))
            .map_err(io_at("prepare", &target))?;
        fs::rename(&made, &target).map_err(io_at("rename to", &target))?;
        Ok(rootfs(&target, lowers))
    }

    /// The directories of a container prepared earlier, or `None`.
    ///
    /// # Errors
    /// The disk's.
    pub fn get(&self, container_id: &str) -> Result<Option<RootFs>> {
        let dir = self.dir(container_id)?;
        match read(&dir)? {
            None => Ok(None),
            Some(snapshot) => {
                Ok(Some(rootfs(&dir, self.store.disk().lowers(&snapshot.chain_ids)?)))
            }
        }
    }

    /// Removes a container's writable layer and the layers only it needed. Blocking, idempotent.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, container_id: &str) -> Result<()> {
        let dir = self.dir(container_id)?;
        let session = self.store.disk().session()?;
        match fs::rename(&dir, session.path("snapshot")) {
            Ok(()) => drop(session),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io_at("remove", &dir)(e)),
        }
        self.store.collect_garbage()
    }

    /// Ids of all containers that have a writable layer.
    ///
    /// # Errors
    /// The disk's.
    pub fn list(&self) -> Result<Vec<String>> {
        let dirs = snapshot_dirs(self.store.disk())?;
        Ok(dirs.iter().filter_map(|d| Some(d.file_name()?.to_str()?.to_owned())).collect())
    }

    /// Space taken by a container's writable layer. Blocking; walks the directory.
    ///
    /// # Errors
    /// The disk's; a container without a writable layer takes none.
    pub fn usage(&self, container_id: &str) -> Result<Usage> {
        let dir = self.dir(container_id)?;
        let mut usage = Usage::default();
        match add_usage(&dir.join("upper"), &mut usage) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(usage),
            Err(e) => Err(io_at("measure", &dir)(e)),
            Ok(()) => Ok(usage),
        }
    }

    fn dir(&self, container_id: &str) -> Result<PathBuf> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if container_id.is_empty()
            || container_id.len() > MAX_ID_BYTES
            || !container_id.bytes().all(plain)
        {
            return Err(ImageError::malformed("container id", format!("{container_id:?}")));
        }
        Ok(self.store.disk().root().join("snapshots").join(container_id))
    }
}

/// Layers that containers stand on.
pub(crate) fn layers_in_use(disk: &Disk) -> Result<Vec<Digest>> {
    let mut layers = Vec::new();
    for dir in snapshot_dirs(disk)? {
        if let Some(snapshot) = read(&dir)? {
            layers.extend(snapshot.chain_ids);
        }
    }
    Ok(layers)
}

fn snapshot_dirs(disk: &Disk) -> Result<Vec<PathBuf>> {
    let path = disk.root().join("snapshots");
    let list = || fs::read_dir(&path)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>();
    let mut dirs = list().map_err(io_at("list", &path))?;
    dirs.sort();
    Ok(dirs)
}

fn io_at(action: &str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let action = format!("{action} {}", path.display());
    move |source| ImageError::Io { action, source }
}

fn read(dir: &Path) -> Result<Option<Snapshot>> {
    let path = dir.join("snapshot.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| ImageError::Malformed {
            what: "snapshot.json",
            detail: format!("{}: {e}", path.display()),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_at("read", &path)(e)),
    }
}

/// An image without layers still needs a lower directory: an empty one beside the upper.
fn rootfs(dir: &Path, mut lowers: Vec<PathBuf>) -> RootFs {
    if lowers.is_empty() {
        lowers.push(dir.join("empty"));
    }
    RootFs { lowers, upper: dir.join("upper"), work: dir.join("work") }
}

fn fill(dir: &Path, snapshot: &Snapshot, top: Option<&Path>) -> io::Result<()> {
    for name in ["upper", "work", "empty"] {
        fs::create_dir(dir.join(name))?;
    }
    // The upper's own metadata is what the container sees at its root.
    let upper = fs::File::open(dir.join("upper"))?;
    let (mode, uid, gid) = match top {
        Some(top) => fs::metadata(top).map(|m| (m.mode(), m.uid(), m.gid()))?,
        None => (0o755, 0, 0),
    };
    rustix::fs::fchown(&upper, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(&upper, Mode::from_raw_mode(mode & 0o7777))?;
    let mut file = fs::File::create(dir.join("snapshot.json"))?;
    serde_json::to_writer(&mut file, snapshot)?;
    file.sync_all()
}

fn add_usage(path: &Path, usage: &mut Usage) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    usage.bytes += metadata.blocks() * 512;
    usage.inodes += 1;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            match add_usage(&entry?.path(), usage) {
                // A running container removes files while they are counted.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Makes a detached overlay mount with the new mount API (Linux 6.8), to be attached with `move_mount` or used through the descriptor.
///
/// # Errors
/// What the kernel answers; `EINVAL` before Linux 6.8.
pub fn overlay(rootfs: &RootFs) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, path: &Path| -> io::Result<()> {
        // A path too long for an option is named by its descriptor, which the kernel follows at once.
        let dir = open_path(path)?;
        let value = if path.as_os_str().len() <= MAX_FSCONFIG_BYTES {
            path.to_owned()
        } else {
            fd_path(&dir)
        };
        Ok(rustix::mount::fsconfig_set_string(context.as_fd(), key, value.as_path())?)
    };
    for lower in &rootfs.lowers {
        set("lowerdir+", lower)?;
    }
    set("upperdir", &rootfs.upper)?;
    set("workdir", &rootfs.work)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?)
}

/// Mounts the overlay on `target`, a directory. Call it in a private mount namespace.
///
/// # Errors
/// What the kernel answers.
pub fn mount_overlay(rootfs: &RootFs, target: &Path) -> io::Result<()> {
    match overlay(rootfs) {
        Ok(mount) => Ok(rustix::mount::move_mount(
            mount,
            "",
            CWD,
            target,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )?),
        // Before Linux 6.8 there is no `lowerdir+`.
        Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            mount_with_options(rootfs, target)
        }
        Err(e) => Err(e),
    }
}

/// The mount of older kernels, with all directories in one string.
fn mount_with_options(rootfs: &RootFs, target: &Path) -> io::Result<()> {
    let dirs = rootfs.lowers.iter().chain([&rootfs.upper, &rootfs.work]);
    let open: Vec<OwnedFd> = dirs.map(|d| open_path(d)).collect::<io::Result<_>>()?;
    let by_name = options(&rootfs.lowers, &rootfs.upper, &rootfs.work);
    let plain =
        |p: &Path| !p.as_os_str().as_bytes().iter().any(|b| matches!(b, b':' | b',' | b'\\'));
    let fits = by_name.len() <= MAX_OPTIONS_BYTES
        && rootfs.lowers.iter().chain([&rootfs.upper, &rootfs.work]).all(|p| plain(p));
    let options = if fits {
        by_name
    } else {
        let short: Vec<PathBuf> = open.iter().map(fd_path).collect();
        let lowers = rootfs.lowers.len();
        options(&short[..lowers], &short[lowers], &short[lowers + 1])
    };
    if options.len() > MAX_OPTIONS_BYTES {
        let text = format!(
            "{} layers are too many for this kernel, Linux 6.8 can stack 500",
            rootfs.lowers.len()
        );
        return Err(io::Error::other(text));
    }
    let options = CString::new(options)?;
    Ok(rustix::mount::mount(
        "overlay",
        target,
        "overlay",
        rustix::mount::MountFlags::empty(),
        options.as_c_str(),
    )?)
}

fn options(lowers: &[PathBuf], upper: &Path, work: &Path) -> Vec<u8> {
    let lowers: Vec<&[u8]> = lowers.iter().map(|p| p.as_os_str().as_bytes()).collect();
    let parts: [&[u8]; 6] = [
        b"lowerdir=",
        &lowers.join(&b':'),
        b",upperdir=",
        upper.as_os_str().as_bytes(),
        b",workdir=",
        work.as_os_str().as_bytes(),
    ];
    parts.concat()
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn fd_path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
