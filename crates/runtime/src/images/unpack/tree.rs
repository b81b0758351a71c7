//! The layer being made, seen together with the layers below it.
//!
//! Invariants: a path in here is canonical, it has no symbolic link, `.` or `..` in it, because [`Tree::enter`] resolved them against the
//! union. Every path is opened with `openat2` under `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, so that a mistake in that resolution is an
//! error of the kernel and no escape.

use super::copy_xattrs;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most symbolic links followed in one path: the kernel's own limit.
const MAX_LINKS: usize = 40;
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

const SAFELY: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// A directory of the layer being made.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its canonical path; empty for the root.
    pub path: PathBuf,
    /// The directory.
    pub fd: Rc<OwnedFd>,
}

/// What stood where an entry is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Nothing; the name is free.
    Free,
    /// A directory that the new one becomes one with.
    Directory,
    /// A whiteout of this same layer, now gone: a directory made here must go on hiding what is below.
    Whiteout,
}

/// What a path leads to.
enum Node {
    Missing,
    Here(Stat),
    Below(Stat, OwnedFd),
}

/// The layer being made over the layers below.
pub struct Tree {
    root: Rc<OwnedFd>,
    below: Vec<OwnedFd>,
    opaque: BTreeSet<PathBuf>,
    /// The directory entered last, by the path as written; most entries follow a sibling.
    last: Option<(PathBuf, Place)>,
    /// Times of directories copied from below, to be set again at the end.
    inherited: BTreeMap<PathBuf, Timestamps>,
}

