//! Create, update, patch, status, scale, binding.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Server, config_map, deployment, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn api_01_create_fills_in_what_the_server_knows() {
    let server = Server::start().await;
    let made = server.post(MAPS, config_map("a")).await.expect(201);
    let meta = &made["metadata"];
    assert_eq!(
        (&made["kind"], &meta["namespace"], &meta["name"]),
        (&json!("ConfigMap"), &json!("default"), &json!("a"))
    );
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(meta[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {made}");
    }
    assert!(meta.get("managedFields").is_none());
    assert_eq!(server.get(&format!("{MAPS}/a")).await.expect(200), made);
    let again = server.post(MAPS, config_map("a")).await;
    assert_eq!(
        again.failure(),
        (409, "AlreadyExists".to_owned(), "configmaps \"a\" already exists".to_owned())
    );
}

#[tokio::test]
async fn create_in_another_namespace_than_the_path_is_refused() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a", "namespace": "other"}});
    let message =
        "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(
        server.post(MAPS, body).await.failure(),
        (400, "BadRequest".to_owned(), message.to_owned())
    );
}

#[tokio::test]
async fn create_with_resource_version_is_refused() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a", "resourceVersion": "5"}});
    assert_eq!(
        server.post(MAPS, body).await.failure().2,
        "resourceVersion should not be set on objects to be created"
    );
}

#[tokio::test]
async fn create_generate_name_makes_distinct_names() {
    let server = Server::start().await;
    let mut names = BTreeSet::new();
    for _ in 0..20 {
        let made = server.post(MAPS, json!({"metadata": {"generateName": "x-"}})).await.expect(201);
        let name = made["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        assert!(name.len() == 7 && name.starts_with("x-"), "{name}");
        names.insert(name);
    }
    assert_eq!(names.len(), 20);
}

#[tokio::test]
async fn create_dry_run_answers_but_stores_nothing() {
    let server = Server::start().await;
    let made = server.post(&format!("{MAPS}?dryRun=All"), config_map("a")).await.expect(201);
    assert!(
        made["metadata"]["uid"].is_string() && made["metadata"].get("resourceVersion").is_none(),
        "{made}"
    );
    assert_eq!(server.get(&format!("{MAPS}/a")).await.status, 404);
    assert_eq!(server.post(&format!("{MAPS}?dryRun=Some"), config_map("a")).await.failure().0, 422);
    server.post(MAPS, config_map("a")).await.expect(201);
    let before = server.get(&format!("{MAPS}/a")).await.body;
    let taken = server.post(&format!("{MAPS}?dryRun=All"), config_map("a")).await;
    assert_eq!(taken.failure().1, "AlreadyExists");
    let put = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(
        server.put(&format!("{MAPS}/a?dryRun=All"), put).await.expect(200)["data"]["k"],
        "v"
    );
    server.delete(&format!("{MAPS}/a?dryRun=All"), Value::Null).await.expect(200);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.body, before);
}

#[tokio::test]
async fn api_04_yaml_is_read_and_written() {
    let server = Server::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let answer = server.send(Method::POST, MAPS, &headers, yaml).await;
    assert_eq!(answer.status, 201);
    assert!(String::from_utf8_lossy(&answer.body).contains("  k: v\n"), "{:?}", answer.body);
}

#[tokio::test]
async fn api_01_update_needs_the_current_resource_version_if_it_names_one() {
    let server = Server::start().await;
    let path = format!("{MAPS}/a");
    let first = server.post(MAPS, config_map("a")).await.expect(201);
    let mut body = first.clone();
    body["data"] = json!({"k": "1"});
    let second = server.put(&path, body.clone()).await.expect(200);
    assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
    assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let stale = server.put(&path, body).await;
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(stale.failure(), (409, "Conflict".to_owned(), message.to_owned()));
    let blind = json!({"metadata": {"name": "a"}, "data": {"k": "2"}});
    assert_eq!(server.put(&path, blind).await.expect(200)["data"]["k"], "2");
    let foreign = json!({"metadata": {"name": "a", "uid": "0"}});
    assert_eq!(server.put(&path, foreign).await.failure().1, "Conflict");
    let renamed = server.put(&path, config_map("b")).await;
    assert_eq!(
        renamed.failure().2,
        "the name of the object (b) does not match the name on the URL (a)"
    );
    assert_eq!(server.put(&format!("{MAPS}/none"), config_map("none")).await.failure().0, 404);
}

