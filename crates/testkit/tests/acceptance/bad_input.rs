//! Bad input: Kubernetes' status for each, and nothing changed.

use http::Method;
use serde_json::{Value, json};
use testkit::kubectl::Kubectl;
use testkit::suite::Test;

use crate::manifests::{config_map, pod};

pub const TESTS: &[Test] = testkit::tests![
    every: [],
    once: [
        bad_bodies_are_refused,
        bad_metadata_is_refused_with_causes,
        bad_field_validation_is_strict_warn_or_ignore,
        bad_negotiation_is_refused,
        bad_paths_and_queries_are_refused,
        bad_patches_are_refused,
        bad_pods_are_refused_with_every_error,
        bad_huge_and_deep_bodies_are_refused,
    ],
];

const JSON: &str = "application/json";

struct Request {
    method: Method,
    path: String,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
}

fn post(k: &Kubectl<'_>, content_type: &'static str, body: impl Into<Vec<u8>>) -> Request {
    let path = format!("/api/v1/namespaces/{}/configmaps", k.namespace());
    Request { method: Method::POST, path, content_type, accept: JSON, body: body.into() }
}

/// Sends a request and checks code and reason; returns the Status.
#[track_caller]
fn refused(k: &Kubectl<'_>, request: Request, code: u16, reason: &str) -> Value {
    let headers = [("content-type", request.content_type), ("accept", request.accept)];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let answer = k.cluster().request(request.method, &request.path, &headers, request.body);
    let status = answer.json();
    assert_eq!(answer.status, code, "{} {}", request.path, answer.text());
    if code != 406 {
        assert_eq!(status["kind"], "Status", "{}", answer.text());
        assert_eq!(status["apiVersion"], "v1");
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], code);
        assert_eq!(status["reason"], reason, "{status}");
    }
    status
}

/// Nothing of what a test sent may be there.
#[track_caller]
fn nothing_changed(k: &Kubectl<'_>) {
    let names = k.names("cm,pods");
    let names: Vec<&String> = names.iter().filter(|name| *name != "kube-root-ca.crt").collect();
    assert!(names.is_empty(), "{names:?}");
}

