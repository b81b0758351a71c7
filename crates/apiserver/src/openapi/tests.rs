//! Tests of the OpenAPI documents, against shapes of Kubernetes written down by hand.

use std::collections::BTreeSet;

use api::kinds;
use http::Request;
use http_body_util::BodyExt;

use super::*;

fn openapi() -> &'static OpenApi {
    static OPENAPI: std::sync::LazyLock<OpenApi> =
        std::sync::LazyLock::new(|| OpenApi::new("v1.36.2"));
    &OPENAPI
}

fn ask(uri: &str, accept: &str) -> Option<Response<Body>> {
    openapi().respond(&Request::get(uri).header(ACCEPT, accept).body(()).unwrap().into_parts().0)
}

async fn fetch(uri: &str) -> Value {
    let response = ask(uri, "application/json").unwrap();
    assert_eq!(response.status(), 200, "{uri}");
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/{namespace}/deployments";

fn names(parameters: &Value) -> Vec<&str> {
    parameters.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn v3_index_leads_to_every_document_by_its_hash() {
    let index = fetch("/openapi/v3").await;
    let paths = index["paths"].as_object().unwrap();
    for name in [
        "api",
        "api/v1",
        "apis",
        "apis/apps",
        "apis/apps/v1",
        "apis/coordination.k8s.io/v1",
        "version",
    ] {
        let url = paths[name]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{name}?hash=")), "{url}");
        let response = ask(url, "application/json").unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CACHE_CONTROL]),
            (200, &HeaderValue::from_static("public, immutable"))
        );
    }
}

#[test]
fn v3_documents_are_json_and_protobuf_for_those_who_ask() {
    let answer = |accept: &str| ask("/openapi/v3/apis/apps/v1", accept).unwrap();
    let form = |accept: &str| answer(accept).headers()[http::header::CONTENT_TYPE].clone();
    let v2 = PROTOBUF_ASKED[0];
    assert_eq!(answer(v2).status(), 406);
    assert_eq!(
        (form("*/*"), form(&format!("{v2}, application/json"))),
        (HeaderValue::from_static(JSON), HeaderValue::from_static(JSON))
    );
    for name in PROTOBUF_V3_ASKED {
        assert_eq!(form(&format!("{name}, application/json")), PROTOBUF_V3_GIVEN);
    }
}

#[test]
fn v3_outdated_hash_is_redirected_to_the_right_one() {
    let response = ask("/openapi/v3/apis/apps/v1?hash=old", "*/*").unwrap();
    assert_eq!(response.status(), 301);
    let url = response.headers()[LOCATION].to_str().unwrap();
    assert_eq!(ask(url, "*/*").unwrap().status(), 200);
    assert!(ask("/openapi/v3/apis/nope/v1", "*/*").is_none());
    assert!(ask("/openapi/v4", "*/*").is_none());
}

#[tokio::test]
async fn v3_operations_have_the_shapes_of_kubernetes() {
    let apps = fetch("/openapi/v3/apis/apps/v1").await;
    assert_eq!(apps["openapi"], "3.0.0");
    let collection = &apps["paths"][DEPLOYMENTS];
    assert_eq!(names(&collection["parameters"]), ["namespace", "pretty"]);
    let post = &collection["post"];
    assert_eq!(post["operationId"], "createAppsV1NamespacedDeployment");
    assert_eq!(post["x-kubernetes-action"], "post");
    assert_eq!(post["tags"], json!(["apps_v1"]));
    let gvk = json!({ "group": "apps", "version": "v1", "kind": "Deployment" });
    assert_eq!(post["x-kubernetes-group-version-kind"], gvk);
    assert_eq!(names(&post["parameters"]), ["dryRun", "fieldManager", "fieldValidation"]);
    let reference =
        json!({ "schema": { "$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment" } });
    assert_eq!(post["requestBody"], json!({ "required": true, "content": { "*/*": reference } }));
    let codes: Vec<&String> = post["responses"].as_object().unwrap().keys().collect();
    assert_eq!(codes, ["200", "201", "202", "401"]);
    assert_eq!(post["responses"]["201"]["content"]["application/json"], reference);
    let patch = &apps["paths"][format!("{DEPLOYMENTS}/{{name}}/scale")]["patch"];
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeploymentScale");
    assert_eq!(patch["x-kubernetes-group-version-kind"]["group"], "autoscaling");
    assert_eq!(names(&patch["parameters"]), ["dryRun", "fieldManager", "fieldValidation", "force"]);
}

