//! What `kubectl` patches with: strategic merge patches of real objects, through the whole path.

use serde_json::json;

use crate::support::{Server, deployment, pod};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn strategic_patch_set_image_changes_one_container() {
    let server = Server::start().await;
    let mut body = deployment("d");
    body["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]);
    server.post(DEPLOYMENTS, body).await.expect(201);
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b", "image": "b:2"}]}}}});
    let patched =
        server.patch(&format!("{DEPLOYMENTS}/d"), "strategic-merge-patch", patch).await.expect(200);
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&json!("a:1"), &json!("b:2")));
    assert_eq!(patched["metadata"]["generation"], 2);
}

#[tokio::test]
async fn strategic_patch_of_conditions_merges_by_type() {
    let server = Server::start().await;
    server.post(PODS, pod("p")).await.expect(201);
    let path = format!("{PODS}/p/status");
    for kind in ["Ready", "Initialized", "Ready"] {
        let patch = json!({"status": {"conditions": [{"type": kind, "status": "True"}]}});
        server.patch(&path, "strategic-merge-patch", patch).await.expect(200);
    }
    let status = server.get(&path).await.expect(200)["status"].clone();
    assert_eq!(status["conditions"].as_array().map(Vec::len), Some(2), "{status}");
}

#[tokio::test]
async fn strategic_patch_of_scale_sets_replicas() {
    let server = Server::start().await;
    server.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/d/scale");
    let patch = json!({"spec": {"replicas": 3}});
    let scale = server.patch(&path, "strategic-merge-patch", patch).await.expect(200);
    assert_eq!(scale["spec"]["replicas"], 3);
}
