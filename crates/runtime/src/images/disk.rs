//! The store's directories, and how several processes share them.
//!
//! ```text
//! <root>/format                      the number of this layout
//! <root>/names.json                  image names and the manifests they mean
//! <root>/blobs/sha256/<hex>          manifests and configs; layer blobs only while a pull needs them
//! <root>/layers/<chain id>/fs        an unpacked layer, as overlayfs wants it; layer.json beside it
//! <root>/snapshots/<container id>    upper, work and snapshot.json of a container
//! <root>/ingest/<random>             one operation's temporary files and leases, gone when it ends; the directory itself is locked
//! <root>/locks/<key>                 held by whoever is making that blob or layer
//! <root>/state.lock                  held for moments: while names change, something appears, or the sweep chooses
//! ```
//!
//! Invariants: everything is made under `ingest`, synced, and renamed to its place, so what has its final name is whole. An operation leases
//! what it will use before it looks whether it is there; the sweep spares leases. Locks are `flock`s, which die with their process, so an
//! `ingest` directory whose lock is free is a dead operation's and is removed by the next open or sweep. Only root can enter: layers hold set-id files.

use super::ImageError;
use super::digest::Digest;
use super::unpack::sync_tree;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The number of the layout above.
const FORMAT: &str = "1";

/// What the sweep decides about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A blob by its digest.
    Blob(Digest),
    /// A layer by its chain id.
    Layer(Digest),
}

impl Key {
    fn file_name(&self) -> String {
        match self {
            Self::Blob(digest) => format!("blob-{}", digest.hex()),
            Self::Layer(digest) => format!("layer-{}", digest.hex()),
        }
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (kind, hex) = name.split_once('-')?;
        let digest = Digest::parse(&format!("sha256:{hex}")).ok()?;
        match kind {
            "blob" => Some(Self::Blob(digest)),
            "layer" => Some(Self::Layer(digest)),
            _ => None,
        }
    }
}

/// What is known of an unpacked layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    pub diff_id: Digest,
    pub parent: Option<Digest>,
    /// Space taken, in bytes.
    pub bytes: u64,
    pub inodes: u64,
    /// Nothing below this layer shows through.
    pub opaque_root: bool,
}

/// The directories of one store.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

/// Held while the store's state changes.
#[derive(Debug)]
pub(crate) struct StateLock(
    #[expect(dead_code, reason = "the lock lives as long as the file")] File,
);

/// One operation: its temporary files and its leases.
#[derive(Debug)]
pub(crate) struct Session {
    dir: TempDir,
    _lock: File,
}

/// The right to make a blob or a layer; others that want it wait.
#[derive(Debug)]
pub(crate) struct MakerLock {
    path: PathBuf,
    _file: File,
}

impl Drop for MakerLock {
    fn drop(&mut self) {
        // Removed while still held: whoever waits for this file sees that it is gone and takes a new one.
        let _ = fs::remove_file(&self.path);
    }
}

type Result<T> = std::result::Result<T, ImageError>;

fn io_at(action: &str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    ImageError::io(format!("{action} {}", path.display()))
}