impl Tree {
    /// The empty directory `target` over `below`, topmost first.
    pub fn open(target: &Path, below: &[PathBuf]) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let root =
            Rc::new(rustix::fs::open(target, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
        let below = below.iter().map(|p| open(p)).collect::<rustix::io::Result<_>>()?;
        Ok(Self { root, below, opaque: BTreeSet::new(), last: None, inherited: BTreeMap::new() })
    }

    /// The root, for changing its metadata.
    pub fn root(&self) -> io::Result<OwnedFd> {
        Ok(rustix::io::dup(&*self.root)?)
    }

    /// Gives the root the metadata of the root below.
    pub fn inherit_root(&self) -> io::Result<()> {
        match self.below.first() {
            None => Ok(rustix::fs::fchmod(&*self.root, Mode::from_raw_mode(0o755))?),
            Some(below) => copy_dir_metadata(&reopen(below)?, &self.root),
        }
    }

    /// Resolves a directory named by an entry, making what is missing.
    pub fn enter(&mut self, wanted: &Path) -> io::Result<Place> {
        if let Some((path, place)) = &self.last
            && path == wanted
        {
            return Ok(place.clone());
        }
        let path = self.resolve(wanted)?;
        let place = Place { fd: Rc::new(self.open_dir(&path)?), path };
        self.last = Some((wanted.to_owned(), place.clone()));
        Ok(place)
    }

    fn resolve(&mut self, wanted: &Path) -> io::Result<PathBuf> {
        let mut todo: VecDeque<OsString> = wanted.iter().map(OsStr::to_owned).collect();
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            match part.as_bytes() {
                b"." | b"" => continue,
                b"/" => {
                    at = PathBuf::new();
                    continue;
                }
                b".." => {
                    at.pop();
                    continue;
                }
                _ => {}
            }
            let next = at.join(&part);
            match self.step(&next)? {
                None => at = next,
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    for part in target.iter().rev() {
                        todo.push_front(part.to_owned());
                    }
                }
            }
        }
        Ok(at)
    }

    /// Makes sure that `path` is a directory of this layer, or gives the target of the symbolic link it is.
    fn step(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        match self.node(path)? {
            Node::Here(stat) => match file_type(&stat) {
                FileType::Directory => Ok(None),
                FileType::Symlink => read_link(&self.root, path).map(Some),
                _ if is_whiteout(&stat) => {
                    let (parent, name) = self.parent_of(path)?;
                    rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
                    self.new_dir(path, Room::Whiteout).map(|_| None)
                }
                _ => Err(Errno::NOTDIR.into()),
            },
            Node::Below(stat, fd) => match file_type(&stat) {
                FileType::Directory => {
                    let made = self.new_dir(path, Room::Free)?;
                    self.inherited.insert(path.to_owned(), times(&stat));
                    copy_dir_metadata(&reopen(&fd)?, &made).map(|()| None)
                }
                FileType::Symlink => read_link_fd(&fd).map(Some),
                _ => self.new_dir(path, Room::Free).map(|_| None),
            },
            Node::Missing => self.new_dir(path, Room::Free).map(|_| None),
        }
    }

    fn new_dir(&mut self, path: &Path, was: Room) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent_of(path)?;
        let parent_path = path.parent().unwrap_or(Path::new("")).to_owned();
        let place = Place { path: parent_path, fd: Rc::new(parent) };
        self.make_dir(&place, name, was)
    }

    fn parent_of<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        Ok((self.open_dir(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Makes a directory, or opens the one that [`Self::make_room`] found.
    pub fn make_dir(&mut self, place: &Place, base: &OsStr, was: Room) -> io::Result<OwnedFd> {
        if was != Room::Directory {
            rustix::fs::mkdirat(&*place.fd, base, Mode::from_raw_mode(0o755))?;
        }
        let path = place.path.join(base);
        let fd = self.open_dir(&path)?;
        if was == Room::Free {
            // The process's umask may have taken bits away.
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
        }
        if was == Room::Whiteout {
            self.make_opaque(&path, &fd)?;
        }
        Ok(fd)
    }

    /// Hides everything below a directory of this layer.
    pub fn make_opaque(&mut self, path: &Path, fd: &OwnedFd) -> io::Result<()> {
        self.opaque.insert(path.to_owned());
        Ok(rustix::fs::fsetxattr(fd, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
    }

    /// Hides a name of the layers below. What this layer itself has there stays, as whiteouts are about lower layers only.
    pub fn hide(&mut self, place: &Place, name: &OsStr) -> io::Result<()> {
        let path = place.path.join(name);
        match self.here(&path)? {
            Some(stat) if file_type(&stat) == FileType::Directory => {
                let fd = self.open_dir(&path)?;
                self.make_opaque(&path, &fd)
            }
            Some(_) => Ok(()),
            None => Ok(rustix::fs::mknodat(
                &*place.fd,
                name,
                FileType::CharacterDevice,
                Mode::empty(),
                0,
            )?),
        }
    }

    /// Takes away what this layer has under a name, unless directory meets directory.
    pub fn make_room(&mut self, place: &Place, base: &OsStr, for_dir: bool) -> io::Result<Room> {
        let path = place.path.join(base);
        let Some(stat) = self.here(&path)? else {
            return Ok(Room::Free);
        };
        if file_type(&stat) == FileType::Directory {
            if for_dir {
                return Ok(Room::Directory);
            }
            self.last = None;
            self.opaque.retain(|p| !p.starts_with(&path));
            remove_all(&place.fd, base)?;
            return Ok(Room::Free);
        }
        self.last = None;
        rustix::fs::unlinkat(&*place.fd, base, AtFlags::empty())?;
        Ok(if is_whiteout(&stat) { Room::Whiteout } else { Room::Free })
    }

    /// Makes sure that this layer has a file that exists below, to be linked; gives the bytes copied.
    pub fn copy_up(&mut self, place: &Place, base: &OsStr, limit: u64) -> io::Result<u64> {
        let path = place.path.join(base);
        let (stat, fd) = match self.node(&path)? {
            Node::Here(stat) if is_whiteout(&stat) => return Err(Errno::NOENT.into()),
            Node::Here(_) => return Ok(0),
            Node::Missing => return Err(Errno::NOENT.into()),
            Node::Below(stat, fd) => (stat, fd),
        };
        match file_type(&stat) {
            FileType::RegularFile => copy_file(&fd, &stat, place, base, limit),
            FileType::Symlink => {
                rustix::fs::symlinkat(read_link_fd(&fd)?, &*place.fd, base)?;
                let (uid, gid) = owner(&stat);
                rustix::fs::chownat(&*place.fd, base, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::utimensat(&*place.fd, base, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(0)
            }
            _ => Err(Errno::PERM.into()),
        }
    }

    /// Directories that came from below and their times there.
    pub fn take_inherited(&mut self) -> BTreeMap<PathBuf, Timestamps> {
        std::mem::take(&mut self.inherited)
    }

    /// Sets a directory's times, if it is still one.
    pub fn set_times(&self, path: &Path, times: &Timestamps) -> io::Result<()> {
        match self.here(path)? {
            Some(stat) if file_type(&stat) == FileType::Directory => {
                Ok(rustix::fs::futimens(self.open_dir(path)?, times)?)
            }
            _ => Ok(()),
        }
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        match stat_beneath(&self.root, path) {
            Ok((stat, _)) => Ok(Node::Here(stat)),
            Err(Errno::NOENT) if path.ancestors().skip(1).any(|p| self.opaque.contains(p)) => {
                Ok(Node::Missing)
            }
            Err(Errno::NOENT) => self.node_below(path),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(Node::Missing),
            Err(e) => Err(e.into()),
        }
    }

    fn here(&self, path: &Path) -> io::Result<Option<Stat>> {
        match stat_beneath(&self.root, path) {
            Ok((stat, _)) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What overlayfs would show at `path` of the layers below.
    fn node_below(&self, path: &Path) -> io::Result<Node> {
        for layer in &self.below {
            match stat_beneath(layer, path) {
                Ok((stat, _)) if is_whiteout(&stat) => return Ok(Node::Missing),
                Ok((stat, fd)) => return Ok(Node::Below(stat, fd)),
                Err(Errno::NOENT) if hides_below(layer, path)? => return Ok(Node::Missing),
                Err(Errno::NOENT) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Node::Missing),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(Node::Missing)
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat2(&*self.root, path, flags, Mode::empty(), SAFELY)?)
    }
}

/// Whether a directory on the way to `path` is opaque in `layer`.
fn hides_below(layer: &OwnedFd, path: &Path) -> io::Result<bool> {
    let ways = path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
    for way in ways {
        match stat_beneath(layer, way) {
            Ok((_, fd)) if is_opaque(&reopen(&fd)?) => return Ok(true),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}

fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0u8; 1];
    matches!(rustix::fs::fgetxattr(dir, OPAQUE_XATTR, &mut value), Ok(1)) && value == *b"y"
}

fn stat_beneath(root: &OwnedFd, path: &Path) -> rustix::io::Result<(Stat, OwnedFd)> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat2(root, path, flags, Mode::empty(), SAFELY)?;
    Ok((rustix::fs::fstat(&fd)?, fd))
}

/// Opens a directory for reading that was found with `O_PATH`.
fn reopen(dir: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, ".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn read_link(root: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    read_link_fd(&stat_beneath(root, path)?.1)
}

fn read_link_fd(link: &OwnedFd) -> io::Result<PathBuf> {
    let target = rustix::fs::readlinkat(link, "", Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    #[expect(clippy::useless_conversion, reason = "the fields' types differ between architectures")]
    let (atime_nsec, mtime_nsec) = (
        u64::try_from(stat.st_atime_nsec).unwrap_or(0),
        u64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    );
    Timestamps {
        last_access: time(stat.st_atime, atime_nsec),
        last_modification: time(stat.st_mtime, mtime_nsec),
    }
}

/// Owner, mode, xattrs and times of a directory.
fn copy_dir_metadata(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    let (uid, gid) = owner(&stat);
    rustix::fs::fchown(to, uid, gid)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(from.as_fd(), to.as_fd())?;
    Ok(rustix::fs::futimens(to, &times(&stat))?)
}

fn copy_file(
    from: &OwnedFd,
    stat: &Stat,
    place: &Place,
    base: &OsStr,
    limit: u64,
) -> io::Result<u64> {
    use std::os::fd::AsRawFd;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > limit {
        return Err(Errno::FBIG.into());
    }
    // The descriptor is known to be a regular file, so opening it again follows nothing and cannot block.
    let mut source = File::open(format!("/proc/self/fd/{}", from.as_raw_fd()))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut target =
        File::from(rustix::fs::openat(&*place.fd, base, flags, Mode::RUSR | Mode::WUSR)?);
    let bytes = io::copy(&mut source.by_ref().take(size), &mut target)?;
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&target, uid, gid)?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    copy_xattrs(source.as_fd(), target.as_fd())?;
    rustix::fs::futimens(&target, &times(stat))?;
    Ok(bytes)
}

/// Removes a directory and all in it without following links.
fn remove_all(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let entries: Vec<_> = rustix::fs::Dir::read_from(&dir)?.collect::<rustix::io::Result<_>>()?;
    for entry in entries {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        match name.as_bytes() {
            b"." | b".." => {}
            _ if rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|s| file_type(&s) == FileType::Directory) =>
            {
                remove_all(&dir, name)?;
            }
            _ => rustix::fs::unlinkat(&dir, name, AtFlags::empty())?,
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
