//! Snapshots: the writable overlay of each container above the layers of its image.

use crate::images::{Image, ImageError, ImageStore, Usage};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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

/// The writable layers of containers. Clones share one directory.
#[derive(Clone)]
pub struct Snapshots {
    store: ImageStore,
}

impl Snapshots {
    /// The snapshots beside the images of `store`.
    pub fn new(store: &ImageStore) -> Self {
        Self { store: store.clone() }
    }
    /// Makes the writable layer of a container; the layers of `image` then stay until [`Self::remove`]. Blocking, idempotent.
    pub fn prepare(&self, image: &Image, _container_id: &str) -> Result<RootFs, ImageError> {
        Err(ImageError::NotFound(image.id.clone()))
    }
    /// The directories of a container prepared earlier, or `None`.
    pub fn get(&self, _container_id: &str) -> Result<Option<RootFs>, ImageError> {
        Ok(None)
    }
    /// Removes a container's writable layer and what only it needed. Blocking, idempotent.
    pub fn remove(&self, _container_id: &str) -> Result<(), ImageError> {
        let _ = &self.store;
        Ok(())
    }
    /// Ids of all containers that have a writable layer.
    pub fn list(&self) -> Result<Vec<String>, ImageError> {
        Ok(Vec::new())
    }
    /// Space taken by a container's writable layer. Blocking; walks the directory.
    pub fn usage(&self, _container_id: &str) -> Result<Usage, ImageError> {
        Ok(Usage::default())
    }
}

/// Makes a detached overlay mount, to be attached with `move_mount`.
///
/// # Errors
/// What the kernel answers.
pub fn overlay(_rootfs: &RootFs) -> io::Result<OwnedFd> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// Mounts the overlay on `target`. Call it in a private mount namespace.
///
/// # Errors
/// What the kernel answers.
pub fn mount_overlay(rootfs: &RootFs, _target: &Path) -> io::Result<()> {
    overlay(rootfs).map(|_| ())
}
