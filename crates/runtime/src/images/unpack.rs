//! Unpacks one layer: a tar stream becomes a directory in overlayfs' own form.
//!
//! The counterpart of containerd's `archive.Apply` with its overlay conversion. Invariants:
//! * Nothing is written outside the layer's directory, whatever names, links and order the tar has: paths are resolved here, component by
//!   component, in the union of this layer and the ones below, and opened with `openat2` beneath the layer's root without following links.
//! * `.wh.x` becomes the character device 0:0, `.wh..wh..opq` the xattr `trusted.overlay.opaque`. No image can set overlayfs' own xattrs.
//! * Directories a tar does not mention get the metadata they have below, so a layer never changes what it does not contain.

pub(super) mod tar_stream;
mod tree;

use super::digest::{Digest, Hasher, HashingReader, LimitExceeded};
use super::manifest::{Compression, detect_compression};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
pub use tar_stream::TarError;
use tar_stream::{Entry, Kind, TarStream};
use tree::Tree;

/// Most bytes of one layer, unpacked: four times the largest layers in use (model weights), and a bound on what a small bomb can fill.
pub const MAX_LAYER_BYTES: u64 = 64 << 30;
/// Most entries of one layer; each costs an inode. The largest known images have some 500,000 files.
pub const MAX_LAYER_ENTRIES: u64 = 2 << 20;
/// Longest path in a layer: the kernel's `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;
/// Deepest path in a layer; each level costs two system calls to resolve.
pub const MAX_PATH_DEPTH: usize = 255;

/// Size of the copy buffer.
const BUFFER_BYTES: usize = 128 << 10;
/// File systems' block size, used to say how much space a layer takes.
const BLOCK_BYTES: u64 = 4096;
/// Latest time kept: the start of year 2446, the last that ext4 can store.
const MAX_MTIME_SECONDS: i64 = 15_032_385_535;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Xattrs that mean something to overlayfs; an image may not set them.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What a layer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the tar.
    pub layer_bytes: u64,
    /// Entries of the tar.
    pub layer_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { layer_bytes: MAX_LAYER_BYTES, layer_entries: MAX_LAYER_ENTRIES }
    }
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A name or link target leads out of the layer.
    #[error("entry {name:?} leads out of the image")]
    Traversal {
        /// The name as written.
        name: String,
    },
    /// A name is longer or deeper than allowed.
    #[error(
        "entry {name:?}... is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_PATH_DEPTH} directories"
    )]
    PathTooLong {
        /// The beginning of the name.
        name: String,
    },
    /// The layer is larger than allowed.
    #[error("the layer is larger than {limit} bytes when unpacked")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The layer has more entries than allowed.
    #[error("the layer has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// An entry that has no meaning.
    #[error("entry {name:?}: {reason}")]
    BadEntry {
        /// The name as written.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The tar is damaged.
    #[error(transparent)]
    Tar(TarError),
    /// The content is not what its digest says.
    #[error("{what} has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// Blob or tar.
        what: &'static str,
        /// As the image says.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// The blob's length is not what the manifest says.
    #[error("the layer blob has {actual} bytes, expected {expected}")]
    SizeMismatch {
        /// As the manifest says.
        expected: u64,
        /// As found.
        actual: u64,
    },
    /// The file system refused.
    #[error("entry {name:?}: {source}")]
    Io {
        /// The entry.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl From<TarError> for UnpackError {
    fn from(error: TarError) -> Self {
        let limit = match &error {
            TarError::Io(e) => e.get_ref().and_then(|e| e.downcast_ref::<LimitExceeded>()),
            TarError::Malformed { .. } => None,
        };
        match limit {
            Some(LimitExceeded { limit }) => Self::TooLarge { limit: *limit },
            None => Self::Tar(error),
        }
    }
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        TarError::Io(error).into()
    }
}

type Result<T> = std::result::Result<T, UnpackError>;

/// What unpacking found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Space taken, in bytes of whole blocks.
    pub bytes: u64,
    /// Files, directories and links made.
    pub inodes: u64,
    /// The layer hides everything below it. overlayfs does not look at the xattr on a layer's root, so the stack must end here.
    pub opaque_root: bool,
}

/// A packed layer and what it must turn out to be.
#[derive(Debug)]
pub struct Packed<'a, R> {
    /// The blob.
    pub blob: R,
    /// Its digest and size, if it is distributed by one.
    pub expected: Option<(&'a Digest, u64)>,
    /// Digest of the tar inside.
    pub diff_id: &'a Digest,
}