#[tokio::test]
async fn update_that_changes_nothing_writes_nothing() {
    let server = Server::start().await;
    let made = server.post(MAPS, config_map("a")).await.expect(201);
    let same = server.put(&format!("{MAPS}/a"), made.clone()).await.expect(200);
    assert_eq!(made, same);
}

#[tokio::test]
async fn update_lease_that_is_absent_creates_it() {
    let server = Server::start().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/l";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    let made = server.put(path, lease).await.expect(201);
    let renewed = json!({"metadata": {"name": "l", "resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"holderIdentity": "you"}});
    assert_eq!(server.put(path, renewed).await.expect(200)["spec"]["holderIdentity"], "you");
    let blind = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}});
    let (code, _, message) = server.put(path, blind).await.failure();
    assert_eq!(code, 422);
    assert!(
        message.contains(
            "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
        ) || message.contains(
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn patch_json_merge_and_strategic_change_the_object() {
    let server = Server::start().await;
    let path = format!("{MAPS}/a");
    server
        .post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "1", "l": "2"}}))
        .await
        .expect(201);
    let merged = server
        .patch(&path, "merge-patch", json!({"data": {"k": null, "m": "3"}}))
        .await
        .expect(200);
    assert_eq!(merged["data"], json!({"l": "2", "m": "3"}));
    let operations = json!([{"op": "test", "path": "/data/l", "value": "2"}, {"op": "replace", "path": "/data/l", "value": "x"}]);
    let patched = server.patch(&path, "json-patch", operations).await.expect(200);
    assert_eq!(patched["data"], json!({"l": "x", "m": "3"}));
    let failed = server
        .patch(&path, "json-patch", json!([{"op": "test", "path": "/data/l", "value": "no"}]))
        .await;
    assert_eq!(failed.failure().0, 422);
    let unknown = server.patch(&path, "apply-patch", json!({})).await;
    assert_eq!(unknown.failure().1, "UnsupportedMediaType");
    let missing = server.patch(&format!("{MAPS}/none"), "merge-patch", json!({})).await;
    assert_eq!(missing.failure().0, 404);
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "z"}});
    assert_eq!(server.patch(&path, "merge-patch", stale).await.failure().1, "Conflict");
    let renamed = server.patch(&path, "merge-patch", json!({"metadata": {"name": "b"}})).await;
    assert_eq!(renamed.failure().0, 400);
    let warned = server.patch(&path, "merge-patch", json!({"foo": 1})).await;
    assert_eq!(warned.warnings().len(), 1);
    let strict = server
        .patch(&format!("{path}?fieldValidation=Strict"), "merge-patch", json!({"foo": 1}))
        .await;
    assert_eq!(strict.failure().0, 422);
}

#[tokio::test]
async fn api_05_status_and_spec_are_kept_apart() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/d");
    let made = server.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    let mut body = made.clone();
    body["spec"]["replicas"] = json!(7);
    body["status"]["readyReplicas"] = json!(3);
    body["status"]["replicas"] = json!(3);
    let status = server.put(&format!("{path}/status"), body.clone()).await.expect(200);
    assert_eq!(
        (&status["spec"]["replicas"], &status["status"]["readyReplicas"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(status["metadata"]["generation"], 1);
    body["metadata"]["resourceVersion"] = json!("");
    body["status"]["readyReplicas"] = json!(5);
    let main = server.put(&path, body).await.expect(200);
    assert_eq!(
        (&main["spec"]["replicas"], &main["status"]["readyReplicas"]),
        (&json!(7), &json!(3))
    );
    assert_eq!(main["metadata"]["generation"], 2);
    assert_eq!(server.get(&format!("{path}/status")).await.expect(200), main);
}

#[tokio::test]
async fn scale_reads_and_sets_replicas() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    server.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let mut scale = server.get(&path).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!("autoscaling/v1"), &json!(1))
    );
    assert_eq!(scale["status"]["selector"], "app=d");
    scale["spec"]["replicas"] = json!(4);
    assert_eq!(server.put(&path, scale.clone()).await.expect(200)["spec"]["replicas"], 4);
    assert_eq!(server.put(&path, scale).await.failure().1, "Conflict");
    let patched =
        server.patch(&path, "merge-patch", json!({"spec": {"replicas": 2}})).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 2);
    let deployment = server.get(&format!("{DEPLOYMENTS}/d")).await.expect(200);
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["metadata"]["generation"]),
        (&json!(2), &json!(3))
    );
    let negative = server.patch(&path, "merge-patch", json!({"spec": {"replicas": -1}})).await;
    assert_eq!(negative.failure().0, 422);
}

