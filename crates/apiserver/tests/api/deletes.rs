//! Deletion: at once, graceful, held by finalizers, of collections.

use serde_json::{Value, json};

use crate::support::{Server, config_map, deployment, labelled, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn delete_answers_with_a_status_that_names_the_object() {
    let server = Server::start().await;
    let made = server.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let status = server.delete(&format!("{DEPLOYMENTS}/d"), Value::Null).await.expect(200);
    let details = json!({"name": "d", "group": "apps", "kind": "deployments", "uid": made["metadata"]["uid"]});
    assert_eq!((&status["status"], &status["details"]), (&json!("Success"), &details));
    assert_eq!(server.delete(&format!("{DEPLOYMENTS}/d"), Value::Null).await.failure().0, 404);
}

#[tokio::test]
async fn delete_preconditions_must_hold() {
    let server = Server::start().await;
    let made = server.post(MAPS, config_map("a")).await.expect(201);
    let path = format!("{MAPS}/a");
    for preconditions in [json!({"uid": "0"}), json!({"resourceVersion": "1"})] {
        let answer = server.delete(&path, json!({"preconditions": preconditions})).await;
        assert_eq!(answer.failure().1, "Conflict");
    }
    let right = json!({"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]});
    server.delete(&path, json!({"preconditions": right})).await.expect(200);
}

#[tokio::test]
async fn delete_options_are_checked() {
    let server = Server::start().await;
    server.post(MAPS, config_map("a")).await.expect(201);
    let path = format!("{MAPS}/a");
    let both = json!({"orphanDependents": true, "propagationPolicy": "Orphan"});
    for options in [json!({"propagationPolicy": "Sideways"}), both, json!({"dryRun": ["Some"]})] {
        assert_eq!(server.delete(&path, options.clone()).await.failure().0, 422, "{options}");
    }
    assert_eq!(server.get(&path).await.status, 200);
}

#[tokio::test]
async fn term_06_delete_of_a_scheduled_pod_waits_for_its_grace() {
    let server = Server::start().await;
    let path = format!("{PODS}/p");
    let mut body = pod("p");
    body["spec"]["nodeName"] = json!("n");
    server.post(PODS, body).await.expect(201);
    let deleting = server.delete(&path, Value::Null).await.expect(200);
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(deleting["metadata"]["deletionTimestamp"].is_string());
    let longer = server.delete(&path, json!({"gracePeriodSeconds": 60})).await.expect(200);
    assert_eq!(longer["metadata"]["resourceVersion"], deleting["metadata"]["resourceVersion"]);
    let shorter = server.delete(&path, json!({"gracePeriodSeconds": 5})).await.expect(200);
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let wrong_uid = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "0"}});
    assert_eq!(server.delete(&path, wrong_uid).await.failure().1, "Conflict");
    let uid = deleting["metadata"]["uid"].clone();
    server
        .delete(&path, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
        .await
        .expect(200);
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn delete_of_an_unscheduled_pod_is_immediate() {
    let server = Server::start().await;
    server.post(PODS, pod("p")).await.expect(201);
    let gone = server.delete(&format!("{PODS}/p"), Value::Null).await.expect(200);
    assert_eq!(gone["kind"], "Pod");
    assert_eq!(server.get(&format!("{PODS}/p")).await.status, 404);
}

#[tokio::test]
async fn delete_with_finalizers_waits_until_the_last_is_removed() {
    let server = Server::start().await;
    let path = format!("{MAPS}/a");
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.com/x", "example.com/y"]}});
    server.post(MAPS, body).await.expect(201);
    let held = server.delete(&path, Value::Null).await.expect(200);
    assert_eq!(held["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = server.delete(&path, Value::Null).await.expect(200);
    assert_eq!(held["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"]);
    let recreated = server.post(MAPS, config_map("a")).await.failure();
    assert_eq!(recreated.2, "object is being deleted: configmaps \"a\" already exists");
    let one = json!({"metadata": {"finalizers": ["example.com/y"]}});
    server.patch(&path, "merge-patch", one).await.expect(200);
    assert_eq!(server.get(&path).await.status, 200);
    server.patch(&path, "merge-patch", json!({"metadata": {"finalizers": null}})).await.expect(200);
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn delete_propagation_sets_the_garbage_collectors_finalizers() {
    let server = Server::start().await;
    let table = [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")];
    for (policy, finalizer) in table {
        let name = policy.to_lowercase();
        server.post(DEPLOYMENTS, deployment(&name)).await.expect(201);
        let path = format!("{DEPLOYMENTS}/{name}?propagationPolicy={policy}");
        let held = server.delete(&path, Value::Null).await.expect(200);
        assert_eq!(held["metadata"]["finalizers"], json!([finalizer]));
        assert_eq!(held["metadata"]["generation"], 2);
    }
    server.post(DEPLOYMENTS, deployment("b")).await.expect(201);
    server
        .delete(&format!("{DEPLOYMENTS}/b"), json!({"propagationPolicy": "Background"}))
        .await
        .expect(200);
    assert_eq!(server.get(&format!("{DEPLOYMENTS}/b")).await.status, 404);
}

#[tokio::test]
async fn delete_collection_takes_what_the_selector_matches() {
    let server = Server::start().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        server.post(MAPS, labelled(name, label)).await.expect(201);
    }
    let list =
        server.delete(&format!("{MAPS}?labelSelector=app%3Dx"), Value::Null).await.expect(200);
    assert_eq!(
        (&list["kind"], list["items"].as_array().map(Vec::len)),
        (&json!("ConfigMapList"), Some(2))
    );
    let left = server.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}
