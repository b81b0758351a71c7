//! The image store: which images a node has, and the making of their layers.
//!
//! The counterpart of containerd's metadata database and image service. See the images' disk module for layout and locking. Invariants: a
//! name in `names.json` means an image whose manifest, config and layers are all there; what no name, container or running operation needs
//! is removed by the operation that made it so.

use super::digest::Digest;
use super::disk::{LayerInfo, Session};
use super::manifest::{self, ImageSpec, LayerSpec, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest};
use super::unpack::{Limits, Packed, unpack};
use super::{Disk, ImageError, Key, Reference, RegistryConfig, embedded};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Shortest part of an id that names an image, as `docker images` prints it.
const MIN_SHORT_ID: usize = 12;
const NAMES_FILE: &str = "names.json";

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the config, `sha256:...`: what Kubernetes calls the image's id.
    pub id: String,
    /// Normalised names with a tag.
    pub repo_tags: Vec<String>,
    /// Normalised names with a digest.
    pub repo_digests: Vec<String>,
    /// Bytes of manifest, config and layers as distributed.
    pub size: u64,
    /// What the image says about running it.
    pub config: ImageConfiguration,
    /// Chain ids of the layers, base first.
    pub chain_ids: Vec<Digest>,
}

/// The user an image wants to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUser {
    /// A numeric id.
    Uid(i64),
    /// A name to be looked up in the image's `/etc/passwd`.
    Name(String),
}

impl Image {
    /// The user of the image's config without its group, or `None` when it names none.
    pub fn user(&self) -> Option<ImageUser> {
        let user = self.config.config().as_ref()?.user().as_deref()?;
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        match user.parse() {
            _ if user.is_empty() => None,
            Ok(uid) => Some(ImageUser::Uid(uid)),
            Err(_) => Some(ImageUser::Name(user.to_owned())),
        }
    }
}

/// Disk space taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NameRecord {
    /// The manifest for this machine.
    manifest: Digest,
}

type Names = BTreeMap<String, NameRecord>;

/// Inode, size and time of the names file: it is only ever replaced, so a change shows in them.
type Stamp = Option<(u64, u64, i64, i64)>;

#[derive(Debug, Default)]
struct Cache {
    stamp: Stamp,
    images: Vec<Image>,
    by_name: BTreeMap<String, usize>,
}

struct Inner {
    disk: Disk,
    cache: Mutex<Option<Arc<Cache>>>,
}

/// The images of a node. Clones share one store, and so may other processes.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
    pub(super) registries: Arc<RegistryConfig>,
    pub(super) limits: Limits,
}

type Result<T> = std::result::Result<T, ImageError>;

