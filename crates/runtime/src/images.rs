//! Images: names, archives, registries and the store that keeps their layers unpacked.
//!
//! The counterpart of containerd's content store, metadata database and unpacker. Invariants: what is on disk under its final name is
//! complete and verified; an image's name appears only after all its layers do; nothing is reachable that has not been checked against the
//! digest it was asked for by.

pub mod reference;
pub mod registry;
pub mod store;

pub use reference::{Reference, ReferenceError};
pub use registry::{Progress, RegistryAuth, RegistryConfig};
pub use store::{Image, ImageStore, ImageUser, ImportOptions, Usage};

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The given text is not an image reference.
    #[error(transparent)]
    InvalidName(#[from] ReferenceError),
    /// No image of this name or id is in the store.
    #[error("image {0:?} is not in the store")]
    NotFound(String),
    /// The file system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
}