#[tokio::test]
async fn binding_gives_a_pod_its_node_once() {
    let server = Server::start().await;
    server.post(PODS, pod("p")).await.expect(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let done = server.post(&format!("{PODS}/p/binding"), binding.clone()).await.expect(201);
    assert_eq!(
        (&done["kind"], &done["status"], &done["code"]),
        (&json!("Status"), &json!("Success"), &json!(201))
    );
    let bound = server.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = server.post("/api/v1/namespaces/default/bindings", binding).await;
    let message = "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\"";
    assert_eq!(again.failure(), (409, "Conflict".to_owned(), message.to_owned()));
}

#[tokio::test]
async fn api_14_fields_of_scales_and_bindings_are_validated_like_those_of_objects() {
    let server = Server::start().await;
    server.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    server.post(PODS, pod("p")).await.expect(201);
    let scale = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2, "foo": 1}});
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n", "foo": 1}});
    let scale_path = format!("{DEPLOYMENTS}/d/scale");
    let strict = server.put(&format!("{scale_path}?fieldValidation=Strict"), scale.clone()).await;
    let message = "Scale in version \"v1\" cannot be handled as a Scale: strict decoding error: unknown field \"spec.foo\"";
    assert_eq!(strict.failure(), (400, "BadRequest".to_owned(), message.to_owned()));
    let binding_path = format!("{PODS}/p/binding");
    let strict =
        server.post(&format!("{binding_path}?fieldValidation=Strict"), binding.clone()).await;
    let message = "Binding in version \"v1\" cannot be handled as a Binding: strict decoding error: unknown field \"target.foo\"";
    assert_eq!(strict.failure(), (400, "BadRequest".to_owned(), message.to_owned()));
    let ignored = server.put(&format!("{scale_path}?fieldValidation=Ignore"), scale.clone()).await;
    assert_eq!((ignored.status.as_u16(), ignored.warnings()), (200, vec![]));
    let warned = server.put(&scale_path, scale).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"spec.foo\\\"\""]);
    let patch = json!({"spec": {"bar": 3}});
    let patched = server.patch(&scale_path, "merge-patch", patch.clone()).await;
    assert_eq!(patched.warnings(), ["299 - \"unknown field \\\"spec.bar\\\"\""]);
    let strict = format!("{scale_path}?fieldValidation=Strict");
    assert_eq!(server.patch(&strict, "merge-patch", patch).await.status, 422);
    let warned = server.post(&binding_path, binding).await;
    assert_eq!(warned.warnings(), ["299 - \"unknown field \\\"target.foo\\\"\""]);
}

#[tokio::test]
async fn delete_options_of_another_kind_are_refused_and_unknown_fields_dropped() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps/m";
    server.post("/api/v1/namespaces/default/configmaps", crate::support::config_map("m")).await;
    let other = server.delete(path, json!({"kind": "Pod", "apiVersion": "v1"})).await;
    assert_eq!(other.failure().0, 400);
    let policy = json!({"propagationPolicy": "Never"});
    let message = "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Never\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    assert_eq!(server.delete(path, policy).await.failure().2, message);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "foo": true});
    let deleted = server.delete(&format!("{path}?fieldValidation=Strict"), options).await;
    assert_eq!((deleted.status.as_u16(), deleted.warnings()), (200, vec![]));
}

#[tokio::test]
async fn api_13_pod_gets_what_admission_adds() {
    let server = Server::start().await;
    let made = server.post(PODS, pod("p")).await.expect(201);
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["priority"]), (&json!("default"), &json!(0)));
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(spec["tolerations"][0]["tolerationSeconds"], 300);
    let mut other = pod("q");
    other["spec"]["priorityClassName"] = json!("none");
    let refused = server.post(PODS, other.clone()).await.failure();
    assert_eq!(refused.2, "pods \"q\" is forbidden: no PriorityClass with name none was found");
    other["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(server.post(PODS, other).await.expect(201)["spec"]["priority"], 2_000_001_000);
}

#[tokio::test]
async fn pod_with_an_unknown_service_account_is_forbidden() {
    let server = Server::start().await;
    let mut body = pod("p");
    body["spec"]["serviceAccountName"] = json!("ghost");
    let message = "pods \"p\" is forbidden: error looking up service account default/ghost: serviceaccounts \"ghost\" not found";
    let got = server.post(PODS, body).await.failure();
    assert_eq!(
        (got.0, got.2.replace("serviceaccount \"", "serviceaccounts \"")),
        (403, message.to_owned())
    );
}

