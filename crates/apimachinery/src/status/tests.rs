//! Tables of every reason: code, reason, message and details.

use serde_json::json;

use super::*;

fn pods() -> GroupResource {
    GroupResource::new("", "pods")
}

fn deployments() -> GroupResource {
    GroupResource::new("apps", "deployments")
}

/// An error and what it must say: code, reason, message.
type Row = (StatusError, u16, &'static str, &'static str);

fn check(table: &[Row]) {
    for (error, code, reason, message) in table {
        assert_eq!((error.code(), error.reason(), error.message()), (*code, *reason, *message));
        assert_eq!(error.0.status.as_deref(), Some("Failure"));
    }
}

#[test]
fn errors_about_objects_worded_as_kubernetes_does() {
    check(&[
        (StatusError::not_found(&pods(), "a"), 404, "NotFound", "pods \"a\" not found"),
        (
            StatusError::already_exists(&deployments(), "a"),
            409,
            "AlreadyExists",
            "deployments.apps \"a\" already exists",
        ),
        (
            StatusError::generate_name_conflict(&pods(), "a", 1),
            409,
            "AlreadyExists",
            "pods \"a\" already exists, the server was not able to generate a unique name for the object",
        ),
        (
            StatusError::forbidden(&pods(), "a", "no"),
            403,
            "Forbidden",
            "pods \"a\" is forbidden: no",
        ),
        (StatusError::forbidden(&pods(), "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (
            StatusError::forbidden(&GroupResource::default(), "", "no"),
            403,
            "Forbidden",
            "forbidden: no",
        ),
        (
            StatusError::conflict(&deployments(), "a", "stale"),
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"a\": stale",
        ),
        (StatusError::apply_conflict(vec![], "m"), 409, "Conflict", "m"),
        (
            StatusError::method_not_supported(&deployments(), "patch"),
            405,
            "MethodNotAllowed",
            "patch is not supported on resources of kind \"deployments.apps\"",
        ),
        (
            StatusError::server_timeout(&pods(), "list", 1),
            500,
            "ServerTimeout",
            "The list operation against pods could not be completed at this time, please try again.",
        ),
    ]);
}

#[test]
fn errors_about_requests_worded_as_kubernetes_does() {
    check(&[
        (StatusError::unauthorized(""), 401, "Unauthorized", "not authorized"),
        (StatusError::unauthorized("Unauthorized"), 401, "Unauthorized", "Unauthorized"),
        (StatusError::bad_request("m"), 400, "BadRequest", "m"),
        (
            StatusError::no_such_resource(),
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            StatusError::method_not_allowed(),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            StatusError::not_acceptable(&["application/json", "application/yaml"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        ),
        (
            StatusError::unsupported_media_type(&["application/json"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json",
        ),
        (
            StatusError::request_entity_too_large("limit is 3"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3",
        ),
    ]);
}

#[test]
fn errors_of_the_server_worded_as_kubernetes_does() {
    check(&[
        (StatusError::gone("m"), 410, "Gone", "m"),
        (StatusError::expired("m"), 410, "Expired", "m"),
        (StatusError::too_many_requests("m", 2), 429, "TooManyRequests", "m"),
        (StatusError::service_unavailable("m"), 503, "ServiceUnavailable", "m"),
        (StatusError::internal("boom"), 500, "InternalError", "Internal error occurred: boom"),
        (StatusError::timeout("late", 0), 504, "Timeout", "Timeout: late"),
    ]);
}

#[test]
fn details_kind_is_the_resource_except_for_invalid() {
    let of = |error: StatusError| serde_json::to_value(error.0.details).unwrap();
    assert_eq!(
        of(StatusError::not_found(&deployments(), "a")),
        json!({"group": "apps", "kind": "deployments", "name": "a"})
    );
    assert_eq!(
        of(StatusError::conflict(&pods(), "a", "x").with_uid("u")),
        json!({"kind": "pods", "name": "a", "uid": "u"})
    );
    assert_eq!(of(StatusError::too_many_requests("m", 3)), json!({"retryAfterSeconds": 3}));
    let errors = vec![field::required(&"spec".into(), "")];
    assert_eq!(
        of(StatusError::invalid(&GroupKind::new("apps", "Deployment"), "a", errors)),
        json!({"group": "apps", "kind": "Deployment", "name": "a", "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec"}]})
    );
}

#[test]
fn invalid_message_names_kind_object_and_every_error() {
    let kind = GroupKind::new("", "Pod");
    let errors = vec![field::required(&"a".into(), ""), field::forbidden(&"b".into(), "no")];
    assert_eq!(
        StatusError::invalid(&kind, "p", errors).to_string(),
        "Pod \"p\" is invalid: [a: Required value, b: Forbidden: no]"
    );
    assert_eq!(StatusError::invalid(&kind, "p", vec![]).to_string(), "Pod \"p\" is invalid");
}
