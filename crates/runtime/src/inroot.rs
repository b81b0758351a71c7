//! Paths inside a file system that somebody else fills: resolved by the kernel or step by step, never leaving it.
//!
//! The counterpart of filepath-securejoin's handle-based API. Invariants: no symlink in the tree leads out of it; what is resolved is opened
//! without following symlinks, so one that is swapped in meanwhile is an error, not a way out (CVE-2021-30465).

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Symlinks followed on one path, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Flags under which a resolved path is opened.
const STRICT: ResolveFlags =
    ResolveFlags::IN_ROOT.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

fn push_components(path: &Path, rest: &mut VecDeque<OsString>) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => rest.push_front(name.to_owned()),
            Component::ParentDir => rest.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

/// Resolves `path` within `root` to a relative path without symlinks; parts that do not exist are taken as they are.
pub fn resolve(root: BorrowedFd<'_>, path: &Path) -> io::Result<PathBuf> {
    let mut rest = VecDeque::new();
    push_components(path, &mut rest);
    let (mut resolved, mut links) = (PathBuf::new(), 0);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let candidate = resolved.join(&name);
        let fd = match openat2(
            root,
            &candidate,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            STRICT,
        ) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => {
                resolved = candidate;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::Symlink {
            resolved = candidate;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target =
            PathBuf::from(OsString::from_vec(readlinkat(&fd, "", Vec::new())?.into_bytes()));
        if target.is_absolute() {
            resolved = PathBuf::new();
        }
        push_components(&target, &mut rest);
    }
    Ok(resolved)
}

/// Opens `path` within `root`.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolved = resolve(root, path)?;
    let resolved = if resolved.as_os_str().is_empty() { Path::new(".") } else { &resolved };
    Ok(openat2(root, resolved, flags | OFlags::CLOEXEC, Mode::empty(), STRICT)?)
}

/// What [`open_or_create`] creates at the end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// Opens `path` within `root` as a place (`O_PATH`), creating what is missing.
pub fn open_or_create(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let resolved = resolve(root, path)?;
    let mut place = openat2(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), STRICT)?;
    let mut names = resolved.iter().peekable();
    while let Some(name) = names.next() {
        let last = names.peek().is_none();
        let flags = OFlags::PATH
            | OFlags::CLOEXEC
            | if last { OFlags::NOFOLLOW } else { OFlags::DIRECTORY };
        place = match openat2(&place, name, flags, Mode::empty(), STRICT) {
            Err(Errno::NOENT) => {
                create(place.as_fd(), name.as_ref(), if last { kind } else { Kind::Directory })?;
                openat2(&place, name, flags, Mode::empty(), STRICT)?
            }
            other => other?,
        };
    }
    Ok(place)
}

fn create(place: BorrowedFd<'_>, name: &Path, kind: Kind) -> io::Result<()> {
    let created = match kind {
        Kind::Directory => mkdirat(place, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(place, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match created {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("a/b")).expect("directories");
        std::fs::write(dir.path().join("a/file"), "x").expect("a file");
        symlink("/", dir.path().join("a/root")).expect("a symlink");
        symlink("../../../../..", dir.path().join("a/up")).expect("a symlink");
        symlink("../run/x/resolv.conf", dir.path().join("a/dangling")).expect("a symlink");
        symlink("self", dir.path().join("self")).expect("a symlink");
        let fd = rustix::fs::open(dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .expect("the directory");
        (dir, fd)
    }

    #[test]
    fn resolve_symlinks_stay_inside() {
        let (_dir, root) = tree();
        for (path, resolved) in [
            ("/a/b", "a/b"),
            ("/a/root/a/b", "a/b"),
            ("/a/up/a/file", "a/file"),
            ("/../../a/./b/../file", "a/file"),
            ("/a/dangling", "run/x/resolv.conf"),
            ("/missing/x", "missing/x"),
            ("/", ""),
        ] {
            assert_eq!(
                resolve(root.as_fd(), Path::new(path)).expect(path),
                Path::new(resolved),
                "{path}"
            );
        }
        assert!(resolve(root.as_fd(), Path::new("/self")).is_err());
    }

    #[test]
    fn open_or_create_dangling_symlink_creates_its_target_inside() {
        let (dir, root) = tree();
        open_or_create(root.as_fd(), Path::new("/a/dangling"), Kind::File).expect("created");
        assert!(dir.path().join("run/x/resolv.conf").is_file());
    }

    #[test]
    fn open_or_create_through_a_file_fails() {
        let (_dir, root) = tree();
        assert!(open_or_create(root.as_fd(), Path::new("/a/file/x"), Kind::Directory).is_err());
    }
}
