//! The API as any client sees it.

use http::Method;
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::kubectl::Kubectl;
use testkit::suite::Test;

use crate::manifests::config_map;

pub const TESTS: &[Test] = testkit::tests![
    every: [
        api_15_api_resources_lists_every_kind,
        api_16_unknown_type_is_named,
        api_19_manifests_are_yaml_json_and_many,
    ],
    once: [
        api_01_objects_are_created_read_updated_and_deleted,
        api_04_answers_may_be_protobuf,
        api_04_bodies_and_answers_may_be_yaml,
        api_06_metadata_is_filled_in,
        api_11_lists_are_selected_and_paged,
        api_12_immutable_fields_stay,
        api_13_objects_come_back_with_defaults,
        api_14_certificates_and_tokens_are_needed,
        api_17_schemas_of_every_kind_are_published,
        api_23_watch_delivers_changes,
        api_health_endpoints_answer,
        api_tables_are_made_by_the_server,
    ],
];

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn path(k: &Kubectl<'_>, rest: &str) -> String {
    format!("/api/v1/namespaces/{}/configmaps{rest}", k.namespace())
}

fn send(k: &Kubectl<'_>, method: Method, rest: &str, body: &Value) -> Answer {
    k.cluster().request(method, &path(k, rest), JSON, body.to_string())
}

fn get(k: &Kubectl<'_>, path: &str) -> Answer {
    k.cluster().request(Method::GET, path, &[], "")
}

fn api_01_objects_are_created_read_updated_and_deleted(k: &Kubectl<'_>) {
    let map = config_map("app", json!({"a": "1"}));
    let created = send(k, Method::POST, "", &map);
    assert_eq!(created.status, 201, "{}", created.text());
    let mut object = created.json();
    assert_eq!(get(k, &path(k, "/app")).json(), object);
    object["data"]["a"] = "2".into();
    let updated = send(k, Method::PUT, "/app", &object);
    assert_eq!(updated.status, 200, "{}", updated.text());
    assert_ne!(
        updated.json()["metadata"]["resourceVersion"],
        object["metadata"]["resourceVersion"]
    );
    let conflict = send(k, Method::PUT, "/app", &object);
    assert_eq!((conflict.status, conflict.json()["reason"].as_str()), (409, Some("Conflict")));
    let list = get(k, &path(k, "")).json();
    assert_eq!(
        (list["kind"].as_str(), list["apiVersion"].as_str()),
        (Some("ConfigMapList"), Some("v1"))
    );
    let deleted = k.cluster().request(Method::DELETE, &path(k, "/app"), &[], "");
    assert_eq!((deleted.status, deleted.json()["status"].as_str()), (200, Some("Success")));
    assert_eq!(get(k, &path(k, "/app")).status, 404);
    let deployments = get(k, &format!("/apis/apps/v1/namespaces/{}/deployments", k.namespace()));
    assert_eq!(deployments.json()["kind"], "DeploymentList");
}

/// What Go clients ask for by default. `kubectl create` sends and reads it, so it says here whether the bytes are right.
fn api_04_answers_may_be_protobuf(k: &Kubectl<'_>) {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    assert_eq!(k.ok("create configmap app --from-literal=a=1 -o jsonpath={.data.a}"), "1");
    let ask = |rest: &str| {
        let answer = k.cluster().request(Method::GET, &path(k, rest), &[("accept", PROTOBUF)], "");
        (answer.status, answer.header("content-type").to_owned(), answer.body)
    };
    for (rest, kind) in [("", "ConfigMapList"), ("/app", "ConfigMap"), ("/nope", "Status")] {
        let (status, content_type, body) = ask(rest);
        assert_eq!(status, if kind == "Status" { 404 } else { 200 });
        assert_eq!(content_type, PROTOBUF);
        let head = [
            b"k8s\0\x0a",
            &[6 + kind.len() as u8][..],
            b"\x0a\x02v1\x12",
            &[kind.len() as u8],
            kind.as_bytes(),
        ];
        assert!(body.starts_with(&head.concat()), "{kind}: {body:?}");
    }
    let (_, content_type, body) =
        ask("?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dapp");
    assert_eq!(content_type, format!("{PROTOBUF};stream=watch"));
    let (length, event) = body.split_first_chunk::<4>().expect("an event");
    assert_eq!(u32::from_be_bytes(*length) as usize, event.len());
    assert!(event.starts_with(b"\x0a\x05ADDED\x12"), "{event:?}");
}

