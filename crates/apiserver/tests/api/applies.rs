//! Server-side apply and managed fields through the whole path.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Server, deployment, pod};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn apply(server: &Server, path: &str, query: &str, body: impl ToString) -> Answer {
    let path = format!("{path}?{query}");
    let headers = [("content-type", "application/apply-patch+yaml")];
    server.send(Method::PATCH, &path, &headers, body.to_string()).await
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

/// Who owns what, in short: manager, subresource, operation, version and fields.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let line = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(entry["fieldsType"], "FieldsV1");
        let parts = [text("manager"), text("subresource"), text("operation"), text("apiVersion")];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!(
            "{} {}",
            parts.join(" "),
            entry["fieldsV1"].to_string().replace('"', "'").replace('\\', "")
        )
    };
    entries.iter().map(line).collect()
}

#[tokio::test]
async fn apply_creates_then_changes_then_leaves_alone() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/c");
    let created =
        apply(&server, &path, "fieldManager=a", config_map(json!({"x": "1", "y": "2"}))).await;
    let created = created.expect(201);
    assert_eq!(owners(&created), ["a Apply v1 {'f:data':{'f:x':{},'f:y':{}}}"]);
    assert!(created["metadata"]["managedFields"][0]["time"].is_string());
    let same =
        apply(&server, &path, "fieldManager=a", config_map(json!({"x": "1", "y": "2"}))).await;
    assert_eq!(same.expect(200), created);
    let changed =
        apply(&server, &path, "fieldManager=a", config_map(json!({"y": "3"}))).await.expect(200);
    assert_eq!(changed["data"], json!({"y": "3"}));
    assert_ne!(changed["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    assert_eq!(server.get(&path).await.expect(200), changed);
    let list = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(list["items"][0]["metadata"], changed["metadata"]);
}

#[tokio::test]
async fn apply_conflicts_until_forced() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/c");
    apply(&server, &path, "fieldManager=a", config_map(json!({"x": "1", "y": "2"})))
        .await
        .expect(201);
    let answer =
        apply(&server, &path, "fieldManager=b", config_map(json!({"x": "2", "z": "3"}))).await;
    let status = answer.expect(409);
    assert_eq!(
        status,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"a\": .data.x",
            "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".data.x"}]},
        })
    );
    let forced =
        apply(&server, &path, "fieldManager=b&force=true", config_map(json!({"x": "2", "z": "3"})))
            .await;
    assert_eq!(
        owners(&forced.expect(200)),
        ["a Apply v1 {'f:data':{'f:y':{}}}", "b Apply v1 {'f:data':{'f:x':{},'f:z':{}}}",]
    );
}

