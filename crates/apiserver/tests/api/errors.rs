//! What is wrong with a request, and what Kubernetes says about it.

use http::{Method, Request};
use serde_json::json;

use crate::support::{Server, collect, config_map};
use apiserver::Body;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn api_bad_paths_and_methods_are_refused_as_kubernetes_does() {
    let server = Server::start().await;
    let lost = "the server could not find the requested resource";
    let not_allowed = "the server does not allow this method on the requested resource";
    let table = [
        (Method::GET, "/api/v1/foos", 404, "NotFound", lost),
        (Method::GET, "/apis/apps/v1/namespaces/default/foos/x", 404, "NotFound", lost),
        (Method::GET, "/api/v1/namespaces/default/nodes", 404, "NotFound", lost),
        (Method::GET, "/api/v1/pods/x", 404, "NotFound", lost),
        (Method::GET, "/api/v1/namespaces/default/pods/x/foo", 404, "NotFound", lost),
        (Method::POST, "/api/v1/pods", 405, "MethodNotAllowed", not_allowed),
        (Method::DELETE, "/api/v1/namespaces", 405, "MethodNotAllowed", not_allowed),
        (Method::PUT, MAPS, 405, "MethodNotAllowed", not_allowed),
        (Method::PATCH, MAPS, 405, "MethodNotAllowed", not_allowed),
        (
            Method::GET,
            "/api/v1/namespaces/default/configmaps/x",
            404,
            "NotFound",
            "configmaps \"x\" not found",
        ),
        (
            Method::GET,
            "/apis/apps/v1/namespaces/default/deployments/x",
            404,
            "NotFound",
            "deployments.apps \"x\" not found",
        ),
    ];
    for (method, path, code, reason, message) in table {
        let answer = server.send(method.clone(), path, &[], "").await;
        assert_eq!(
            answer.failure(),
            (code, reason.to_owned(), message.to_owned()),
            "{method} {path}"
        );
    }
    assert_eq!(server.get("/apis/none.example/v1/foos").await.status, 404);
    assert_eq!(server.get("/nothing").await.body, "404 page not found\n");
}

#[tokio::test]
async fn malformed_timeouts_are_refused_before_anything_else() {
    let server = Server::start().await;
    for path in [MAPS, "/version", "/api/v1/namespaces"] {
        let answer = server.get(&format!("{path}?timeout=5x")).await;
        let message = "invalid timeout specified in the request URL - time: unknown unit \"x\" in duration \"5x\"";
        assert_eq!(answer.failure(), (400, "BadRequest".to_owned(), message.to_owned()), "{path}");
    }
    for timeout in ["0", "0s", "32s", "-1s", "2h", ""] {
        let answer = server.get(&format!("{MAPS}?timeout={timeout}")).await;
        assert_eq!(answer.status, 200, "{timeout}");
    }
    server.watch(&format!("{MAPS}?watch=true&timeout=5x")).await;
}

#[tokio::test]
async fn requests_end_with_the_timeout_their_client_wished_for() {
    let server = Server::start().await;
    let mut request = Request::new(Body::from_stream(futures::stream::pending()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{MAPS}?timeout=50ms").parse().unwrap();
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request.extensions_mut().insert(crate::support::admin());
    let answer = collect(server.api.handle(request).await).await;
    assert_eq!(answer.failure().0, 504);
}

#[tokio::test]
async fn api_status_details_name_the_object() {
    let server = Server::start().await;
    let status = server.get("/apis/apps/v1/namespaces/default/deployments/x").await.expect(404);
    let expected = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "deployments.apps \"x\" not found", "reason": "NotFound",
        "details": {"name": "x", "group": "apps", "kind": "deployments"}, "code": 404});
    assert_eq!(status, expected);
}