impl ImageStore {
    /// Opens or creates the store at `root`, removes what interrupted operations left, and imports the embedded image. Blocking.
    ///
    /// # Errors
    /// The directory cannot be used, or was written by a newer version.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self::open_bare(root)?;
        embedded::ensure(&store)?;
        Ok(store)
    }

    /// As [`Self::open`], without the embedded image.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_bare(root: impl Into<PathBuf>) -> Result<Self> {
        let disk = Disk::open(root.into())?;
        let inner = Arc::new(Inner { disk, cache: Mutex::new(None) });
        let store = Self { inner, registries: Arc::default(), limits: Limits::default() };
        store.collect_garbage()?;
        Ok(store)
    }

    /// Sets how registries are reached.
    #[must_use]
    pub fn with_registries(mut self, config: RegistryConfig) -> Self {
        self.registries = Arc::new(config);
        self
    }

    /// Sets what a layer may take.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        self.disk().root()
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    /// The image of this name, digest reference or id, if it is here. A store that cannot be read is logged and gives `None`.
    pub fn resolve(&self, reference: &str) -> Option<Image> {
        match self.get(reference) {
            Ok(image) => Some(image),
            Err(ImageError::NotFound(_) | ImageError::InvalidName(_)) => None,
            Err(error) => {
                tracing::warn!(%error, reference, "cannot look up image");
                None
            }
        }
    }

    /// The image of this name, digest reference, id (`sha256:<hex>` or `<hex>`) or unambiguous beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`], [`ImageError::InvalidName`], or the disk's.
    pub fn get(&self, reference: &str) -> Result<Image> {
        let cache = self.load()?;
        if let Some(image) = by_id(&cache.images, reference)? {
            return Ok(image.clone());
        }
        let name = Reference::parse(reference)?.to_string();
        let found = cache.by_name.get(&name).and_then(|i| cache.images.get(*i));
        found.cloned().ok_or_else(|| ImageError::NotFound(reference.to_owned()))
    }

    /// All images, by id. Blocking.
    ///
    /// # Errors
    /// The disk's.
    pub fn list(&self) -> Result<Vec<Image>> {
        Ok(self.load()?.images.clone())
    }

    /// Removes a name, or for an id all names of the image, and what nothing needs any more. Digest names of a repository go with its last
    /// tag. Blocking. Gives the names removed.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn remove(&self, reference: &str) -> Result<Vec<String>> {
        let image = self.get(reference)?;
        let doomed = match Reference::parse(reference) {
            Ok(name) if image.repo_tags.contains(&name.to_string()) => names_of_tag(&image, &name),
            Ok(name) if image.repo_digests.contains(&name.to_string()) => vec![name.to_string()],
            _ => image.repo_tags.iter().chain(&image.repo_digests).cloned().collect(),
        };
        let session = self.disk().session()?;
        {
            let _state = self.disk().state()?;
            let mut names = self.read_names()?;
            names.retain(|name, _| !doomed.contains(name));
            self.write_names(&session, &names)?;
        }
        self.sweep(&session)?;
        Ok(doomed)
    }

    /// Removes blobs and layers that no name, container or running operation needs. Blocking.
    ///
    /// # Errors
    /// The disk's.
    pub fn collect_garbage(&self) -> Result<()> {
        self.disk().clean_leftovers()?;
        let session = self.disk().session()?;
        self.sweep(&session)
    }

    /// Space taken by all unpacked layers and blobs. Blocking; reads sizes noted when they were made.
    ///
    /// # Errors
    /// The disk's.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for chain_id in self.disk().layers()? {
            // A layer that goes away meanwhile takes no space.
            if let Ok(info) = self.disk().layer_info(&chain_id) {
                usage.bytes += info.bytes;
                usage.inodes += info.inodes;
            }
        }
        for blob in self.disk().blobs()? {
            usage.bytes += std::fs::metadata(blob).map_or(0, |m| m.len());
            usage.inodes += 1;
        }
        Ok(usage)
    }

    fn sweep(&self, session: &Session) -> Result<()> {
        let state = self.disk().state()?;
        let mut live = BTreeSet::new();
        for record in self.read_names()?.values() {
            live.insert(Key::Blob(record.manifest.clone()));
            match self.read_spec(&record.manifest) {
                Ok(spec) => live.extend(keys_of(&spec)),
                // What cannot be read now may be readable later; nothing is removed on such a guess.
                Err(ImageError::Io { action, source })
                    if source.kind() != std::io::ErrorKind::NotFound =>
                {
                    return Err(ImageError::Io { action, source });
                }
                Err(error) => {
                    tracing::warn!(%error, manifest = %record.manifest, "image cannot be read, pull it again")
                }
            }
        }
        live.extend(crate::snapshots::layers_in_use(self.disk())?.into_iter().map(Key::Layer));
        let swept = self.disk().sweep(session, &state, &live)?;
        if swept > 0 {
            tracing::debug!(swept, "removed unused blobs and layers");
        }
        Ok(())
    }

    fn load(&self) -> Result<Arc<Cache>> {
        let stamp = self.stamp();
        let mut cache = self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cache {
            Some(cache) if cache.stamp == stamp => Ok(cache.clone()),
            _ => {
                let fresh = Arc::new(self.read_images(stamp)?);
                *cache = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(self.root().join(NAMES_FILE)).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Reads all images; one that is damaged is logged and left out, so that a pull repairs it.
    fn read_images(&self, stamp: Stamp) -> Result<Cache> {
        let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
        for (name, record) in self.read_names()? {
            match self.read_spec(&record.manifest) {
                Ok(spec) => add_name(&mut images, name, spec),
                Err(error) => tracing::warn!(%error, name, "image cannot be read, pull it again"),
            }
        }
        let images: Vec<Image> = images.into_values().collect();
        let names =
            |i: &Image| i.repo_tags.iter().chain(&i.repo_digests).cloned().collect::<Vec<_>>();
        let by_name = images
            .iter()
            .enumerate()
            .flat_map(|(n, i)| names(i).into_iter().map(move |name| (name, n)))
            .collect();
        Ok(Cache { stamp, images, by_name })
    }

    fn read_spec(&self, digest: &Digest) -> Result<ImageSpec> {
        let bytes = self.disk().read_blob(digest, MAX_MANIFEST_BYTES)?;
        let Manifest::Image(manifest) = manifest::parse_manifest(&bytes)? else {
            return Err(ImageError::malformed(
                "manifest",
                "an index where a manifest was expected",
            ));
        };
        let (config_digest, _) = manifest::blob_of(manifest.config())?;
        let config =
            manifest::parse_config(&self.disk().read_blob(&config_digest, MAX_CONFIG_BYTES)?)?;
        let spec = manifest::image_spec(digest.clone(), bytes.len() as u64, &manifest, config)?;
        match spec.layers.iter().find(|l| !self.disk().has(&Key::Layer(l.chain_id.clone()))) {
            None => Ok(spec),
            Some(layer) => Err(ImageError::NotFound(layer.chain_id.to_string())),
        }
    }

    fn read_names(&self) -> Result<Names> {
        let path = self.root().join(NAMES_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|e| ImageError::malformed(NAMES_FILE, e))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Names::new()),
            Err(e) => Err(ImageError::io(format!("read {}", path.display()))(e)),
        }
    }

    fn write_names(&self, session: &Session, names: &Names) -> Result<()> {
        let json =
            serde_json::to_vec_pretty(names).map_err(|e| ImageError::malformed(NAMES_FILE, e))?;
        self.disk().replace(session, NAMES_FILE, &json)
    }

    /// Gives images their names; their layers, configs and manifests must be there and leased by `session`. A name that moves leaves an
    /// image behind, so garbage is to be collected when the session has ended.
    pub(super) fn give_names(
        &self,
        session: &Session,
        named: &BTreeMap<Reference, Digest>,
    ) -> Result<()> {
        let _state = self.disk().state()?;
        let mut names = self.read_names()?;
        for (name, manifest) in named {
            names.insert(name.to_string(), NameRecord { manifest: manifest.clone() });
        }
        self.write_names(session, &names)
    }

    /// Gives names and ends the operation.
    pub(super) fn commit(
        &self,
        session: Session,
        named: &BTreeMap<Reference, Digest>,
    ) -> Result<()> {
        self.give_names(&session, named)?;
        drop(session);
        self.collect_garbage()
    }

    /// Stores manifest and config of an image and leases them.
    pub(super) fn put_documents(
        &self,
        session: &Session,
        spec: &ImageSpec,
        manifest: &[u8],
        config: &[u8],
    ) -> Result<()> {
        self.disk().put_blob(session, &spec.manifest, manifest)?;
        self.disk().put_blob(session, &spec.config_digest, config)
    }

    /// Makes sure that layer `n` of an image is unpacked, reading it with `open` if it is not. The layers below must be there.
    pub(super) fn ensure_layer<R: Read>(
        &self,
        session: &Session,
        layers: &[LayerSpec],
        n: usize,
        expected: Option<(&Digest, u64)>,
        open: impl FnOnce() -> Result<R>,
    ) -> Result<()> {
        let layer = &layers[n];
        let key = Key::Layer(layer.chain_id.clone());
        if self.disk().lease(session, &key)? {
            return Ok(());
        }
        let _maker = self.disk().maker(&key)?;
        if self.disk().has(&key) {
            return Ok(());
        }
        let below: Vec<Digest> = layers[..n].iter().map(|l| l.chain_id.clone()).collect();
        let below = self.disk().lowers(&below)?;
        let made = session.make_dir(&format!("layer-{}", layer.chain_id.hex()))?;
        let target = made.join("fs");
        std::fs::create_dir(&target)
            .map_err(ImageError::io(format!("create {}", target.display())))?;
        let packed = Packed { blob: open()?, expected, diff_id: &layer.diff_id };
        let failed =
            |source| ImageError::Layer { digest: layer.blob.clone(), source: Box::new(source) };
        let unpacked = unpack(packed, &target, &below, self.limits).map_err(failed)?;
        let info = LayerInfo {
            diff_id: layer.diff_id.clone(),
            parent: layer.parent.clone(),
            bytes: unpacked.bytes,
            inodes: unpacked.inodes,
            opaque_root: unpacked.opaque_root,
        };
        self.disk().publish_layer(&made, &layer.chain_id, &info)
    }
}