#[test]
fn operation_ids_are_those_of_kubernetes_and_unique() {
    let operations: Vec<_> = operations::documents().into_values().flatten().collect();
    let ids: BTreeSet<&str> = operations.iter().map(|o| o.id.as_str()).collect();
    assert_eq!(ids.len(), operations.len(), "every operation has its own id");
    for id in [
        "listAppsV1DeploymentForAllNamespaces",
        "deleteAppsV1CollectionNamespacedDeployment",
        "replaceAppsV1NamespacedDeploymentStatus",
        "watchAppsV1NamespacedDeploymentList",
        "watchAppsV1DeploymentListForAllNamespaces",
        "readCoreV1NamespacedPodLog",
        "connectCoreV1GetNamespacedPodExec",
        "connectCoreV1PostNamespacedPodPortforward",
        "connectCoreV1DeleteNodeProxyWithPath",
        "createCoreV1NamespacedPodBinding",
        "replaceCoreV1NamespaceFinalize",
        "listCoreV1Node",
        "watchCoreV1NodeList",
        "deleteCoreV1CollectionNode",
        "readCoordinationV1NamespacedLease",
        "getCoreAPIVersions",
        "getAPIVersions",
        "getAppsAPIGroup",
        "getAppsV1APIResources",
        "getCoordinationAPIGroup",
        "getCodeVersion",
    ] {
        assert!(ids.contains(id), "{id}");
    }
    assert!(!ids.contains("deleteCoreV1CollectionNamespace"));
}

#[test]
fn every_verb_of_every_row_has_its_operation() {
    let operations: Vec<_> = operations::documents().into_values().flatten().collect();
    for row in kinds::all() {
        let gvk = (row.group, row.version, row.kind);
        for (verb, action) in [
            ("create", "post"),
            ("get", "get"),
            ("update", "put"),
            ("patch", "patch"),
            ("list", "list"),
            ("watch", "watch"),
        ] {
            let found = operations.iter().any(|o| o.gvk == Some(gvk) && o.action == Some(action));
            assert_eq!(found, row.verbs.contains(&verb), "{verb} {}", row.plural);
        }
    }
}

fn check_references(value: &Value, prefix: &str, definitions: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                let name = target.strip_prefix(prefix).unwrap_or_else(|| panic!("{target}"));
                assert!(definitions.get(name).is_some(), "{target}");
            }
            map.values().for_each(|v| check_references(v, prefix, definitions));
        }
        Value::Array(items) => items.iter().for_each(|v| check_references(v, prefix, definitions)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_resolves_within_its_document() {
    for name in fetch("/openapi/v3").await["paths"].as_object().unwrap().keys() {
        let document = fetch(&format!("/openapi/v3/{name}")).await;
        check_references(&document, "#/components/schemas/", &document["components"]["schemas"]);
    }
    let swagger = fetch("/openapi/v2").await;
    check_references(&swagger, "#/definitions/", &swagger["definitions"]);
}

#[tokio::test]
async fn v3_references_with_siblings_are_wrapped() {
    let core = fetch("/openapi/v3/api/v1").await;
    let schemas = &core["components"]["schemas"];
    let spec = &schemas["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(
        spec["allOf"],
        json!([{ "$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec" }])
    );
    assert!(spec["description"].is_string() && spec.get("$ref").is_none());
    let quantity = &schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert_eq!(quantity["oneOf"], json!([{ "type": "string" }, { "type": "number" }]));
    let either = &schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(either["oneOf"], json!([{ "type": "integer" }, { "type": "string" }]));
    assert_eq!(either["format"], "int-or-string");
}

#[tokio::test]
async fn v2_is_swagger_and_protobuf_for_those_who_ask() {
    let swagger = fetch("/openapi/v2").await;
    assert_eq!(swagger["swagger"], "2.0");
    let post = &swagger["paths"][DEPLOYMENTS]["post"];
    assert_eq!(post["parameters"][0]["in"], "body");
    assert_eq!(
        post["parameters"][0]["schema"]["$ref"],
        "#/definitions/io.k8s.api.apps.v1.Deployment"
    );
    let patch = &swagger["paths"][format!("{DEPLOYMENTS}/{{name}}")]["patch"];
    let types = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    assert_eq!(patch["consumes"], json!(types));
    let response =
        ask("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf").unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert!(response.into_body().collect().await.unwrap().to_bytes().len() > 100_000);
    assert_eq!(ask("/openapi/v2", "image/png").unwrap().status(), 406);
    let post = Request::post("/openapi/v2").body(()).unwrap().into_parts().0;
    assert_eq!(openapi().respond(&post).unwrap().status(), 405);
}

#[tokio::test]
async fn deleting_a_pod_answers_with_the_pod() {
    let core = fetch("/openapi/v3/api/v1").await;
    let answer = |path: &str| {
        let content =
            &core["paths"][path]["delete"]["responses"]["200"]["content"]["application/json"];
        content["schema"]["$ref"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()
    };
    assert_eq!(answer("/api/v1/namespaces/{namespace}/pods/{name}"), "Pod");
    assert_eq!(answer("/api/v1/namespaces/{namespace}/configmaps/{name}"), "Status");
}
