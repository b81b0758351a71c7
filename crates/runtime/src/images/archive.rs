//! Reads files out of an image archive: a tar, a compressed tar, or a directory of the same files.
//!
//! Invariant: names inside an archive are only ever looked up in its table or, made clean, beneath its directory.

use super::ImageError;
use super::disk::Session;
use super::unpack::tar_stream::{Kind, TarStream};
use super::unpack::{Limits, decompress};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most files of one archive: three per layer, and no image has more than 500 layers, but an archive may hold hundreds of images.
const MAX_ARCHIVE_ENTRIES: usize = 1 << 18;
/// Most links followed to find a file: `docker save` links a repeated layer once.
const MAX_LINKS: usize = 8;

/// An opened archive.
pub(super) enum Archive {
    /// A directory.
    Dir(PathBuf),
    /// A tar with a table of its files.
    Tar {
        /// The uncompressed tar.
        file: File,
        /// Its files by clean name.
        entries: BTreeMap<String, Member>,
        /// What it is called in messages.
        path: PathBuf,
    },
}

/// A file in a tar.
#[derive(Debug)]
pub(super) enum Member {
    File { offset: u64, bytes: u64 },
    Link(String),
}

type Result<T> = std::result::Result<T, ImageError>;

impl Archive {
    /// Opens a file or directory. What cannot be read twice (a pipe, a compressed tar) is first copied into the session.
    pub fn open(path: &Path, session: &Session, limits: Limits) -> Result<Self> {
        let fail = |e| ImageError::io(format!("open {}", path.display()))(e);
        if path.is_dir() {
            return Ok(Self::Dir(path.to_owned()));
        }
        let file = File::open(path).map_err(fail)?;
        let file = seekable(file, session, limits).map_err(|e| archive_error(path, e))?;
        let entries = table(&file).map_err(|detail| archive_error(path, detail))?;
        Ok(Self::Tar { file, entries, path: path.to_owned() })
    }

    /// What the archive is called.
    pub fn path(&self) -> &Path {
        match self {
            Self::Dir(path) | Self::Tar { path, .. } => path,
        }
    }

    /// An error about this archive.
    pub fn error(&self, detail: impl ToString) -> ImageError {
        archive_error(self.path(), detail)
    }

    /// Whether a file of this name is in it.
    pub fn has(&self, name: &str) -> bool {
        self.open_member(name).is_ok()
    }

    /// The bytes of a small file.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let (reader, bytes) = self.open_member(name)?;
        if bytes > limit {
            return Err(ImageError::TooLarge {
                what: format!("{name:?} in {}", self.path().display()),
                limit,
            });
        }
        let mut content = Vec::new();
        reader
            .take(limit)
            .read_to_end(&mut content)
            .map_err(|e| self.error(format!("{name:?}: {e}")))?;
        Ok(content)
    }

    /// A reader of a file, and its length in bytes.
    pub fn open_member(&self, name: &str) -> Result<(Box<dyn Read + '_>, u64)> {
        let missing = || self.error(format!("{name:?} is missing in the archive"));
        let name = clean(name).ok_or_else(missing)?;
        match self {
            Self::Dir(dir) => {
                let file = File::open(dir.join(&name)).map_err(|_| missing())?;
                let metadata = file.metadata().map_err(|e| self.error(e))?;
                if !metadata.is_file() {
                    return Err(missing());
                }
                Ok((Box::new(BufReader::new(file)), metadata.len()))
            }
            Self::Tar { file, entries, .. } => {
                let (offset, bytes) = follow(entries, name).ok_or_else(missing)?;
                Ok((Box::new(BufReader::new(Section { file, offset, left: bytes })), bytes))
            }
        }
    }
}

fn archive_error(path: &Path, detail: impl ToString) -> ImageError {
    ImageError::Archive { path: path.display().to_string(), detail: detail.to_string() }
}

/// The file itself if it is a plain tar that can be read at any place, else an unpacked copy.
fn seekable(mut file: File, session: &Session, limits: Limits) -> io::Result<File> {
    let mut head = [0; 4];
    let plain = file.metadata()?.is_file() && {
        let n = file.read_at(&mut head, 0)?;
        super::manifest::detect_compression(&head[..n]) == super::manifest::Compression::None
    };
    if plain {
        return Ok(file);
    }
    let mut copy = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(session.path("archive.tar"))?;
    let limit = limits.layer_bytes;
    let copied = io::copy(&mut decompress(&mut file)?.take(limit.saturating_add(1)), &mut copy)?;
    if copied > limit {
        return Err(io::Error::other(format!(
            "the archive is larger than {limit} bytes when uncompressed"
        )));
    }
    copy.rewind()?;
    Ok(copy)
}

fn table(file: &File) -> std::result::Result<BTreeMap<String, Member>, String> {
    let mut stream = TarStream::new(BufReader::new(Section { file, offset: 0, left: u64::MAX }));
    let mut entries = BTreeMap::new();
    while let Some(entry) = stream.next_entry().map_err(|e| e.to_string())? {
        let Some(name) = std::str::from_utf8(&entry.name).ok().and_then(clean) else { continue };
        let link = String::from_utf8_lossy(&entry.link).into_owned();
        let member = match entry.kind {
            Kind::File => Member::File { offset: stream.position(), bytes: entry.size },
            Kind::HardLink => Member::Link(link),
            Kind::Symlink => Member::Link(beside(&name, &link)),
            _ => continue,
        };
        entries.insert(name, member);
        if entries.len() > MAX_ARCHIVE_ENTRIES {
            return Err(format!("more than {MAX_ARCHIVE_ENTRIES} files in the archive"));
        }
    }
    if entries.is_empty() {
        return Err("there are no files in the archive".to_owned());
    }
    Ok(entries)
}

fn follow(entries: &BTreeMap<String, Member>, mut name: String) -> Option<(u64, u64)> {
    for _ in 0..MAX_LINKS {
        match entries.get(&name)? {
            Member::File { offset, bytes } => return Some((*offset, *bytes)),
            Member::Link(target) => name = clean(target)?,
        }
    }
    None
}

/// A symbolic link's target seen from the archive's root.
fn beside(name: &str, target: &str) -> String {
    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
    format!("{dir}/{target}")
}

/// The name without `.`, `..` and extra slashes; `None` if it leads out of the archive.
fn clean(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A stretch of a file, read without moving the file's own position.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_refuses_names_that_lead_out() {
        assert_eq!(clean("./a//b/../c").as_deref(), Some("a/c"));
        assert_eq!(clean("/a").as_deref(), Some("a"));
        assert_eq!(clean("../a"), None);
        assert_eq!(clean("a/../../b"), None);
        assert_eq!(beside("x/layer.tar", "../y/layer.tar"), "x/../y/layer.tar");
    }

    #[test]
    fn links_in_a_circle_end() {
        let link = |to: &str| Member::Link(to.to_owned());
        let entries = BTreeMap::from([("a".to_owned(), link("b")), ("b".to_owned(), link("a"))]);
        assert_eq!(follow(&entries, "a".to_owned()), None);
    }
}
