//! The one place where an error becomes a `Status`; the counterpart of `k8s.io/apimachinery/pkg/api/errors`.
//!
//! Invariants: code, reason, message and details are those of Kubernetes. `details.kind` is the plural resource for
//! NotFound, AlreadyExists, Conflict and Forbidden, and the Kind for Invalid.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

use crate::field::{self, ErrorList};
use crate::gvk::{GroupKind, GroupResource};

/// A failure as it is sent to the client.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusError(pub Box<Status>);

impl std::error::Error for StatusError {}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Details about a resource and, maybe, one object of it.
fn about(resource: &GroupResource, name: &str) -> StatusDetails {
    StatusDetails {
        group: non_empty(&resource.group),
        kind: non_empty(&resource.resource),
        name: non_empty(name),
        ..StatusDetails::default()
    }
}

/// Details that say only when to try again.
fn retry_after(seconds: i32) -> StatusDetails {
    StatusDetails {
        retry_after_seconds: (seconds != 0).then_some(seconds),
        ..StatusDetails::default()
    }
}

/// Kubernetes leaves empty strings out.
fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl StatusError {
    /// A failure with every part given; the constructors below are to be preferred.
    pub fn new(
        code: u16,
        reason: &str,
        message: impl Into<String>,
        details: Option<StatusDetails>,
    ) -> Self {
        Self(Box::new(Status {
            code: Some(i32::from(code)),
            details,
            message: Some(message.into()),
            reason: non_empty(reason),
            status: Some("Failure".to_owned()),
            ..Status::default()
        }))
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The machine-readable reason; empty if none is given.
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }

    /// The human-readable message; empty if none is given.
    pub fn message(&self) -> &str {
        self.0.message.as_deref().unwrap_or_default()
    }

    /// After how many seconds the client should try again, if it should.
    pub fn retry_after_seconds(&self) -> Option<i32> {
        self.0.details.as_ref().and_then(|details| details.retry_after_seconds)
    }

    /// True for [`StatusError::not_found`].
    pub fn is_not_found(&self) -> bool {
        self.reason() == "NotFound"
    }

    /// True for [`StatusError::conflict`].
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// True for [`StatusError::already_exists`] and [`StatusError::generate_name_conflict`].
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// Adds `details.uid`.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> Self {
        self.0.details.get_or_insert_default().uid = non_empty(uid);
        self
    }

    /// Adds a cause to the details.
    #[must_use]
    pub fn with_cause(mut self, cause: StatusCause) -> Self {
        self.0.details.get_or_insert_default().causes.get_or_insert_default().push(cause);
        self
    }

    /// 404: no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{resource} {} not found", field::quote(name)),
            Some(about(resource, name)),
        )
    }

    /// 404: no such path or resource.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message, Some(StatusDetails::default()))
    }

    /// 409: an object of that name exists.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {} already exists", field::quote(name));
        Self::new(409, "AlreadyExists", message, Some(about(resource, name)))
    }

    /// 409: no free name was found for a `generateName`.
    pub fn generate_name_conflict(
        resource: &GroupResource,
        name: &str,
        retry_after_seconds: i32,
    ) -> Self {
        let name_quoted = field::quote(name);
        let message = format!(
            "{resource} {name_quoted} already exists, the server was not able to generate a unique name for the object"
        );
        let details = StatusDetails {
            retry_after_seconds: Some(retry_after_seconds),
            ..about(resource, name)
        };
        Self::new(409, "AlreadyExists", message, Some(details))
    }

    /// 401: the request carries no credentials that are known; an empty reason reads `not authorized`.
    pub fn unauthorized(reason: &str) -> Self {
        let message = if reason.is_empty() { "not authorized" } else { reason };
        Self::new(401, "Unauthorized", message, None)
    }

    /// 403: the request is not allowed.
    pub fn forbidden(resource: &GroupResource, name: &str, error: impl fmt::Display) -> Self {
        let message = match (resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {error}"),
            (false, true) => format!("{resource} is forbidden: {error}"),
            (false, false) => format!("{resource} {} is forbidden: {error}", field::quote(name)),
        };
        Self::new(403, "Forbidden", message, Some(about(resource, name)))
    }

    /// 409: the object changed, or a precondition failed.
    pub fn conflict(resource: &GroupResource, name: &str, error: impl fmt::Display) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {resource} {}: {error}", field::quote(name));
        Self::new(409, "Conflict", message, Some(about(resource, name)))
    }

    /// 409: an apply wants fields that others own.
    pub fn apply_conflict(causes: Vec<StatusCause>, message: impl Into<String>) -> Self {
        let details = StatusDetails { causes: Some(causes), ..StatusDetails::default() };
        Self::new(409, "Conflict", message, Some(details))
    }

    /// 410: the requested revision is gone; [`StatusError::expired`] is to be preferred.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message, None)
    }

    /// 410: the requested `resourceVersion` or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, None)
    }

    /// 422: the object breaks rules; every error becomes a cause.
    pub fn invalid(kind: &GroupKind, name: &str, errors: ErrorList) -> Self {
        let head = format!("{kind} {} is invalid", field::quote(name));
        let message = match errors.is_empty() {
            true => head,
            false => format!("{head}: {}", field::aggregate(&errors)),
        };
        let details = StatusDetails {
            group: non_empty(&kind.group),
            kind: non_empty(&kind.kind),
            name: non_empty(name),
            causes: (!errors.is_empty()).then(|| errors.iter().map(cause).collect()),
            ..StatusDetails::default()
        };
        Self::new(422, "Invalid", message, Some(details))
    }

    /// 422: a patch could not be applied to the object.
    pub fn unprocessable_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(422, "Invalid", message, Some(StatusDetails::default()))
    }

    /// 400: the request makes no sense.
    pub fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", reason, None)
    }

    /// 429: try again later, after that many seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        Self::new(429, "TooManyRequests", message, Some(retry_after(retry_after_seconds)))
    }

    /// 503: a part of the server is not there.
    pub fn service_unavailable(reason: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", reason, None)
    }

    /// 405: the resource has no such verb.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let quoted = field::quote(&resource.to_string());
        let message = format!("{action} is not supported on resources of kind {quoted}");
        Self::new(405, "MethodNotAllowed", message, Some(about(resource, "")))
    }

    /// 405: the path has no such method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, Some(StatusDetails::default()))
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable<S: AsRef<str>>(accepted: &[S]) -> Self {
        let message = format!("only the following media types are accepted: {}", joined(accepted));
        Self::new(406, "NotAcceptable", message, None)
    }

    /// 406: a value of that Go type has no protobuf form.
    pub fn not_encodable(go_type: &str) -> Self {
        let message = format!(
            "object {go_type} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
        );
        Self::new(406, "NotAcceptable", message, None)
    }

    /// 415: the body's media type is not understood.
    pub fn unsupported_media_type<S: AsRef<str>>(accepted: &[S]) -> Self {
        let list = joined(accepted);
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {list}"
        );
        Self::new(415, "UnsupportedMediaType", message, None)
    }

    /// 500: a transient failure; the client should try again after that many seconds.
    pub fn server_timeout(
        resource: &GroupResource,
        operation: &str,
        retry_after_seconds: i32,
    ) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        let details = StatusDetails {
            retry_after_seconds: Some(retry_after_seconds),
            ..about(resource, operation)
        };
        Self::new(500, "ServerTimeout", message, Some(details))
    }

    /// 500: something is wrong with the server.
    pub fn internal(error: impl fmt::Display) -> Self {
        let cause = StatusCause { message: Some(error.to_string()), ..StatusCause::default() };
        let details = StatusDetails { causes: Some(vec![cause]), ..StatusDetails::default() };
        Self::new(500, "InternalError", format!("Internal error occurred: {error}"), Some(details))
    }

    /// 504: the request took too long, and may still take effect.
    pub fn timeout(message: &str, retry_after_seconds: i32) -> Self {
        Self::new(
            504,
            "Timeout",
            format!("Timeout: {message}"),
            Some(retry_after(retry_after_seconds)),
        )
    }

    /// 413: the body or the object is too large.
    pub fn request_entity_too_large(message: &str) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {message}"),
            None,
        )
    }
}

fn joined<S: AsRef<str>>(items: &[S]) -> String {
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// A field error as a cause.
fn cause(error: &field::Error) -> StatusCause {
    StatusCause {
        field: non_empty(&error.field),
        message: Some(error.body()),
        reason: Some(error.error_type.reason().to_owned()),
    }
}

/// The answer to a request that succeeded and has no object to return.
pub fn success() -> Status {
    Status { status: Some("Success".to_owned()), ..Status::default() }
}

#[cfg(test)]
mod tests;