#[tokio::test]
async fn apply_refuses_what_makes_no_sense() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/c");
    let bad = "failed to create typed patch object (/c; /v1, Kind=ConfigMap): ";
    let with = |field: &str, value: Value| {
        let mut config = config_map(json!({}));
        config[field] = value;
        config.to_string()
    };
    let ok = config_map(json!({"x": "1"})).to_string();
    let table: [(&str, String, u16, String); 14] = [
        ("", ok.clone(), 422, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch".into()),
        ("fieldManager=a%0Ab", ok.clone(), 422, "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)".into()),
        ("fieldManager=a", "[1]".into(), 400, "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}".into()),
        ("fieldManager=a", String::new(), 400, "invalid object type: /, Kind=".into()),
        ("fieldManager=a", with("kind", json!("Secret")), 400, "invalid object type: /v1, Kind=Secret".into()),
        ("fieldManager=a", with("apiVersion", json!("apps/v1")), 400, "invalid object type: apps/v1, Kind=ConfigMap".into()),
        ("fieldManager=a", with("metadata", json!({"name": "c", "managedFields": []})), 400, "metadata.managedFields must be nil".into()),
        ("fieldManager=a", with("metadata", json!({"name": "d"})), 400, "the name of the object (d) does not match the name on the URL (c)".into()),
        ("fieldManager=a", with("metadata", json!({"name": "c", "namespace": "other"})), 400, "the namespace of the provided object does not match the namespace sent on the request".into()),
        ("fieldManager=a", with("nope", json!(1)), 500, format!("{bad}.nope: field not declared in schema")),
        ("fieldManager=a", with("data", json!({"x": 1})), 500, format!("{bad}.data.x: expected string, got &value.valueUnstructured{{Value:1}}")),
        ("fieldManager=a", with("immutable", json!("yes")), 500, format!("{bad}.immutable: expected boolean, got &{{yes}}")),
        ("fieldManager=a&fieldValidation=Strict", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  x: '1'\n  x: '2'\n".into(), 400, "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"x\" already set in map".into()),
        ("fieldManager=a", with("metadata", json!({"name": "c", "uid": "u"})), 409, "Operation cannot be fulfilled on configmaps \"c\": uid mismatch: the provided object specified uid u, and no existing object was found".into()),
    ];
    for (query, body, code, message) in table {
        let answer = apply(&server, &path, query, &body).await;
        let failure = answer.failure();
        assert_eq!((failure.0, failure.2), (code, message), "{query} {body}");
    }
    let unforced = server.patch(&format!("{path}?force=true"), "merge-patch", json!({})).await;
    assert!(
        unforced.failure().2.contains("force: Forbidden: may not be specified for non-apply patch")
    );
    let headers = [("content-type", "application/apply-patch+cbor")];
    let cbor = server.send(Method::PATCH, &path, &headers, "").await.failure();
    assert_eq!((cbor.0, cbor.1.as_str()), (415, "UnsupportedMediaType"));
    assert!(
        cbor.2.ends_with("application/strategic-merge-patch+json, application/apply-patch+yaml"),
        "{}",
        cbor.2
    );
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn apply_warns_of_repeated_keys_and_tries_dry() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/c");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  x: '1'\n  x: '2'\n";
    let tried = apply(&server, &path, "fieldManager=a&dryRun=All", yaml).await;
    assert_eq!(tried.warnings().len(), 1, "{:?}", tried.warnings());
    assert_eq!(tried.expect(201)["data"], json!({"x": "2"}));
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn create_update_and_patch_note_their_managers() {
    let server = Server::start().await;
    let headers = [("content-type", "application/json"), ("user-agent", "tool/v1 (linux)")];
    let body = config_map(json!({"x": "1"})).to_string();
    let created = server.send(Method::POST, CONFIG_MAPS, &headers, body).await.expect(201);
    assert_eq!(owners(&created), ["tool Update v1 {'f:data':{'.':{},'f:x':{}}}"]);
    let path = format!("{CONFIG_MAPS}/c");
    let mut next = created.clone();
    next["data"]["y"] = json!("2");
    let updated = server.put(&format!("{path}?fieldManager=b"), next).await.expect(200);
    assert_eq!(
        owners(&updated),
        ["b Update v1 {'f:data':{'f:y':{}}}", "tool Update v1 {'f:data':{'.':{},'f:x':{}}}",]
    );
    let labels = json!({"metadata": {"labels": {"l": "1"}}, "data": {"y": null}});
    let patched =
        server.patch(&format!("{path}?fieldManager=c"), "merge-patch", labels).await.expect(200);
    assert_eq!(
        owners(&patched),
        [
            "c Update v1 {'f:metadata':{'f:labels':{'.':{},'f:l':{}}}}",
            "tool Update v1 {'f:data':{'.':{},'f:x':{}}}",
        ]
    );
    let unnamed = server.patch(&path, "merge-patch", json!({"data": {"z": "1"}})).await.expect(200);
    assert!(owners(&unnamed).contains(&"unknown Update v1 {'f:data':{'f:z':{}}}".to_owned()));
}

#[tokio::test]
async fn put_without_owners_keeps_them_and_an_empty_entry_drops_them() {
    let server = Server::start().await;
    server
        .post(&format!("{CONFIG_MAPS}?fieldManager=a"), config_map(json!({"x": "1"})))
        .await
        .expect(201);
    let path = format!("{CONFIG_MAPS}/c");
    let kept = server.put(&path, config_map(json!({"x": "1"}))).await.expect(200);
    assert_eq!(owners(&kept).len(), 1);
    for reset in [json!([]), json!([{}])] {
        let mut body = config_map(json!({"x": "1"}));
        body["metadata"]["managedFields"] = reset.clone();
        let gone = server.put(&path, body).await.expect(200);
        assert_eq!(gone["metadata"].get("managedFields"), None, "{reset}");
        let patch = json!([{"op": "replace", "path": "/data/x", "value": "1"}]);
        server.patch(&path, "json-patch", patch).await.expect(200);
        apply(&server, &path, "fieldManager=a", config_map(json!({"x": "1"}))).await.expect(200);
    }
    let entries = server.get(&path).await.expect(200);
    assert_eq!(
        owners(&entries),
        [
            "a Apply v1 {'f:data':{'f:x':{}}}",
            "before-first-apply Update v1 {'f:data':{'.':{},'f:x':{}}}",
        ]
    );
    let patch = json!({"metadata": {"managedFields": [{}]}});
    let gone = server.patch(&path, "merge-patch", patch).await.expect(200);
    assert_eq!(gone["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn owners_can_be_rewritten_by_json_patch() {
    let server = Server::start().await;
    server
        .post(&format!("{CONFIG_MAPS}?fieldManager=a"), config_map(json!({"x": "1"})))
        .await
        .expect(201);
    let path = format!("{CONFIG_MAPS}/c");
    let patch = json!([
        {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "kubectl"},
        {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
    ]);
    let patched = server.patch(&path, "json-patch", patch).await.expect(200);
    assert_eq!(owners(&patched), ["kubectl Apply v1 {'f:data':{'.':{},'f:x':{}}}"]);
    let text = json!([{"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": "{\"f:x\""}]);
    let patched = server.patch(&path, "json-patch", text).await.expect(200);
    assert_eq!(owners(&patched), ["kubectl Apply v1 {'f:data':{'.':{},'f:x':{}}}"]);
}

#[tokio::test]
async fn deployment_owners_are_those_of_kubernetes() {
    let server = Server::start().await;
    let created = server
        .post(&format!("{DEPLOYMENTS}?fieldManager=kubectl-create"), deployment("d"))
        .await
        .expect(201);
    let spec = &created["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    for field in ["f:progressDeadlineSeconds", "f:replicas", "f:revisionHistoryLimit", "f:selector"]
    {
        assert_eq!(spec[field], json!({}), "{field}");
    }
    assert_eq!(
        spec["f:strategy"],
        json!({"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}})
    );
    let template = &spec["f:template"];
    assert_eq!(
        template.as_object().map(|fields| fields.keys().map(String::as_str).collect::<Vec<_>>()),
        Some(vec!["f:metadata", "f:spec"])
    );
    let pod = template["f:spec"].as_object().unwrap();
    let names: Vec<&str> = pod.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "f:containers",
            "f:dnsPolicy",
            "f:restartPolicy",
            "f:schedulerName",
            "f:securityContext",
            "f:terminationGracePeriodSeconds"
        ]
    );
    let containers = pod["f:containers"].as_object().unwrap();
    let container = containers.values().next().unwrap().as_object().unwrap();
    let names: Vec<&str> = container.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".",
            "f:image",
            "f:imagePullPolicy",
            "f:name",
            "f:resources",
            "f:terminationMessagePath",
            "f:terminationMessagePolicy"
        ]
    );
}

#[tokio::test]
async fn status_and_scale_have_entries_of_their_own() {
    let server = Server::start().await;
    server.post(&format!("{DEPLOYMENTS}?fieldManager=a"), deployment("d")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/d");
    let patch =
        json!({"status": {"replicas": 1, "observedGeneration": 1}, "spec": {"replicas": 7}});
    let status = server
        .patch(&format!("{path}/status?fieldManager=c"), "merge-patch", patch)
        .await
        .expect(200);
    let entries = owners(&status);
    assert_eq!(entries.len(), 2);
    assert!(
        entries.contains(
            &"c status Update apps/v1 {'f:status':{'f:observedGeneration':{},'f:replicas':{}}}"
                .to_owned()
        ),
        "{entries:?}"
    );
    let patch = json!({"spec": {"replicas": 3}});
    server.patch(&format!("{path}/scale?fieldManager=s"), "merge-patch", patch).await.expect(200);
    let scaled = server.get(&path).await.expect(200);
    let entries = owners(&scaled);
    assert!(
        entries.contains(&"s scale Update apps/v1 {'f:spec':{'f:replicas':{}}}".to_owned()),
        "{entries:?}"
    );
    assert!(
        !entries.iter().any(|entry| entry.starts_with("a ") && entry.contains("f:replicas")),
        "{entries:?}"
    );
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 4}});
    let refused =
        apply(&server, &format!("{path}/scale"), "fieldManager=t", &config).await.failure();
    assert_eq!(
        refused.2,
        "Apply failed with 1 conflict: conflict with \"s\" with subresource \"scale\" using autoscaling/v1: .spec.replicas"
    );
    apply(&server, &format!("{path}/scale"), "fieldManager=t&force=true", &config)
        .await
        .expect(200);
    let scaled = server.get(&path).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 4);
    assert!(
        owners(&scaled).contains(&"t scale Apply apps/v1 {'f:spec':{'f:replicas':{}}}".to_owned())
    );
}