/// Unpacks a layer into the empty directory `target`, above the layers `below` (topmost first), and verifies its digests.
///
/// # Errors
/// See [`UnpackError`]; `target` is then in no useful state and is to be removed.
pub fn unpack<R: Read>(
    packed: Packed<'_, R>,
    target: &Path,
    below: &[PathBuf],
    limits: Limits,
) -> Result<Unpacked> {
    let blob_limit = packed.expected.map_or(u64::MAX, |(_, size)| size.saturating_add(1));
    let mut blob = HashingReader::new(packed.blob, blob_limit);
    let (diff_id, unpacked) = {
        let tar = decompress(&mut blob)?;
        let mut tar = HashingReader::new(tar, limits.layer_bytes);
        let unpacked = unpack_tar(&mut tar, target, below, limits)?;
        (tar.finish()?.0, unpacked)
    };
    let (digest, bytes) = blob.finish()?;
    if let Some((expected, size)) = packed.expected {
        check_size(size, bytes)?;
        check_digest("the layer blob", expected, digest)?;
    }
    check_digest("the layer's tar", packed.diff_id, diff_id)?;
    Ok(unpacked)
}

fn check_size(expected: u64, actual: u64) -> Result<()> {
    if expected == actual { Ok(()) } else { Err(UnpackError::SizeMismatch { expected, actual }) }
}

fn check_digest(what: &'static str, expected: &Digest, actual: Digest) -> Result<()> {
    if *expected == actual {
        return Ok(());
    }
    Err(UnpackError::DigestMismatch { what, expected: expected.clone(), actual })
}

/// Undoes gzip or zstd, whichever the first bytes show.
///
/// # Errors
/// What the reader answers.
pub fn decompress<'a, R: Read + 'a>(mut reader: R) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut head)?;
    let compression = detect_compression(&head);
    let whole = io::Cursor::new(head).chain(reader);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(zstd::Decoder::new(whole)?),
    })
}