fn api_04_bodies_and_answers_may_be_yaml(k: &Kubectl<'_>) {
    let yaml = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  a: \"1\"\n";
    let answer = k.cluster().request(Method::POST, &path(k, ""), &yaml, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/yaml");
    assert!(answer.text().contains("data:\n  a: \"1\"\n"), "{}", answer.text());
}

fn api_06_metadata_is_filled_in(k: &Kubectl<'_>) {
    let mut map = config_map("ignored", json!({}));
    map["metadata"] = json!({"generateName": "app-", "labels": {"a": "b"}, "uid": "forged", "creationTimestamp": "2001-01-01T00:00:00Z"});
    let object = send(k, Method::POST, "", &map).json();
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    assert!(name.starts_with("app-") && name.len() == 9, "{object}");
    assert_eq!(meta["uid"].as_str().map(str::len), Some(36), "{object}");
    assert!(meta["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(!meta["creationTimestamp"].as_str().unwrap().starts_with("2001"), "{object}");
    assert_eq!(meta["namespace"], k.namespace());
    assert!(meta["selfLink"].is_null());
}

fn api_11_lists_are_selected_and_paged(k: &Kubectl<'_>) {
    for n in 0..7 {
        let mut map = config_map(&format!("app-{n}"), json!({}));
        map["metadata"]["labels"] = json!({"even": (n % 2 == 0).to_string(), "n": n.to_string()});
        assert_eq!(send(k, Method::POST, "", &map).status, 201);
    }
    let names = |query: &str| -> Vec<String> {
        let list = get(k, &path(k, query)).json();
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).iter();
        let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with("app-")).collect()
    };
    assert_eq!(names("?fieldSelector=metadata.name%3Dapp-3"), ["app-3"]);
    assert_eq!(names("?labelSelector=even%3Dtrue").len(), 4);
    assert_eq!(names("?labelSelector=n%20in%20(1,2),even%21%3Dtrue"), ["app-1"]);
    let (mut seen, mut token, mut pages) = (vec![], String::new(), 0);
    loop {
        let list = get(k, &path(k, &format!("?labelSelector=n&limit=3&continue={token}"))).json();
        let items = list["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()));
        pages += 1;
        if pages == 1 {
            assert!(list["metadata"]["remainingItemCount"].is_null(), "selectors hide the count");
            // What is written between pages is not in them.
            let mut late = config_map("app-99", json!({}));
            late["metadata"]["labels"] = json!({"n": "99"});
            send(k, Method::POST, "", &late);
        }
        token = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 7), "{seen:?}");
}

fn api_12_immutable_fields_stay(k: &Kubectl<'_>) {
    let mut map = config_map("app", json!({"a": "1"}));
    map["immutable"] = true.into();
    send(k, Method::POST, "", &map);
    map["data"]["a"] = "2".into();
    let answer = send(k, Method::PUT, "/app", &map);
    assert_eq!(answer.status, 422);
    let status = answer.json();
    assert_eq!(status["reason"], "Invalid");
    assert_eq!(status["details"]["kind"], "ConfigMap");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("data: Forbidden: field is immutable when `immutable` is set"),
        "{status}"
    );
}

fn api_13_objects_come_back_with_defaults(k: &Kubectl<'_>) {
    let pod = crate::manifests::pod("app", "exit 0");
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", k.namespace());
    let answer = k.cluster().request(Method::POST, &path, JSON, pod.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let spec = answer.json()["spec"].take();
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("serviceAccountName", json!("default")),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
        ("priority", json!(0)),
    ] {
        assert_eq!(spec[key], value, "{key} in {spec}");
    }
    let container = &spec["containers"][0];
    assert_eq!(container["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(container["terminationMessagePolicy"], "File");
    let tolerations = spec["tolerations"].as_array().map(Vec::len);
    assert_eq!(tolerations, Some(2), "{spec}");
}

fn api_14_certificates_and_tokens_are_needed(k: &Kubectl<'_>) {
    let access = k.cluster().access();
    let ask = |access: &testkit::http::Access, path: &str| {
        k.cluster().request_as(access, Method::GET, path, &[], "")
    };
    let nobody = ask(&access.anonymous(), "/api/v1/nodes");
    assert!([401, 403].contains(&nobody.status), "{}", nobody.text());
    assert_eq!(nobody.json()["kind"], "Status");
    let forged = ask(&access.with_token("nonsense"), "/api/v1/nodes");
    assert_eq!((forged.status, forged.json()["reason"].as_str()), (401, Some("Unauthorized")));
    for open in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(ask(&access.anonymous(), open).status, 200, "{open}");
    }
}

fn api_15_api_resources_lists_every_kind(k: &Kubectl<'_>) {
    let table = k.ok("api-resources");
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header[..3], ["NAME", "SHORTNAMES", "APIVERSION"]);
    for (name, short, version, namespaced, kind) in [
        ("pods", "po", "v1", "true", "Pod"),
        ("nodes", "no", "v1", "false", "Node"),
        ("namespaces", "ns", "v1", "false", "Namespace"),
        ("services", "svc", "v1", "true", "Service"),
        ("configmaps", "cm", "v1", "true", "ConfigMap"),
        ("events", "ev", "v1", "true", "Event"),
        ("serviceaccounts", "sa", "v1", "true", "ServiceAccount"),
        ("deployments", "deploy", "apps/v1", "true", "Deployment"),
        ("replicasets", "rs", "apps/v1", "true", "ReplicaSet"),
    ] {
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = row.into_iter().any(|row| row == [name, short, version, namespaced, kind]);
        assert!(found, "{name} in\n{table}");
    }
    assert!(
        table.lines().any(|l| l.starts_with("leases ") && l.contains("coordination.k8s.io/v1"))
    );
    let namespaced = k.ok("api-resources --namespaced=false -o name");
    assert!(namespaced.contains("nodes\n") && !namespaced.contains("pods\n"), "{namespaced}");
    let versions = k.ok("api-versions");
    assert!(versions.contains("apps/v1\n") && versions.contains("\nv1\n"), "{versions}");
}