#[tokio::test]
async fn apply_to_status_changes_the_status_only() {
    let server = Server::start().await;
    server.post(PODS, pod("p")).await.expect(201);
    let path = format!("{PODS}/p/status");
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "status": {"conditions": [{"type": "example.com/Gate", "status": "True"}]}});
    let applied = apply(&server, &path, "fieldManager=a", &config).await.expect(200);
    assert!(owners(&applied).contains(&"a status Apply v1 {'f:status':{'f:conditions':{'k:{'type':'example.com/Gate'}':{'.':{},'f:status':{},'f:type':{}}}}}".to_owned()), "{:?}", owners(&applied));
    let missing = format!("{PODS}/q/status");
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"}, "status": {"phase": "Failed"}});
    apply(&server, &missing, "fieldManager=a", &config).await.expect(404);
}

#[tokio::test]
async fn binding_and_deletion_keep_the_owners() {
    let server = Server::start().await;
    let mut body = pod("p");
    body["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let created = server.post(&format!("{PODS}?fieldManager=a"), body).await.expect(201);
    let target = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    server.post(&format!("{PODS}/p/binding"), target).await.expect(201);
    let path = format!("{PODS}/p");
    assert_eq!(owners(&server.get(&path).await.expect(200)), owners(&created));
    let deleted = server.delete(&path, Value::Null).await.expect(200);
    assert_eq!(owners(&deleted), owners(&created));
}

/// What managed fields cost of a Pod's creation; run with `--ignored --nocapture` and an optimizing profile.
#[tokio::test]
#[ignore = "measures, and checks nothing"]
async fn speed_of_managed_fields_in_a_creation() {
    use apimachinery::apply::{FieldManager, Filter, Managed, Unconverted};
    use apimachinery::object::KubeObject;
    use k8s_openapi::api::core::v1::Pod;

    const ROUNDS: u32 = 5_000;
    let server = Server::start().await;
    let begin = std::time::Instant::now();
    for n in 0..ROUNDS {
        server.post(PODS, pod(&format!("p{n}"))).await.expect(201);
    }
    let creation = begin.elapsed() / ROUNDS;
    let mut stored = server.get(&format!("{PODS}/p0")).await.expect(200);
    stored["metadata"].as_object_mut().unwrap().remove("managedFields");
    let stored: Pod = serde_json::from_value(stored).unwrap();
    let schema = api::schema::typed_schema();
    let versions = Unconverted { api_version: "v1", ty: schema.of("io.k8s.api.core.v1.Pod") };
    let (filter, now) = (Filter::except(&[&["status"]]), apimachinery::time::now());
    let fields = FieldManager {
        schema,
        versions: &versions,
        api_version: "v1",
        kind: "Pod",
        subresource: "",
        filter: &filter,
        now: &now,
    };
    let mut parts = [std::time::Duration::ZERO; 3];
    for _ in 0..ROUNDS {
        let begin = std::time::Instant::now();
        let value = stored.to_value();
        parts[0] += begin.elapsed();
        let managed = fields.update(None, &value, Managed::default(), "m");
        parts[1] += begin.elapsed();
        let entries = managed.encode();
        parts[2] += begin.elapsed();
        assert!(entries.is_some());
    }
    let [tree, sets, text] = parts.map(|part| part / ROUNDS);
    println!("creation {creation:?}; tree {tree:?}, with sets {sets:?}, with text {text:?}");
}

#[tokio::test]
async fn owners_survive_the_way_through_protobuf() {
    use http::header::CONTENT_TYPE;

    let server = Server::start().await;
    let created = server.post(&format!("{PODS}?fieldManager=a"), pod("p")).await.expect(201);
    let path = format!("{PODS}/p");
    let protobuf = "application/vnd.kubernetes.protobuf";
    let answer = server.send(Method::GET, &path, &[("accept", protobuf)], "").await;
    assert_eq!(answer.headers[CONTENT_TYPE], protobuf);
    let decoded = api::schema::protobuf::decode(&answer.body).unwrap();
    assert_eq!(owners(&decoded), owners(&created));
    let headers = [("content-type", protobuf)];
    let put = server.send(Method::PUT, &path, &headers, answer.body).await.expect(200);
    assert_eq!(put, created);
}