fn keys_of(spec: &ImageSpec) -> impl Iterator<Item = Key> {
    let layers = spec.layers.iter().map(|l| Key::Layer(l.chain_id.clone()));
    layers.chain([Key::Blob(spec.config_digest.clone())])
}

fn add_name(images: &mut BTreeMap<Digest, Image>, name: String, spec: ImageSpec) {
    let image = images.entry(spec.config_digest.clone()).or_insert_with(|| Image {
        id: spec.config_digest.to_string(),
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        size: spec.size,
        config: spec.config,
        chain_ids: spec.layers.into_iter().map(|l| l.chain_id).collect(),
    });
    let names = if name.contains('@') { &mut image.repo_digests } else { &mut image.repo_tags };
    names.push(name);
}

fn by_id<'a>(images: &'a [Image], reference: &str) -> Result<Option<&'a Image>> {
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    if hex.len() < MIN_SHORT_ID || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut fitting = images.iter().filter(|i| i.id["sha256:".len()..].starts_with(hex));
    match (fitting.next(), fitting.next()) {
        (Some(_), Some(_)) => Err(ImageError::Ambiguous(reference.to_owned())),
        (None, _) if reference.starts_with("sha256:") || hex.len() == 64 => {
            Err(ImageError::NotFound(reference.to_owned()))
        }
        (found, _) => Ok(found),
    }
}

/// The tag, and the digest names of its repository if no other tag of it names the image.
fn names_of_tag(image: &Image, name: &Reference) -> Vec<String> {
    let repository = name.name();
    let same = |other: &str| Reference::parse(other).is_ok_and(|r| r.name() == repository);
    let mut doomed = vec![name.to_string()];
    if image.repo_tags.iter().filter(|tag| same(tag)).count() == 1 {
        doomed.extend(image.repo_digests.iter().filter(|d| same(d)).cloned());
    }
    doomed
}
