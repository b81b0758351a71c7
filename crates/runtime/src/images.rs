//! Images: names, archives, registries and the store that keeps their layers unpacked.
//!
//! The counterpart of containerd's content store, metadata database and unpacker. Invariants: what is on disk under its final name is
//! complete and verified; an image's name appears only after all its layers do; nothing is reachable that has not been checked against the
//! digest it was asked for by.

mod archive;
pub mod digest;
mod disk;
mod embedded;
mod import;
pub mod manifest;
mod pull;
pub mod reference;
pub mod registry;
pub mod store;
pub mod unpack;

pub use digest::{Digest, DigestError};
pub use embedded::HELLO_IMAGE;
pub use import::ImportOptions;
pub use reference::{Reference, ReferenceError};
pub use registry::{Progress, ProgressFn, RegistryAuth, RegistryConfig, RegistryError};
pub use store::{Image, ImageStore, ImageUser, Usage};
pub use unpack::{Limits, UnpackError};

pub(crate) use disk::{Disk, Key};

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The given text is not an image reference.
    #[error(transparent)]
    InvalidName(#[from] ReferenceError),
    /// No image of this name or id is in the store.
    #[error("image {0:?}: not found")]
    NotFound(String),
    /// A short id fits several images.
    #[error("image id {0:?} is ambiguous")]
    Ambiguous(String),
    /// The file system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The store was written by another version.
    #[error(
        "{path} has format {found:?}, this version knows {known:?}: use the version that wrote it or another data directory"
    )]
    Format {
        /// The store.
        path: String,
        /// As written on disk.
        found: String,
        /// What this version writes.
        known: &'static str,
    },
    /// A digest this store does not use.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Content is not what its digest says.
    #[error("{what} has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// As asked for.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// A document of the image makes no sense.
    #[error("malformed {what}: {detail}")]
    Malformed {
        /// Manifest, index, config.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Something is larger than allowed.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// An index has no image for this machine.
    #[error("no image for {wanted}, only for {offered}")]
    NoPlatform {
        /// This machine.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// A layer could not be unpacked.
    #[error("layer {digest}: {source}")]
    Layer {
        /// The layer's blob or diff id.
        digest: Digest,
        /// Why.
        source: Box<UnpackError>,
    },
    /// The file is no image archive, or a damaged one.
    #[error("{path}: {detail}")]
    Archive {
        /// The file or directory.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// A pull failed at a registry.
    #[error("failed to pull and unpack image \"{reference}\": {stage}: {source}")]
    Registry {
        /// The normalised reference.
        reference: String,
        /// What was being done.
        stage: String,
        /// The registry's or the network's answer.
        source: Box<RegistryError>,
    },
    /// A pull failed here.
    #[error("failed to pull and unpack image \"{reference}\": {source}")]
    Pull {
        /// The normalised reference.
        reference: String,
        /// Why.
        source: Box<ImageError>,
    },
}

impl ImageError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(crate) fn malformed(what: &'static str, detail: impl ToString) -> Self {
        Self::Malformed { what, detail: detail.to_string() }
    }
}
