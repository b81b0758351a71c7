//! Questions one asks of an API error. Counterpart: `IsNotFound` and its kin in apimachinery's errors package.
//!
//! Invariant: decisions look at reason and code, never at the message.

use kube::Error;

/// The cause by which the API server says that a namespace takes no new objects because it is being deleted.
pub const NAMESPACE_TERMINATING_CAUSE: &str = "NamespaceTerminating";

/// What kind of answer an error is.
pub trait ApiErrorExt {
    /// The object is not there.
    fn is_not_found(&self) -> bool;
    /// An object of that name is there already.
    fn is_already_exists(&self) -> bool;
    /// Someone else wrote first, or a precondition did not hold.
    fn is_conflict(&self) -> bool;
    /// The server found the object or the patched object invalid.
    fn is_invalid(&self) -> bool;
    /// The requested revision is no longer, or not yet, available: list anew.
    fn is_expired(&self) -> bool;
    /// The verb is not offered for the resource.
    fn is_method_not_supported(&self) -> bool;
    /// The namespace is being deleted, so nothing can be created in it.
    fn is_namespace_terminating(&self) -> bool;
    /// The server's message, or the transport's error when no server answered.
    fn message(&self) -> String;
}

fn status(error: &Error) -> Option<&kube::core::Status> {
    match error {
        Error::Api(status) => Some(status),
        _ => None,
    }
}

impl ApiErrorExt for Error {
    fn is_not_found(&self) -> bool {
        status(self).is_some_and(kube::core::Status::is_not_found)
    }

    fn is_already_exists(&self) -> bool {
        status(self).is_some_and(kube::core::Status::is_already_exists)
    }

    fn is_conflict(&self) -> bool {
        status(self).is_some_and(|s| s.is_conflict() && !s.is_already_exists())
    }

    fn is_invalid(&self) -> bool {
        status(self).is_some_and(kube::core::Status::is_invalid)
    }

    fn is_expired(&self) -> bool {
        status(self).is_some_and(|s| {
            s.code == 410
                || matches!(s.reason.as_str(), "Expired" | "Gone")
                || is_too_large_revision(s)
        })
    }

    fn is_method_not_supported(&self) -> bool {
        status(self).is_some_and(|s| s.code == 405 || s.reason == "MethodNotAllowed")
    }

    fn is_namespace_terminating(&self) -> bool {
        status(self).and_then(|s| s.details.as_ref()).is_some_and(|details| {
            details.causes.iter().any(|cause| cause.reason == NAMESPACE_TERMINATING_CAUSE)
        })
    }

    fn message(&self) -> String {
        match self {
            Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        }
    }
}

/// A list "not older than" a revision the server has not reached is answered by a timeout with this cause.
fn is_too_large_revision(status: &kube::core::Status) -> bool {
    status.reason == "Timeout"
        && status
            .details
            .as_ref()
            .is_some_and(|d| d.causes.iter().any(|c| c.reason == "ResourceVersionTooLarge"))
}