#[tokio::test]
async fn service_that_becomes_an_external_name_gives_its_address_back_and_gets_one_again() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, ip: &str| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    server.post(path, service("a", "10.43.0.11")).await.expect(201);
    let external = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let made =
        server.patch(&format!("{path}/a"), "merge-patch", external.clone()).await.expect(200);
    for gone in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        assert_eq!(made["spec"][gone], Value::Null, "{gone}");
    }
    server.post(path, service("b", "10.43.0.11")).await.expect(201);
    let wished =
        |ip: &str| json!({"spec": {"type": "ClusterIP", "externalName": null, "clusterIP": ip}});
    let taken = server.patch(&format!("{path}/a"), "merge-patch", wished("10.43.0.11")).await;
    let message = "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.11\"]: failed to allocate IP: provided IP is already allocated";
    assert_eq!(taken.failure().2, message);
    let back = server.patch(&format!("{path}/a"), "merge-patch", wished("10.43.0.12")).await;
    let mut back = back.expect(200);
    assert_eq!(back["spec"]["clusterIPs"], json!(["10.43.0.12"]));
    assert_eq!(back["spec"]["ipFamilyPolicy"], "SingleStack");
    assert_eq!(server.post(path, service("c", "10.43.0.12")).await.failure().0, 422);
    server.patch(&format!("{path}/a"), "merge-patch", external).await.expect(200);
    back["spec"]["clusterIP"] = json!("");
    back["spec"]["clusterIPs"] = json!([]);
    back["metadata"]["resourceVersion"] = Value::Null;
    let any = server.put(&format!("{path}/a"), back).await.expect(200);
    assert!(any["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.starts_with("10.43.")), "{any}");
}

#[tokio::test]
async fn service_addresses_that_contradict_each_other_are_refused() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let table = [
        (
            json!({"clusterIPs": ["10.43.0.11"]}),
            "spec.clusterIPs: Invalid value: [\"10.43.0.11\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            json!({"clusterIP": "10.43.0.11", "clusterIPs": ["10.43.0.12"]}),
            "spec.clusterIPs: Invalid value: [\"10.43.0.12\"]: first value must match `clusterIP`",
        ),
        (
            json!({"clusterIP": "fd00::1"}),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
    ];
    for (mut spec, message) in table {
        spec["ports"] = json!([{"port": 80}]);
        let refused = server.post(path, json!({"metadata": {"name": "s"}, "spec": spec})).await;
        let message = format!("Service \"s\" is invalid: {message}");
        assert_eq!(refused.failure(), (422, "Invalid".to_owned(), message));
    }
    let headless =
        json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
    let made = server.post(path, headless).await.expect(201);
    assert_eq!(made["spec"]["ipFamilyPolicy"], "RequireDualStack");
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
}

#[tokio::test]
async fn service_addresses_are_unique_and_returned() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, ip: &str| {
        let mut body = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
        if !ip.is_empty() {
            body["spec"]["clusterIP"] = json!(ip);
        }
        body
    };
    let mut seen = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let made = server.post(path, service(name, "")).await.expect(201);
        let ip = made["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
        assert!(ip.starts_with("10.43."), "{ip}");
        assert_eq!(made["spec"]["clusterIPs"], json!([ip]));
        assert!(seen.insert(ip));
    }
    let fixed = server.post(path, service("dns", "10.43.0.10")).await.expect(201);
    assert_eq!(fixed["spec"]["clusterIP"], "10.43.0.10");
    let taken = server.post(path, service("other", "10.43.0.10")).await.failure();
    assert_eq!(
        taken.2,
        "Service \"other\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: failed to allocate IP: provided IP is already allocated"
    );
    assert_eq!(server.post(path, service("far", "192.168.1.1")).await.failure().0, 422);
    let headless = server.post(path, service("headless", "None")).await.expect(201);
    assert_eq!(headless["spec"]["clusterIP"], "None");
    server.delete(&format!("{path}/dns"), Value::Null).await.expect(200);
    server.post(path, service("dns2", "10.43.0.10")).await.expect(201);
    let merged = server
        .patch(
            &format!("{path}/a"),
            "merge-patch",
            json!({"spec": {"clusterIP": null, "clusterIPs": null}}),
        )
        .await;
    assert!(seen.contains(merged.expect(200)["spec"]["clusterIP"].as_str().unwrap_or_default()));
}
