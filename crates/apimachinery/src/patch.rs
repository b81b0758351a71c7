//! The three kinds of patches, each as a pure function from a document and a patch to a new document.
//!
//! Counterparts: RFC 6902 and RFC 7386 as the API server applies them, and
//! `k8s.io/apimachinery/pkg/util/strategicpatch`. Invariant: the original is never changed.

pub mod json;
pub mod merge;
pub mod strategic;

use crate::status::StatusError;

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// The patch holds too many operations.
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {count}")]
    TooManyOperations {
        /// How many are allowed.
        limit: usize,
        /// How many there are.
        count: usize,
    },
    /// The patch does not fit the object: a test failed, or a path does not exist.
    #[error("{0}")]
    NotApplicable(String),
    /// The patch contradicts the schema of the type; Kubernetes answers 500 without a reason.
    #[error("{0}")]
    Schema(String),
}

impl PatchError {
    /// The answer to a client that sent such a patch.
    pub fn to_status(&self) -> StatusError {
        match self {
            Self::Malformed(message) => StatusError::bad_request(message),
            Self::TooManyOperations { .. } => {
                StatusError::request_entity_too_large(&self.to_string())
            }
            Self::NotApplicable(_) => StatusError::unprocessable_patch(),
            Self::Schema(message) => StatusError::new(500, "", message, None),
        }
    }
}

impl From<PatchError> for StatusError {
    fn from(error: PatchError) -> Self {
        error.to_status()
    }
}
