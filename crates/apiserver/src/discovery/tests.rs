//! Tests of discovery, against shapes of Kubernetes written down by hand.

use super::*;
use api::kinds;
use http::Request;
use http_body_util::BodyExt;

fn discovery() -> Discovery {
    let version = Info { git_version: "v1.36.2+knarr.0.1.0".into(), ..Info::default() };
    Discovery::new(kinds::all(), &version, &other_paths(false))
}

fn get(path: &str, accept: &str) -> Parts {
    Request::builder()
        .uri(path)
        .header(ACCEPT, accept)
        .header(HOST, "127.0.0.1:6443")
        .body(())
        .unwrap()
        .into_parts()
        .0
}

async fn body(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

async fn fetch(path: &str, accept: &str) -> Value {
    let response = discovery().respond(&get(path, accept)).unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&body(response).await).unwrap()
}

fn entry<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let items = list.as_array().unwrap();
    items.iter().find(|i| i[key] == name).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn api_lists_the_core_versions() {
    let value = fetch("/api", "application/json").await;
    assert_eq!(
        value,
        json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443" }],
        })
    );
    assert_eq!(fetch("/api/", "*/*").await, value);
}

#[tokio::test]
async fn apis_lists_the_groups_in_kubernetes_order() {
    let value = fetch("/apis", "application/json").await;
    assert_eq!((&value["kind"], &value["apiVersion"]), (&json!("APIGroupList"), &json!("v1")));
    let names: Vec<&str> =
        value["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert!(names.starts_with(&["apps"]) && names.contains(&"coordination.k8s.io"), "{names:?}");
    assert_eq!(
        value["groups"][0],
        json!({
            "name": "apps",
            "versions": [{ "groupVersion": "apps/v1", "version": "v1" }],
            "preferredVersion": { "groupVersion": "apps/v1", "version": "v1" },
        })
    );
    let group = fetch("/apis/apps", "application/json").await;
    assert_eq!((&group["kind"], &group["apiVersion"]), (&json!("APIGroup"), &json!("v1")));
    assert_eq!(group["versions"], value["groups"][0]["versions"]);
}

#[tokio::test]
async fn resource_lists_have_the_shapes_of_kubernetes() {
    let core = fetch("/api/v1", "application/json").await;
    assert_eq!((&core["groupVersion"], core.get("apiVersion")), (&json!("v1"), None));
    let all =
        json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    assert_eq!(
        entry(&core["resources"], "name", "pods"),
        &json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": all,
            "shortNames": ["po"], "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8=",
        })
    );
    assert_eq!(
        entry(&core["resources"], "name", "pods/status"),
        &json!({
            "name": "pods/status", "singularName": "", "namespaced": true, "kind": "Pod",
            "verbs": ["get", "patch", "update"],
        })
    );
    let apps = fetch("/apis/apps/v1", "application/json").await;
    assert_eq!((&apps["groupVersion"], &apps["apiVersion"]), (&json!("apps/v1"), &json!("v1")));
    assert_eq!(
        entry(&apps["resources"], "name", "deployments/scale"),
        &json!({
            "name": "deployments/scale", "singularName": "", "namespaced": true, "kind": "Scale",
            "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"],
        })
    );
}

#[test]
fn storage_version_hashes_are_those_of_kubernetes() {
    for (group, version, kind, hash) in [
        ("", "v1", "Namespace", "Q3oi5N2YM8M="),
        ("", "v1", "Node", "XwShjMxG9Fs="),
        ("", "v1", "Service", "0/CO1lhkEBI="),
        ("", "v1", "ConfigMap", "qFsyl6wFWjQ="),
        ("", "v1", "Secret", "S6u1pOWzb84="),
        ("", "v1", "ServiceAccount", "pbx9ZvyFpBE="),
        ("", "v1", "Event", "r2yiGXH7wu8="),
        ("apps", "v1", "Deployment", "8aSe+NMegvE="),
        ("apps", "v1", "ReplicaSet", "P1RzHs8/mWQ="),
    ] {
        let row = kinds::by_kind(group, version, kind).expect("a row");
        assert_eq!(storage_version_hash(row.stored()), hash, "{kind}");
    }
}

