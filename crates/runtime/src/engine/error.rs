//! Why an operation of the CRI failed, and its gRPC code.

use crate::cgroups::CgroupError;
use crate::images::ImageError;
use crate::shim_client::ShimError;
use crate::spec::SpecError;
use crate::spec::seccomp::ProfileError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such sandbox, container or image.
    #[error("{0} not found")]
    NotFound(String),
    /// A name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Not in this state.
    #[error("{0}")]
    FailedPrecondition(String),
    /// Not done by this runtime.
    #[error("{0}")]
    Unimplemented(String),
    /// It took too long.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// A spec cannot be made.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A seccomp profile cannot be used.
    #[error("seccomp profile: {0}")]
    Profile(#[from] ProfileError),
    /// The shim refused or is gone.
    #[error(transparent)]
    Shim(#[from] ShimError),
    /// The cgroup file system refused.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The image store refused.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The pod network refused.
    #[error(transparent)]
    Network(#[from] crate::NetworkError),
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The system refused something that has a name.
    #[error("{action}: {source}")]
    Doing {
        /// What was being done.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A task of ours died.
    #[error("a task of the runtime died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Names what was being done when the system refused.
pub fn doing(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> EngineError {
    let action = action.into();
    move |source| EngineError::Doing { action, source }
}

impl From<EngineError> for tonic::Status {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::NotFound(_) | EngineError::Image(ImageError::NotFound(_)) => {
                Self::not_found(message)
            }
            EngineError::AlreadyExists(_) => Self::already_exists(message),
            EngineError::Invalid(_) | EngineError::Spec(SpecError::Invalid { .. }) => {
                Self::invalid_argument(message)
            }
            EngineError::FailedPrecondition(_) => Self::failed_precondition(message),
            EngineError::Unimplemented(_) | EngineError::Spec(SpecError::Unsupported(_)) => {
                Self::unimplemented(message)
            }
            EngineError::DeadlineExceeded(_) => Self::deadline_exceeded(message),
            EngineError::Shim(ShimError::Gone | ShimError::Timeout) => Self::unavailable(message),
            _ => Self::unknown(message),
        }
    }
}
