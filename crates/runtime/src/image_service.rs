//! The CRI's ImageService over the image store.

use crate::images::ImageStore;

/// Serves `runtime.v1.ImageService`.
#[derive(Clone)]
pub struct ImageServer {
    store: ImageStore,
}

impl ImageServer {
    /// A service over `store`.
    pub fn new(store: ImageStore) -> Self {
        Self { store }
    }
    /// The store it serves.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }
}