fn api_16_unknown_type_is_named(k: &Kubectl<'_>) {
    let said = k.fails("get containers");
    assert_eq!(said, "error: the server doesn't have a resource type \"containers\"\n");
    let said = k.fails_with(
        "apply -f -",
        r#"{"apiVersion":"example.com/v1","kind":"Nope","metadata":{"name":"x"}}"#,
    );
    assert!(said.contains("no matches for kind \"Nope\" in version \"example.com/v1\""), "{said}");
}

fn api_17_schemas_of_every_kind_are_published(k: &Kubectl<'_>) {
    let index = get(k, "/openapi/v3").json();
    let url =
        index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap_or_default().to_owned();
    let document = get(k, &url).json();
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{schema}");
    let again =
        k.cluster().request(Method::GET, "/openapi/v2", &[("accept", "application/json")], "");
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["swagger"], "2.0");
}

fn api_19_manifests_are_yaml_json_and_many(k: &Kubectl<'_>) {
    let yaml = "# comment\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  text: |\n    two\n    lines\n";
    assert_eq!(k.ok_with("apply -f -", yaml), "configmap/a created\nconfigmap/b created\n");
    assert_eq!(k.value("cm b", ".data.text"), "two\nlines\n");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [config_map("c", json!({})), config_map("d", json!({}))]});
    assert_eq!(
        k.ok_with("apply -f -", &list.to_string()),
        "configmap/c created\nconfigmap/d created\n"
    );
}

fn api_23_watch_delivers_changes(k: &Kubectl<'_>) {
    let list = get(k, &path(k, "")).json();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    send(k, Method::POST, "", &config_map("app", json!({"a": "1"})));
    send(k, Method::PUT, "/app", &config_map("app", json!({"a": "2"})));
    k.cluster().request(Method::DELETE, &path(k, "/app"), &[], "");
    let query = format!(
        "?watch=true&resourceVersion={version}&timeoutSeconds=1&fieldSelector=metadata.name%3Dapp"
    );
    let text = get(k, &path(k, &query)).text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["ADDED", "MODIFIED", "DELETED"], "{text}");
    let versions: Vec<u64> = events
        .iter()
        .map(|e| e["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted() && versions[0] > version.parse().unwrap(), "{versions:?}");
}

fn api_health_endpoints_answer(k: &Kubectl<'_>) {
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = get(k, path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{path}");
    }
    assert!(get(k, "/readyz?verbose").text().contains("[+]"));
    let metrics = get(k, "/metrics").text();
    assert!(metrics.contains("apiserver_request_total"), "{metrics}");
    assert_eq!(get(k, "/version").json()["major"], "1");
}

fn api_tables_are_made_by_the_server(k: &Kubectl<'_>) {
    send(k, Method::POST, "", &config_map("app", json!({"a": "1", "b": "2"})));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = k.cluster().request(Method::GET, &path(k, "/app"), &accept, "").json();
    assert_eq!(table["kind"], "Table");
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    assert_eq!(names, ["Name", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"][0], "app");
    assert_eq!(table["rows"][0]["cells"][1], 2);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}
