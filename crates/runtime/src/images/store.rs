//! The image store.

use super::registry::ProgressFn;
use super::{ImageError, RegistryAuth, RegistryConfig};
use oci_spec::image::ImageConfiguration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    pub chain_ids: Vec<String>,
}

/// The user an image wants to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageUser {
    /// A numeric id.
    Uid(i64),
    /// A name to be looked up in the image's `/etc/passwd`.
    Name(String),
}

/// Disk space taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// How an archive is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name to give the (only) image in the archive, instead of what the archive says.
    pub name: Option<String>,
}

/// The images of a node. Clones share one store.
#[derive(Clone)]
pub struct ImageStore {
    root: Arc<PathBuf>,
}

impl ImageStore {
    /// Opens or creates the store at `root`. Blocking.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ImageError> {
        Ok(Self { root: Arc::new(root.into()) })
    }
    /// Sets how registries are reached.
    pub fn with_registries(self, _config: RegistryConfig) -> Self {
        self
    }
    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The image of this name, digest reference or id, if it is here. A store that cannot be read is logged and gives `None`.
    pub fn resolve(&self, _reference: &str) -> Option<Image> {
        None
    }
    /// As [`Self::resolve`], with the reason.
    pub fn get(&self, reference: &str) -> Result<Image, ImageError> {
        Err(ImageError::NotFound(reference.to_owned()))
    }
    /// All images, by id. Blocking.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        Ok(Vec::new())
    }
    /// Removes a name; for an id all its names. Blocking. Returns the names removed.
    pub fn remove(&self, reference: &str) -> Result<Vec<String>, ImageError> {
        Err(ImageError::NotFound(reference.to_owned()))
    }
    /// Imports an archive file or layout directory; returns the names it now has. Blocking.
    pub fn import(&self, path: &Path, _options: &ImportOptions) -> Result<Vec<String>, ImageError> {
        Err(ImageError::NotFound(path.display().to_string()))
    }
    /// Pulls an image from its registry.
    pub async fn pull(
        &self,
        reference: &str,
        _auth: Option<&RegistryAuth>,
        _progress: Option<ProgressFn>,
    ) -> Result<Image, ImageError> {
        Err(ImageError::NotFound(reference.to_owned()))
    }
}