impl Disk {
    /// Opens or makes the directories, and removes what dead operations left.
    pub fn open(root: PathBuf) -> Result<Self> {
        let disk = Self { root };
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&disk.root).map_err(io_at("create", &disk.root))?;
        disk.check_format()?;
        for dir in ["blobs/sha256", "layers", "snapshots", "ingest", "locks"] {
            let path = disk.root.join(dir);
            private.create(&path).map_err(io_at("create", &path))?;
        }
        disk.clean_leftovers()?;
        Ok(disk)
    }

    /// Where everything is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn check_format(&self) -> Result<()> {
        let path = self.root.join("format");
        match fs::read_to_string(&path) {
            Ok(found) if found.trim() == FORMAT => Ok(()),
            Ok(found) => {
                let path = self.root.display().to_string();
                Err(ImageError::Format { path, found: found.trim().to_owned(), known: FORMAT })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                write_synced(&self.root, &path, format!("{FORMAT}\n").as_bytes())
                    .map_err(io_at("write", &path))
            }
            Err(e) => Err(io_at("read", &path)(e)),
        }
    }

    /// Takes the state lock; held for moments only.
    pub fn state(&self) -> Result<StateLock> {
        let path = self.root.join("state.lock");
        lock_file(&path, FlockOperation::LockExclusive).map(StateLock).map_err(io_at("lock", &path))
    }

    /// Begins an operation.
    pub fn session(&self) -> Result<Session> {
        let _state = self.state()?;
        let ingest = self.root.join("ingest");
        let make = || {
            let dir = TempDir::new_in(&ingest)?;
            fs::create_dir(dir.path().join("leases"))?;
            let lock = lock_dir(dir.path(), FlockOperation::LockExclusive)?;
            Ok(Session { dir, _lock: lock })
        };
        make().map_err(io_at("create a directory in", &ingest))
    }

    /// Removes what operations left whose process died; their leases end with it.
    pub fn clean_leftovers(&self) -> Result<()> {
        for (dir, _lock) in self.dead_sessions()? {
            tracing::info!(dir = %dir.display(), "removing what an interrupted image operation left");
            match fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(io_at("remove", &dir)(e));
                }
                _ => {}
            }
        }
        for path in self.dirs_in("locks")? {
            // Whoever waits for a file removed here sees that it is gone, as with a maker's own removal.
            let file = File::open(&path);
            if file.is_ok_and(|f| {
                flock(f, FlockOperation::NonBlockingLockExclusive)
                    .is_ok_and(|_held| fs::remove_file(&path).is_ok())
            }) {
                tracing::debug!(path = %path.display(), "removed a dead operation's lock");
            }
        }
        Ok(())
    }

    /// Sessions nobody holds, now held by us. Under the state lock, so that one being made is not taken for dead.
    fn dead_sessions(&self) -> Result<Vec<(PathBuf, File)>> {
        let _state = self.state()?;
        let lock = |dir: PathBuf| {
            lock_dir(&dir, FlockOperation::NonBlockingLockExclusive).ok().map(|lock| (dir, lock))
        };
        Ok(self.dirs_in("ingest")?.into_iter().filter_map(lock).collect())
    }

    fn dirs_in(&self, name: &str) -> Result<Vec<PathBuf>> {
        let path = self.root.join(name);
        let list = || fs::read_dir(&path)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>();
        list().map_err(io_at("list", &path))
    }

    /// Waits until nobody else is making `key`. Blocking, perhaps for as long as a download takes.
    pub fn maker(&self, key: &Key) -> Result<MakerLock> {
        let path = self.root.join("locks").join(key.file_name());
        let fail = |e| io_at("lock", &path)(e);
        loop {
            let file = lock_file(&path, FlockOperation::LockExclusive).map_err(fail)?;
            match (fs::metadata(&path), file.metadata()) {
                (Ok(there), Ok(mine)) if there.ino() == mine.ino() => {
                    return Ok(MakerLock { path, _file: file });
                }
                (_, Err(e)) => return Err(io_at("lock", &path)(e)),
                _ => {}
            }
        }
    }

    fn path_of(&self, key: &Key) -> PathBuf {
        match key {
            Key::Blob(digest) => self.root.join("blobs/sha256").join(digest.hex()),
            Key::Layer(chain_id) => self.root.join("layers").join(chain_id.hex()),
        }
    }

    /// Where a blob is or will be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path_of(&Key::Blob(digest.clone()))
    }

    /// Where the files of a layer are.
    pub fn layer_fs(&self, chain_id: &Digest) -> PathBuf {
        self.path_of(&Key::Layer(chain_id.clone())).join("fs")
    }

    /// Whether a blob or layer is here.
    pub fn has(&self, key: &Key) -> bool {
        self.path_of(key).exists()
    }

    /// Leases `key` for `session` and says whether it is here already.
    pub fn lease(&self, session: &Session, key: &Key) -> Result<bool> {
        let _state = self.state()?;
        let path = session.dir.path().join("leases").join(key.file_name());
        File::create(&path).map_err(io_at("create", &path))?;
        Ok(self.has(key))
    }

    /// Gives a finished file or directory of a session its final name. One that is there already is as good.
    pub fn publish(&self, made: &Path, key: &Key) -> Result<()> {
        let target = self.path_of(key);
        let _state = self.state()?;
        if target.exists() {
            return Ok(());
        }
        fs::rename(made, &target).map_err(io_at("rename to", &target))?;
        sync_dir(target.parent().unwrap_or(&self.root)).map_err(io_at("sync", &target))
    }

    /// Stores a small blob whose digest is known to be right.
    pub fn put_blob(&self, session: &Session, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let key = Key::Blob(digest.clone());
        let there = self.lease(session, &key)?;
        if there && self.read_blob(digest, bytes.len() as u64).is_ok() {
            return Ok(());
        }
        let made = session.path(&key.file_name());
        let write = || {
            fs::write(&made, bytes)?;
            File::open(&made)?.sync_all()
        };
        write().map_err(io_at("write", &made))?;
        if there {
            // What is there is damaged; a file replaces it in one step.
            let target = self.path_of(&key);
            return fs::rename(&made, &target).map_err(io_at("replace", &target));
        }
        self.publish(&made, &key)
    }

    /// Reads a small blob and verifies it.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(io_at("open", &path))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).map_err(io_at("read", &path))?;
        verify(&format!("blob {}", path.display()), digest, &bytes)?;
        Ok(bytes)
    }

    /// What is known of a layer.
    pub fn layer_info(&self, chain_id: &Digest) -> Result<LayerInfo> {
        let path = self.path_of(&Key::Layer(chain_id.clone())).join("layer.json");
        let bytes = fs::read(&path).map_err(io_at("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| ImageError::malformed("layer.json", e))
    }

    /// Directories of a stack of layers (base first) for overlayfs, topmost first. What a layer hides as a whole is left out.
    pub fn lowers(&self, chain: &[Digest]) -> Result<Vec<PathBuf>> {
        let mut lowers = Vec::with_capacity(chain.len());
        for chain_id in chain.iter().rev() {
            lowers.push(self.layer_fs(chain_id));
            if self.layer_info(chain_id)?.opaque_root {
                break;
            }
        }
        Ok(lowers)
    }

    /// Writes the info of a finished layer beside its files, makes both durable and gives them their final name.
    pub fn publish_layer(&self, made: &Path, chain_id: &Digest, info: &LayerInfo) -> Result<()> {
        let path = made.join("layer.json");
        let json = serde_json::to_vec(info).map_err(|e| ImageError::malformed("layer.json", e))?;
        fs::write(&path, json).map_err(io_at("write", &path))?;
        sync_tree(made, info.inodes).map_err(io_at("sync", made))?;
        self.publish(made, &Key::Layer(chain_id.clone()))
    }

    /// Replaces a file of the store's root in one step.
    pub fn replace(&self, session: &Session, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        write_synced(session.dir.path(), &path, bytes).map_err(io_at("write", &path))
    }

    /// Moves every blob and layer that is neither in `live` nor leased into the session, to be deleted with it.
    pub fn sweep(
        &self,
        session: &Session,
        _state: &StateLock,
        live: &BTreeSet<Key>,
    ) -> Result<usize> {
        let mut keep = self.leases()?;
        keep.extend(live.iter().cloned());
        let mut swept = 0;
        for (dir, kind) in [("blobs/sha256", "blob"), ("layers", "layer")] {
            for path in self.dirs_in(dir)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let key = Key::from_file_name(&format!("{kind}-{name}"));
                if key.is_some_and(|key| !keep.contains(&key)) {
                    let trash = session.path(&format!("trash-{swept}"));
                    fs::rename(&path, &trash).map_err(io_at("remove", &path))?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    fn leases(&self) -> Result<BTreeSet<Key>> {
        let mut leases = BTreeSet::new();
        for session in self.dirs_in("ingest")? {
            let Ok(entries) = fs::read_dir(session.join("leases")) else { continue };
            let names =
                entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()));
            leases.extend(names.filter_map(|name| Key::from_file_name(&name)));
        }
        Ok(leases)
    }

    /// Digests of all blobs.
    pub fn blobs(&self) -> Result<Vec<PathBuf>> {
        self.dirs_in("blobs/sha256")
    }

    /// Chain ids of all layers.
    pub fn layers(&self) -> Result<Vec<Digest>> {
        let name = |p: PathBuf| Digest::parse(&format!("sha256:{}", p.file_name()?.to_str()?)).ok();
        Ok(self.dirs_in("layers")?.into_iter().filter_map(name).collect())
    }
}

impl Session {
    /// A path of the operation's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a directory of the operation's own.
    pub fn make_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path).map_err(io_at("create", &path))?;
        Ok(path)
    }
}

fn lock_file(path: &Path, operation: FlockOperation) -> io::Result<File> {
    flock(File::options().create(true).truncate(false).write(true).open(path)?, operation)
}

fn flock(file: File, operation: FlockOperation) -> io::Result<File> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(|()| file)?),
        }
    }
}

/// Locks a directory itself, so that the lock is there from the directory's first moment to its last.
fn lock_dir(dir: &Path, operation: FlockOperation) -> io::Result<File> {
    flock(File::open(dir)?, operation)
}

fn write_synced(temp: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file = tempfile::NamedTempFile::new_in(temp)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_dir(path.parent().unwrap_or(temp))
}

/// Makes names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Compares content with the digest it was asked for by.
pub(crate) fn verify(what: &str, expected: &Digest, bytes: &[u8]) -> Result<()> {
    let actual = Digest::of(bytes);
    if actual == *expected {
        return Ok(());
    }
    Err(ImageError::DigestMismatch { what: what.to_owned(), expected: expected.clone(), actual })
}