fn bad_bodies_are_refused(k: &Kubectl<'_>) {
    let table: [(&str, &[u8], u16, &str); 10] = [
        ("cut", b"{\"apiVersion\":\"v1\",", 400, "BadRequest"),
        ("empty", b"", 400, "BadRequest"),
        ("array", b"[]", 400, "BadRequest"),
        ("string", b"\"text\"", 400, "BadRequest"),
        ("not UTF-8", b"{\"kind\":\"\xff\xfe\"}", 400, "BadRequest"),
        ("no kind", br#"{"metadata":{"name":"x"},"data":3}"#, 400, "BadRequest"),
        (
            "other kind",
            br#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}"#,
            400,
            "BadRequest",
        ),
        (
            "other version",
            br#"{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}"#,
            400,
            "BadRequest",
        ),
        (
            "wrong type",
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":[1]}"#,
            400,
            "BadRequest",
        ),
        (
            "wrong type inside",
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":1}}"#,
            400,
            "BadRequest",
        ),
    ];
    for (what, body, code, reason) in table {
        let status = refused(k, post(k, JSON, body), code, reason);
        assert!(!status["message"].as_str().unwrap_or_default().is_empty(), "{what}");
    }
    refused(k, post(k, "application/yaml", "a: b: c"), 400, "BadRequest");
    refused(k, post(k, "application/yaml", "a: &a [*a, *a]"), 400, "BadRequest");
    nothing_changed(k);
}

fn bad_metadata_is_refused_with_causes(k: &Kubectl<'_>) {
    let table = [
        (json!({}), "metadata.name", "FieldValueRequired"),
        (json!({"name": "Bad_Name"}), "metadata.name", "FieldValueInvalid"),
        (json!({"name": "../x"}), "metadata.name", "FieldValueInvalid"),
        (json!({"name": "x".repeat(254)}), "metadata.name", "FieldValueInvalid"),
        (json!({"name": "x", "labels": {"bad key": "v"}}), "metadata.labels", "FieldValueInvalid"),
        (
            json!({"name": "x", "labels": {"k": "bad value"}}),
            "metadata.labels",
            "FieldValueInvalid",
        ),
        (
            json!({"name": "x", "annotations": {"/x": "v"}}),
            "metadata.annotations",
            "FieldValueInvalid",
        ),
        (
            json!({"name": "x", "annotations": {"k": "v".repeat(256 << 10)}}),
            "metadata.annotations",
            "FieldValueTooLong",
        ),
        (json!({"name": "x", "finalizers": ["nope"]}), "metadata.finalizers", "FieldValueInvalid"),
        (
            json!({"name": "x", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": ""}]}),
            "metadata.ownerReferences",
            "FieldValueInvalid",
        ),
    ];
    for (metadata, field, reason) in table {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        let status = refused(k, post(k, JSON, body.to_string()), 422, "Invalid");
        assert_eq!(status["details"]["kind"], "ConfigMap", "{status}");
        let causes = status["details"]["causes"].as_array().unwrap();
        let found = causes.iter().any(|cause| {
            cause["reason"] == reason
                && cause["field"].as_str().is_some_and(|f| f.starts_with(field))
        });
        assert!(found || reason == "FieldValueInvalid", "{field} {reason} in {status}");
        let at = causes.iter().any(|c| c["field"].as_str().is_some_and(|f| f.starts_with(field)));
        assert!(at, "{field} in {status}");
    }
    let mut elsewhere = config_map("x", json!({}));
    elsewhere["metadata"]["namespace"] = "default".into();
    let status = refused(k, post(k, JSON, elsewhere.to_string()), 400, "BadRequest");
    let wanted =
        "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(status["message"], wanted);
    nothing_changed(k);
}

fn bad_field_validation_is_strict_warn_or_ignore(k: &Kubectl<'_>) {
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","name":"x","foo":1},"dota":{}}"#;
    let with = |mode: &str| {
        let mut request = post(k, JSON, body);
        request.path.push_str(&format!("?dryRun=All{mode}"));
        request
    };
    let status = refused(k, with("&fieldValidation=Strict"), 400, "BadRequest");
    let message = status["message"].as_str().unwrap();
    for part in [
        "strict decoding error: ",
        "unknown field \"dota\"",
        "unknown field \"metadata.foo\"",
        "duplicate field \"metadata.name\"",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    for (mode, warnings) in [("", 3), ("&fieldValidation=Warn", 3), ("&fieldValidation=Ignore", 0)]
    {
        let request = with(mode);
        let headers = [("content-type", JSON)];
        let answer = k.cluster().request(Method::POST, &request.path, &headers, body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let found: Vec<_> = answer.headers.get_all("warning").iter().collect();
        assert_eq!(found.len(), warnings, "{mode}: {found:?}");
    }
    refused(k, with("&fieldValidation=Maybe"), 422, "Invalid");
    let strict = k.fails_with(
        "apply --validate=strict -f -",
        &body.replace("\"name\":\"x\",\"name\"", "\"name\""),
    );
    assert!(strict.contains("unknown field"), "{strict}");
    nothing_changed(k);
}

fn bad_negotiation_is_refused(k: &Kubectl<'_>) {
    let map = config_map("x", json!({})).to_string();
    for content_type in ["text/plain", "application/xml", "nonsense"] {
        refused(k, post(k, content_type, map.clone()), 415, "UnsupportedMediaType");
    }
    let mut request = post(k, JSON, map.clone());
    request.accept = "text/html";
    refused(k, request, 406, "NotAcceptable");
    let mut request = post(k, "application/json", r#"{"data":{}}"#);
    request.method = Method::PATCH;
    request.path.push_str("/x");
    refused(k, request, 415, "UnsupportedMediaType");
    nothing_changed(k);
}

fn bad_paths_and_queries_are_refused(k: &Kubectl<'_>) {
    let at = |method: Method, path: String| Request {
        method,
        path,
        content_type: "",
        accept: "",
        body: vec![],
    };
    let ns = k.namespace();
    for path in [
        "/api/v1/nope",
        "/apis/apps/v1/nope",
        "/apis/nope/v1/things",
        "/api/v2/pods",
        "/nope",
        &format!("/api/v1/namespaces/{ns}/pods/x/nope"),
        &format!("/api/v1/namespaces/{ns}/deployments"),
    ] {
        let answer = k.cluster().request(Method::GET, path, &[], "");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
    let cm = format!("/api/v1/namespaces/{ns}/configmaps");
    let status = refused(k, at(Method::GET, format!("{cm}/nope")), 404, "NotFound");
    assert_eq!(status["details"], json!({"name": "nope", "kind": "configmaps"}));
    refused(k, at(Method::PUT, cm.clone()), 405, "MethodNotAllowed");
    refused(k, at(Method::POST, format!("{cm}/x")), 405, "MethodNotAllowed");
    for (query, code, reason) in [
        ("labelSelector=a%20b", 400, "BadRequest"),
        ("labelSelector=a+in+(", 400, "BadRequest"),
        ("labelSelector=%21%21", 400, "BadRequest"),
        ("fieldSelector=nope", 400, "BadRequest"),
        ("fieldSelector=spec.nope%3Dx", 400, "BadRequest"),
        ("limit=abc", 400, "BadRequest"),
        ("continue=nonsense", 400, "BadRequest"),
        ("resourceVersion=abc", 400, "BadRequest"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
    ] {
        let answer = k.cluster().request(Method::GET, &format!("{cm}?{query}"), &[], "");
        let status = answer.json();
        assert_eq!(
            (answer.status, status["reason"].as_str()),
            (code, Some(reason)),
            "{query}: {}",
            answer.text()
        );
    }
    let long = format!("{cm}?labelSelector={}", "x".repeat(9000));
    assert!([400, 414, 431].contains(&k.cluster().request(Method::GET, &long, &[], "").status));
}

fn bad_patches_are_refused(k: &Kubectl<'_>) {
    k.ok("create configmap victim --from-literal=a=1");
    let before = k.json("cm victim");
    let path = format!("/api/v1/namespaces/{}/configmaps/victim", k.namespace());
    let (json_patch, merge, strategic) = (
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    );
    for (content_type, body, code) in [
        (json_patch, "{}", 400),
        (json_patch, "nonsense", 400),
        (json_patch, r#"[{"op":"nope","path":"/data/a"}]"#, 422),
        (json_patch, r#"[{"op":"remove","path":"/data/none"}]"#, 422),
        (json_patch, r#"[{"op":"test","path":"/data/a","value":"2"}]"#, 422),
        (json_patch, r#"[{"op":"replace","path":"/data","value":3}]"#, 422),
        (merge, "[1]", 400),
        (merge, "{", 400),
        (merge, r#"{"data":{"a":1}}"#, 422),
        (merge, r#"{"metadata":{"name":"other"}}"#, 400),
        (strategic, r#"{"metadata":{"finalizers":{"x":1}}}"#, 400),
    ] {
        let headers = [("content-type", content_type)];
        let answer = k.cluster().request(Method::PATCH, &path, &headers, body);
        let close = [400, 422].contains(&answer.status);
        assert!(close, "{content_type} {body}: wanted {code}, got {}", answer.text());
        assert_eq!(answer.json()["kind"], "Status");
    }
    assert_eq!(k.json("cm victim"), before);
}

fn bad_pods_are_refused_with_every_error(k: &Kubectl<'_>) {
    let mut bad = pod("app", "true");
    bad["spec"]["containers"][0]["name"] = "Bad Name".into();
    bad["spec"]["containers"][0]["imagePullPolicy"] = "Sometimes".into();
    bad["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "-1"}});
    bad["spec"]["restartPolicy"] = "Perhaps".into();
    bad["spec"]["terminationGracePeriodSeconds"] = (-5).into();
    let path = format!("/api/v1/namespaces/{}/pods", k.namespace());
    let request = Request {
        method: Method::POST,
        path: path.clone(),
        content_type: JSON,
        accept: JSON,
        body: bad.to_string().into(),
    };
    let status = refused(k, request, 422, "Invalid");
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
    for field in [
        "spec.containers[0].name",
        "spec.containers[0].imagePullPolicy",
        "spec.containers[0].resources.limits[cpu]",
        "spec.restartPolicy",
    ] {
        assert!(fields.contains(&field), "{field} in {status}");
    }
    let mut quantity = pod("app", "true");
    quantity["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "lots"}});
    let request = Request {
        method: Method::POST,
        path,
        content_type: JSON,
        accept: JSON,
        body: quantity.to_string().into(),
    };
    let status = refused(k, request, 400, "BadRequest");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("quantities must match the regular expression"),
        "{status}"
    );
    nothing_changed(k);
}

fn bad_huge_and_deep_bodies_are_refused(k: &Kubectl<'_>) {
    let huge = config_map("x", json!({"a": "x".repeat(4 << 20)})).to_string();
    refused(k, post(k, JSON, huge), 413, "RequestEntityTooLarge");
    let large = config_map("x", json!({"a": "x".repeat((1 << 20) + 1)})).to_string();
    let answer = k.cluster().request(
        Method::POST,
        &post(k, JSON, "").path,
        &[("content-type", JSON)],
        large,
    );
    assert_eq!(answer.status, 422, "{}", answer.text());
    let deep = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"x\"}},\"data\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    refused(k, post(k, JSON, deep), 400, "BadRequest");
    nothing_changed(k);
}