/// The digest of what is inside a possibly compressed stream.
///
/// # Errors
/// What the reader answers.
pub fn digest_of_content(mut reader: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn unpack_tar<R: Read>(
    tar: R,
    target: &Path,
    below: &[PathBuf],
    limits: Limits,
) -> Result<Unpacked> {
    let tree = Tree::open(target, below).map_err(|e| io_error(b".", e))?;
    let mut unpacker = Unpacker {
        tree,
        unpacked: Unpacked::default(),
        dir_times: BTreeMap::new(),
        buffer: vec![0; BUFFER_BYTES],
        limits,
    };
    unpacker.tree.inherit_root().map_err(|e| io_error(b".", e))?;
    let mut tar = TarStream::new(tar);
    let mut entries = 0u64;
    while let Some(entry) = tar.next_entry()? {
        entries += 1;
        if entries > limits.layer_entries {
            return Err(UnpackError::TooManyEntries { limit: limits.layer_entries });
        }
        unpacker.apply(&entry, &mut tar)?;
    }
    unpacker.finish()
}

struct Unpacker {
    tree: Tree,
    unpacked: Unpacked,
    /// Times of directories, set last because every file made in one changes it.
    dir_times: BTreeMap<PathBuf, Timestamps>,
    buffer: Vec<u8>,
    limits: Limits,
}

impl Unpacker {
    fn apply<R: Read>(&mut self, entry: &Entry, tar: &mut TarStream<R>) -> Result<()> {
        let path = clean(&entry.name)?;
        let Some(base) = path.file_name().map(OsStr::to_owned) else {
            return self.apply_root(entry);
        };
        if is_aufs_metadata(&path) {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let place = self.tree.enter(parent).map_err(|e| io_error(&entry.name, e))?;
        if base.as_bytes().starts_with(WHITEOUT_PREFIX) {
            return self.whiteout(entry, &place, base.as_bytes());
        }
        self.create(entry, &place, &base, tar)?;
        self.unpacked.inodes += 1;
        Ok(())
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(bad(entry, "the root of an image must be a directory"));
        }
        let root = self.tree.root().map_err(|e| io_error(&entry.name, e))?;
        self.dir_metadata(entry, &root, Path::new(""))
    }

    fn whiteout(&mut self, entry: &Entry, place: &tree::Place, base: &[u8]) -> Result<()> {
        let io = |e| io_error(&entry.name, e);
        if base == WHITEOUT_OPAQUE {
            self.unpacked.opaque_root |= place.path.as_os_str().is_empty();
            return self.tree.make_opaque(&place.path, &place.fd).map_err(io);
        }
        let hidden = &base[WHITEOUT_PREFIX.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(bad(entry, "it is not a valid whiteout"));
        }
        self.unpacked.inodes += 1;
        self.tree.hide(place, OsStr::from_bytes(hidden)).map_err(io)
    }

    fn create<R: Read>(
        &mut self,
        entry: &Entry,
        place: &tree::Place,
        base: &OsStr,
        tar: &mut TarStream<R>,
    ) -> Result<()> {
        let io = |e| io_error(&entry.name, e);
        let was = self.tree.make_room(place, base, entry.kind == Kind::Directory).map_err(io)?;
        match entry.kind {
            Kind::File => self.file(entry, place, base, tar),
            Kind::Directory => self.directory(entry, place, base, was),
            Kind::HardLink => self.hard_link(entry, place, base),
            Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(bad(entry, "a symbolic link needs a target"));
                }
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), &place.fd, base)
                    .map_err(|e| io(e.into()))?;
                self.named_metadata(entry, place, base)
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                make_node(entry, place, base).map_err(io)?;
                self.named_metadata(entry, place, base)
            }
        }
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        place: &tree::Place,
        base: &OsStr,
        tar: &mut TarStream<R>,
    ) -> Result<()> {
        let io = |e| io_error(&entry.name, e);
        if entry.size > self.limits.layer_bytes {
            return Err(UnpackError::TooLarge { limit: self.limits.layer_bytes });
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&place.fd, base, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| io(e.into()))?;
        let mut file = File::from(fd);
        loop {
            let n = tar.read_content(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            file.write_all(&self.buffer[..n]).map_err(io)?;
        }
        self.unpacked.bytes += entry.size.next_multiple_of(BLOCK_BYTES);
        let fd = OwnedFd::from(file);
        fd_metadata(entry, &fd)?;
        rustix::fs::futimens(&fd, &times(entry)).map_err(|e| io(e.into()))
    }

    fn directory(
        &mut self,
        entry: &Entry,
        place: &tree::Place,
        base: &OsStr,
        was: tree::Room,
    ) -> Result<()> {
        let fd = self.tree.make_dir(place, base, was).map_err(|e| io_error(&entry.name, e))?;
        self.unpacked.bytes += BLOCK_BYTES;
        self.dir_metadata(entry, &fd, &place.path.join(base))
    }

    fn dir_metadata(&mut self, entry: &Entry, fd: &OwnedFd, path: &Path) -> Result<()> {
        self.dir_times.insert(path.to_owned(), times(entry));
        fd_metadata(entry, fd)
    }

    fn hard_link(&mut self, entry: &Entry, place: &tree::Place, base: &OsStr) -> Result<()> {
        let io = |e| io_error(&entry.name, e);
        let target = clean(&entry.link)?;
        let Some(target_base) = target.file_name() else {
            return Err(bad(entry, "a hard link cannot name a directory"));
        };
        let target_parent = target.parent().unwrap_or(Path::new(""));
        let from = self.tree.enter(target_parent).map_err(io)?;
        self.unpacked.bytes +=
            self.tree.copy_up(&from, target_base, self.limits.layer_bytes).map_err(io)?;
        rustix::fs::linkat(&from.fd, target_base, &place.fd, base, AtFlags::empty())
            .map_err(|e| io(e.into()))
    }

    /// Metadata of what cannot be opened: links and devices.
    fn named_metadata(&self, entry: &Entry, place: &tree::Place, base: &OsStr) -> Result<()> {
        let io = |e: rustix::io::Errno| io_error(&entry.name, e.into());
        let (uid, gid) = owner(entry)?;
        rustix::fs::chownat(&place.fd, base, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io)?;
        if entry.kind != Kind::Symlink {
            rustix::fs::chmodat(&place.fd, base, mode(entry), AtFlags::empty()).map_err(io)?;
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", place.fd.as_raw_fd())).join(base);
        for (key, value) in settable_xattrs(entry) {
            ignore_unsupported(rustix::fs::lsetxattr(&path, key, value, XattrFlags::empty()))
                .map_err(io)?;
        }
        rustix::fs::utimensat(&place.fd, base, &times(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(io)
    }

    fn finish(mut self) -> Result<Unpacked> {
        let mut times = self.tree.take_inherited();
        times.append(&mut self.dir_times);
        for (path, times) in times.iter().rev() {
            self.tree
                .set_times(path, times)
                .map_err(|e| io_error(path.as_os_str().as_bytes(), e))?;
        }
        self.unpacked.inodes += 1;
        Ok(self.unpacked)
    }
}

fn make_node(entry: &Entry, place: &tree::Place, base: &OsStr) -> io::Result<()> {
    let (kind, device) = match entry.kind {
        Kind::CharDevice => (FileType::CharacterDevice, entry.device),
        Kind::BlockDevice => (FileType::BlockDevice, entry.device),
        _ => (FileType::Fifo, (0, 0)),
    };
    let device = rustix::fs::makedev(device.0, device.1);
    Ok(rustix::fs::mknodat(&place.fd, base, kind, Mode::RUSR | Mode::WUSR, device)?)
}

/// Owner, mode and xattrs, in the order in which none undoes another: chown clears set-id bits and capabilities.
fn fd_metadata(entry: &Entry, fd: &OwnedFd) -> Result<()> {
    let io = |e: rustix::io::Errno| io_error(&entry.name, e.into());
    let (uid, gid) = owner(entry)?;
    rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(io)?;
    rustix::fs::fchmod(fd, mode(entry)).map_err(io)?;
    for (key, value) in settable_xattrs(entry) {
        ignore_unsupported(rustix::fs::fsetxattr(fd, key, value, XattrFlags::empty()))
            .map_err(io)?;
    }
    Ok(())
}

fn settable_xattrs(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    let reserved = |key: &[u8]| OVERLAY_XATTRS.iter().any(|prefix| key.starts_with(prefix));
    entry
        .xattrs
        .iter()
        .filter(move |(key, _)| !reserved(key))
        .map(|(key, value)| (OsStr::from_bytes(key), value.as_slice()))
}

/// A file system without a kind of xattr keeps the rest of the image usable; containerd does the same.
fn ignore_unsupported(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(rustix::io::Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

fn owner(entry: &Entry) -> Result<(Uid, Gid)> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(entry.uid), id(entry.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(bad(entry, "its owner's id is out of range")),
    }
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode & 0o7777)
}

fn times(entry: &Entry) -> Timestamps {
    let (seconds, nanoseconds) = entry.mtime;
    let clamped = seconds.clamp(0, MAX_MTIME_SECONDS);
    let time = Timespec {
        tv_sec: clamped,
        tv_nsec: if clamped == seconds { i64::from(nanoseconds) } else { 0 },
    };
    Timestamps { last_access: time, last_modification: time }
}

/// The name relative to the image's root, without `.`, `..` and doubled slashes. An absolute name is relative to the image's root.
fn clean(name: &[u8]) -> Result<PathBuf> {
    let too_long = || UnpackError::PathTooLong {
        name: String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned(),
    };
    if name.len() > MAX_PATH_BYTES {
        return Err(too_long());
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.pop().is_none() => {
                return Err(UnpackError::Traversal {
                    name: String::from_utf8_lossy(name).into_owned(),
                });
            }
            b".." => {}
            part => parts.push(part),
        }
    }
    if parts.len() > MAX_PATH_DEPTH {
        return Err(too_long());
    }
    Ok(parts.iter().map(|part| OsStr::from_bytes(part)).collect())
}

/// Whether a path belongs to aufs' own bookkeeping, which old `docker save` archives contain.
fn is_aufs_metadata(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.as_bytes();
        part.starts_with(WHITEOUT_META_PREFIX) && part != WHITEOUT_OPAQUE
    })
}

fn bad(entry: &Entry, reason: &'static str) -> UnpackError {
    UnpackError::BadEntry { name: String::from_utf8_lossy(&entry.name).into_owned(), reason }
}

fn io_error(name: &[u8], source: io::Error) -> UnpackError {
    UnpackError::Io { name: String::from_utf8_lossy(name).into_owned(), source }
}

/// Writes a finished directory tree to disk: each file when they are few, the whole file system when they are many.
///
/// # Errors
/// What the system answers.
pub fn sync_tree(dir: &Path, inodes: u64) -> io::Result<()> {
    /// Below this many files syncing each is faster than waiting for whatever else the file system has to write.
    const FEW: u64 = 64;
    if inodes <= FEW {
        return sync_each(dir);
    }
    Ok(rustix::fs::syncfs(File::open(dir)?)?)
}

fn sync_each(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_each(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// Borrows for helpers that take any descriptor.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        other => other?,
    };
    let reserved = |key: &[u8]| OVERLAY_XATTRS.iter().any(|prefix| key.starts_with(prefix));
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty() && !reserved(n)) {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0u8; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        ignore_unsupported(rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