#[tokio::test]
async fn api_12_bad_bodies_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let json = ("content-type", "application/json");
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep = format!("{{\"metadata\":{{\"name\":\"x\"}},\"data\":{deep}}}");
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);
    let table: [Row<'_>; 9] = [
        (
            "{bad",
            &[json],
            400,
            "BadRequest",
            "the object provided is unrecognized (must be of type ConfigMap)",
        ),
        ("", &[json], 400, "BadRequest", ""),
        ("a: b: c", &[("content-type", "application/yaml")], 400, "BadRequest", ""),
        (&deep, &[json], 400, "BadRequest", ""),
        (
            r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#,
            &[json],
            400,
            "BadRequest",
            "the API version in the data (apps/v1) does not match the expected API version (v1)",
        ),
        (
            r#"{"metadata":{"name":"x"},"data":{"a":1}}"#,
            &[json],
            400,
            "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field",
        ),
        (
            r#"{"metadata":{}}"#,
            &[json],
            422,
            "Invalid",
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            r#"{"metadata":{"name":"Bad_Name"}}"#,
            &[json],
            422,
            "Invalid",
            "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain",
        ),
        (
            "x",
            &[("content-type", "text/plain")],
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
        ),
    ];
    for (body, headers, code, reason, start) in table {
        let answer = server.send(Method::POST, MAPS, headers, body.to_owned()).await;
        let (got_code, got_reason, message) = answer.failure();
        let shown = &body[..body.len().min(60)];
        assert_eq!((got_code, got_reason.as_str()), (code, reason), "{shown}: {message}");
        assert!(message.starts_with(start), "{shown}: {message}");
    }
    let cbor = ("content-type", "application/cbor");
    assert_eq!(server.send(Method::POST, MAPS, &[cbor], "{}").await.failure().0, 415);
    let protobuf = ("content-type", "application/vnd.kubernetes.protobuf");
    assert_eq!(server.send(Method::POST, MAPS, &[protobuf], "{}").await.failure().0, 400);
    assert_eq!(server.get(MAPS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn api_huge_body_is_413_whether_announced_or_not() {
    let server = Server::start().await;
    let huge = vec![b' '; (3 << 20) + 1];
    let answer =
        server.send(Method::POST, MAPS, &[("content-type", "application/json")], huge).await;
    let expected = (
        413,
        "RequestEntityTooLarge".to_owned(),
        "Request entity too large: limit is 3145728".to_owned(),
    );
    assert_eq!(answer.failure(), expected);
    let announced = ("content-length", "4000000");
    assert_eq!(server.send(Method::POST, MAPS, &[announced], "").await.failure(), expected);
}

#[tokio::test]
async fn api_unknown_fields_are_errors_warnings_or_nothing() {
    let server = Server::start().await;
    let body = |name: &str| json!({"metadata": {"name": name}, "foo": 1});
    let strict = server.post(&format!("{MAPS}?fieldValidation=Strict"), body("a")).await;
    let expected = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"";
    assert_eq!(strict.failure(), (400, "BadRequest".to_owned(), expected.to_owned()));
    let warned = server.post(MAPS, body("b")).await;
    assert_eq!(
        (warned.status.as_u16(), warned.warnings()),
        (201, vec!["299 - \"unknown field \\\"foo\\\"\"".to_owned()])
    );
    let ignored = server.post(&format!("{MAPS}?fieldValidation=Ignore"), body("c")).await;
    assert_eq!((ignored.status.as_u16(), ignored.warnings().len()), (201, 0));
    let unknown = server.post(&format!("{MAPS}?fieldValidation=Maybe"), body("d")).await;
    assert_eq!(unknown.failure().0, 422);
}

#[tokio::test]
async fn api_accept_is_honoured() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let path = format!("{MAPS}/a");
    let refused = server.send(Method::GET, &path, &[("accept", "text/html")], "").await;
    let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(refused.failure(), (406, "NotAcceptable".to_owned(), message.to_owned()));
    let yaml = server.send(Method::GET, &path, &[("accept", "application/yaml")], "").await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(String::from_utf8_lossy(&yaml.body).contains("kind: ConfigMap\n"));
    let go_client = "application/vnd.kubernetes.protobuf,application/json";
    let answer = server.send(Method::GET, &path, &[("accept", go_client)], "").await;
    assert_eq!(answer.headers["content-type"], "application/vnd.kubernetes.protobuf");
}

#[tokio::test]
async fn api_bad_selectors_and_tokens_are_400() {
    let server = Server::start().await;
    let table = [
        ("labelSelector=a%20in", ""),
        ("labelSelector=%3D%3D%3D", ""),
        (
            "fieldSelector=spec.foo%3Dbar",
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        ("limit=abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
        ("continue=%25%25", "continue key is not valid"),
        (
            "resourceVersion=abc",
            "invalid resource version: strconv.ParseUint: parsing \"abc\": invalid syntax",
        ),
    ];
    for (query, message) in table {
        let (code, reason, got) = server.get(&format!("{MAPS}?{query}")).await.failure();
        assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{query}");
        assert!(got.starts_with(message), "{query}: {got}");
    }
    let pods = server.get("/api/v1/pods?fieldSelector=spec.foo%3Dbar").await;
    assert_eq!(pods.failure().2, "field label not supported: spec.foo");
}

#[tokio::test]
async fn api_14_without_credentials_is_401_and_without_rights_403() {
    let server = Server::start().await;
    let request = || {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = MAPS.parse().expect("a path");
        request
    };
    let answer = collect(server.api.handle(request()).await).await;
    assert_eq!(answer.failure(), (401, "Unauthorized".to_owned(), "Unauthorized".to_owned()));
    let mut stranger = request();
    stranger.extensions_mut().insert(apiserver::authn::UserInfo::authenticated("jane", ["dev"]));
    let answer = collect(server.api.handle(stranger).await).await;
    let message = "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    let (code, reason, got) = answer.failure();
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert!(got.starts_with(message), "{got}");
}

#[tokio::test]
async fn api_every_response_has_an_audit_id() {
    let server = Server::start().await;
    let given = server.send(Method::GET, MAPS, &[("audit-id", "mine")], "").await;
    assert_eq!(given.headers["audit-id"], "mine");
    assert!(!server.get("/nothing").await.headers["audit-id"].is_empty());
}