#[tokio::test]
async fn aggregated_form_names_what_the_legacy_form_names() {
    for version in ["v2", "v2beta1"] {
        let accept = format!(
            "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"
        );
        let response = discovery().respond(&get("/apis", &accept)).unwrap();
        let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        assert_eq!(
            content_type,
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        );
        let list: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(list["kind"], "APIGroupDiscoveryList");
        assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        assert_eq!(list["items"][0]["metadata"], json!({ "name": "apps" }));
        let apps = &list["items"][0]["versions"][0];
        assert_eq!((&apps["version"], &apps["freshness"]), (&json!("v1"), &json!("Current")));
        assert_eq!(
            entry(&apps["resources"], "resource", "deployments"),
            &json!({
                "resource": "deployments", "singularResource": "deployment", "scope": "Namespaced",
                "responseKind": { "group": "", "version": "", "kind": "Deployment" },
                "shortNames": ["deploy"], "categories": ["all"],
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                "subresources": [
                    { "subresource": "scale", "verbs": ["get", "patch", "update"],
                      "responseKind": { "group": "autoscaling", "version": "v1", "kind": "Scale" } },
                    { "subresource": "status", "verbs": ["get", "patch", "update"],
                      "responseKind": { "group": "", "version": "", "kind": "Deployment" } },
                ],
            })
        );
    }
}

#[tokio::test]
async fn aggregated_core_has_its_resources_under_an_empty_name() {
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let list = fetch("/api", accept).await;
    assert_eq!(list["items"][0]["metadata"], json!({}));
    let nodes = entry(&list["items"][0]["versions"][0]["resources"], "resource", "nodes").clone();
    assert_eq!((&nodes["scope"], &nodes["shortNames"]), (&json!("Cluster"), &json!(["no"])));
}

#[tokio::test]
async fn negotiation_takes_what_can_be_had() {
    let tag =
        |accept: &str| accepted(&get("/apis", accept), &discovery().documents["/apis"].aggregated);
    assert_eq!(tag("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Protobuf));
    let aggregated =
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    assert_eq!(tag(aggregated), Some(Form::AggregatedProtobuf("v2")));
    assert_eq!(tag("application/yaml"), Some(Form::Yaml));
    assert_eq!(tag("text/html, */*;q=0.1"), Some(Form::Json));
    assert_eq!(tag("application/json;q=0.5, application/yaml"), Some(Form::Yaml));
    assert_eq!(tag("application/json;g=other;v=v2;as=APIGroupDiscoveryList"), None);
    assert_eq!(tag("image/png"), None);
    assert_eq!(discovery().respond(&get("/apis", "image/png")).unwrap().status(), 406);
    let legacy = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    assert_eq!(discovery().respond(&get("/apis/apps", legacy)).unwrap().status(), 406);
    let yaml = body(discovery().respond(&get("/apis/apps", "application/yaml")).unwrap()).await;
    assert!(String::from_utf8(yaml).unwrap().contains("name: apps"));
}

#[tokio::test]
async fn index_lists_every_path() {
    let value = fetch("/", "application/json").await;
    let paths: Vec<&str> =
        value["paths"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    for path in [
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/healthz",
        "/openapi/v2",
        "/version",
    ] {
        assert!(paths.contains(&path), "{path}");
    }
    assert!(paths.is_sorted());
}

#[tokio::test]
async fn version_is_the_info() {
    assert_eq!(fetch("/version", "application/json").await["gitVersion"], "v1.36.2+knarr.0.1.0");
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    assert!(discovery().respond(&get("/apis/nope", "*/*")).is_none());
    assert!(discovery().respond(&get("/api/v2", "*/*")).is_none());
    let post = Request::post("/apis").body(()).unwrap().into_parts().0;
    assert_eq!(discovery().respond(&post).unwrap().status(), 405);
}

#[test]
fn versions_rank_as_kubernetes_ranks_them() {
    let mut versions = ["v1alpha1", "v2", "v1", "foo", "v1beta2", "v10", "v1beta1"];
    versions.sort_by_key(|v| Reverse(version_rank(v)));
    assert_eq!(versions, ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
}
